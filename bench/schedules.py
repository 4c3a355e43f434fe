"""A long soak of the engine: random pipelines under very many schedules, with faults; `--schedules 100000`.

It stops at the first schedule that breaks a promise, names the pipeline and the schedule, and exits with 1.
"""

import argparse
import random
import sys
import time
from collections import Counter

from flows.planning import make_plan
from flows.state import Context
from flows.testkit import Faults, explore
from tests.support.random_pipelines import mixing_registry, random_tree

START = {"seed": "s", "items": ["a", "b", "c"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", type=int, default=10_000, help="in all")
    parser.add_argument("--each", type=int, default=200, help="schedules of one pipeline")
    parser.add_argument("--first", type=int, default=0, help="number of the first random pipeline")
    chosen = parser.parse_args()
    ended: Counter[str] = Counter()
    began, done, number = time.process_time(), 0, chosen.first
    while done < chosen.schedules:
        pipeline, inner = random_tree(random.Random(number))
        registry = mixing_registry(lambda: 0)
        shown = explore(
            make_plan(pipeline, registry=registry, catalog={"inner": inner}, given=START),
            lambda: Context(START),
            schedules=min(chosen.each, chosen.schedules - done),
            faults=Faults(),
            first_seed=number * chosen.each,
        )
        done += shown.schedules
        ended.update(shown.statuses)
        if not shown.ok:
            call = f"tests.support.random_pipelines.random_tree(random.Random({number}))"
            print(f"random pipeline {number} ({call})\n{shown}")
            return 1
        number += 1
    seconds = time.process_time() - began
    ends = ", ".join(f"{count} {status}" for status, count in sorted(ended.items()))
    print(
        f"{done} schedules of {number - chosen.first} random pipelines, nothing wrong: {ends}; "
        f"{seconds:.0f} CPU s, {done / seconds:.0f} schedules a second"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
