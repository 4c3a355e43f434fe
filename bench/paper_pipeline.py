"""The nine steps of the research-paper example with sleeping handlers, scaled 1:10, as Prefect flows on a real server.

Prints, for one server in one session: the template with the default limit, the same with max_concurrency 1, the flat
list in `mode: dag`, and a hand-written Prefect flow of the same work; each against its critical path.

    python -m bench.paper_pipeline [--rounds 3]
"""

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Callable, Sequence

from bench.prefect_server import running_server

SECONDS = {
    "extract_text": 0.5,
    "partition": 0.2,
    "generate_dense_embeddings": 1.0,
    "generate_sparse_embeddings": 0.8,
    "extract_entities": 1.5,
    "generate_summary": 1.0,
    "store_dense_vectors": 0.3,
    "store_sparse_vectors": 0.2,
    "store_graph": 0.2,
}
READS = {
    "extract_text": "source",
    "partition": "extract_text",
    "generate_dense_embeddings": "partition",
    "generate_sparse_embeddings": "partition",
    "extract_entities": "partition",
    "generate_summary": "partition",
    "store_dense_vectors": "generate_dense_embeddings",
    "store_sparse_vectors": "generate_sparse_embeddings",
    "store_graph": "extract_entities",
}
NAMES = list(SECONDS)
CRITICAL_PATH = 0.5 + 0.2 + 1.5 + 0.3
IN_ORDER = sum(SECONDS.values())


def registry():
    """The nine handlers; each sleeps in a thread, as a blocking call would."""
    from flows.author import Registry, handler

    made = Registry()
    for name, seconds in SECONDS.items():

        def work(value: str, *, seconds: float = seconds, name: str = name) -> str:
            time.sleep(seconds)
            return f"{name}({value})"

        work.__name__ = name
        handler(name=name, writes=name, registry=made)(work)
    return made


def braid(steps: Sequence[object], *, mode: str = "ordered", max_concurrency: int | None = None) -> Callable[[], float]:
    from flows.engine import Prepared
    from flows.model import Pipeline
    from flows.planning import Overrides, make_plan
    from flows.state import Context
    from flows.translator import run_as_flow

    handlers = registry()
    pipeline = Pipeline.model_validate(
        {
            "name": "paper",
            "mode": mode,
            "parameters": {"source": {}},
            "steps": [_named(step) for step in steps],
        }
    )
    overrides = Overrides(max_concurrency=max_concurrency, default_max_concurrency=8)
    inside: list[float] = []

    def prepare(parameters: object) -> Prepared:
        plan = make_plan(pipeline, registry=handlers, given=["source"], overrides=overrides)
        return Prepared(plan, Context({"source": "paper.pdf"}))

    def run() -> float:
        result = run_as_flow(pipeline, {"source": "paper.pdf"}, prepare)
        assert result.status == "succeeded", result.errors
        inside.append(result.seconds)
        return result.seconds

    return run


def _named(step: object) -> object:
    if isinstance(step, str):
        return {"handler": step, "reads": {"value": READS[step]}}
    return {"parallel": [_named(branch) for branch in step]}  # type: ignore[union-attr]


def hand_written() -> Callable[[], float]:
    """The same work as an expert would write it for Prefect without Braid: tasks awaited in a task group."""
    from prefect import flow, task

    tasks = {}
    for name, seconds in SECONDS.items():

        async def work(seconds: float = seconds) -> None:
            await asyncio.to_thread(time.sleep, seconds)

        tasks[name] = task(name=name, task_run_name=name, persist_result=False)(work)

    @flow(name="paper-by-hand", persist_result=False)
    async def paper() -> float:
        began = time.perf_counter()
        await tasks["extract_text"]()
        await tasks["partition"]()
        for names in (NAMES[2:6], NAMES[6:]):
            async with asyncio.TaskGroup() as group:
                for name in names:
                    group.create_task(tasks[name]())
        return time.perf_counter() - began

    return lambda: asyncio.run(paper())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with running_server() as url:
        os.environ.update(PREFECT_API_URL=url, PREFECT_LOGGING_LEVEL="ERROR", DO_NOT_TRACK="1")
        template = [*NAMES[:2], NAMES[2:6], NAMES[6:]]
        cases = {
            "braid, template": (braid(template), CRITICAL_PATH),
            "braid, max_concurrency 1": (braid(template, max_concurrency=1), IN_ORDER),
            "braid, flat list, mode dag": (braid(NAMES, mode="dag"), 2.4),
            "by hand": (hand_written(), CRITICAL_PATH),
        }
        inside: dict[str, list[float]] = {name: [] for name in cases}
        whole: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(rounds):
            for name, (run, _path) in cases.items():
                began = time.perf_counter()
                inside[name].append(run())
                whole[name].append(time.perf_counter() - began)
    print(f"{'':28} {'critical path':>13} {'in the flow':>12} {'ratio':>6} {'with flow run':>14}")
    for name, (_, path) in cases.items():
        median = statistics.median(inside[name])
        print(f"{name:28} {path:13.2f} {median:12.2f} {median / path:6.2f} {statistics.median(whole[name]):14.2f}")
    speed_up = statistics.median(inside["braid, max_concurrency 1"]) / statistics.median(inside["braid, template"])
    print(
        f"speed-up of the template over max_concurrency 1: {speed_up:.2f} (the limit is {IN_ORDER / CRITICAL_PATH:.2f})"
    )


if __name__ == "__main__":
    main()
