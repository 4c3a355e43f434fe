"""Random trees against the oracles of outcomes and of values: `python -m bench.fuzz --trees 5000 --each 5 --threads`.

Without `--threads` the schedules run in virtual time. It prints its progress, continues after failures, names each tree
and schedule that broke a promise, and exits with 1 if there were any.
"""

import argparse
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator

from flows.planning import Loop, Plan, make_plan
from flows.state import Context
from flows.testkit import Faults, Schedule, broken_promises, explore, trace_in_threads
from tests.support.random_pipelines import mixing_registry
from tests.support.random_trees import random_tree

START = {"seed": "s", "items": ["a", "b", "c"]}
THREAD_SECOND_S = 0.01
"""With threads, the real duration of one second of a tree's timeouts and delays."""
TICK_S = 0.0005


def planned(tree: int, *, second_s: float) -> Plan:
    pipeline, catalog = random_tree(random.Random(tree), second_s=second_s)
    return make_plan(pipeline, registry=mixing_registry(lambda: 0), catalog=catalog, given=START)


def in_virtual_time(plan: Plan, first: int, each: int, ended: Counter[str]) -> Iterator[str]:
    explored = explore(plan, lambda: Context(START), schedules=range(first, first + each), faults=Faults())
    ended.update(explored.statuses)
    if not explored.ok:
        yield str(explored)


def in_threads(plan: Plan, first: int, each: int, ended: Counter[str]) -> Iterator[str]:
    faults = Faults(crash=0)
    for seed in range(first, first + each):
        schedule = Schedule(seed, TICK_S)
        injected = faults if seed % 2 else None
        stop = faults.of_run(schedule, 4 * len(plan.nodes)) if injected is not None else None
        trace = trace_in_threads(plan, Context(START), schedule, faults=injected, stop=stop)
        ended["cancelled" if trace.result is None else trace.result.status] += 1
        found = broken_promises(trace)
        if found:
            yield f"schedule {seed}:\n" + "\n".join(f"  - {text}" for text in found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="seed of the first tree")
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--each", type=int, default=5, help="schedules of one tree")
    parser.add_argument("--threads", action="store_true", help="handlers in real threads, in real time")
    chosen = parser.parse_args()
    logging.disable(logging.CRITICAL)
    run = in_threads if chosen.threads else in_virtual_time
    ended: Counter[str] = Counter()
    broken = nodes = loops = 0
    began = shown = time.perf_counter()
    for done, tree in enumerate(range(chosen.first, chosen.first + chosen.trees), 1):
        plan = planned(tree, second_s=THREAD_SECOND_S if chosen.threads else 1.0)
        nodes += len(plan.nodes)
        loops += sum(isinstance(node, Loop) for node in plan.nodes)
        for report in run(plan, tree * chosen.each, chosen.each, ended):
            broken += 1
            print(f"tree {tree}: {report}", flush=True)
        if time.perf_counter() - shown > 10 or done == chosen.trees:
            shown = time.perf_counter()
            ends = ", ".join(f"{count} {status}" for status, count in sorted(ended.items()))
            print(
                f"{done} trees ({nodes / done:.0f} nodes each, {loops} loops), {sum(ended.values())} schedules: "
                f"{ends}; {broken} broken; {shown - began:.0f} s",
                flush=True,
            )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
