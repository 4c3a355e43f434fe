"""Kills a run after every event that it records, one point after the other, and resumes it: `python -m tests.support.killing URL every`.

Every point is a process of its own that ends itself with SIGKILL; the resumed run is compared with an undisturbed one.
A line of JSON a point goes to stdout.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from flows.author import Call, Registry, RunResult, handler
from flows.engine import Prepared, run_plan
from flows.model import Pipeline
from flows.planning import make_plan
from flows.run_store import Recorder, RunRecord, RunStore
from flows.state import Context, Identity

PIPELINE = {
    "name": "killed",
    "reducers": {"log": "append"},
    "steps": [
        "begin",
        {"parallel": ["left", "right", ["left_again", "after_left"]], "max_concurrency": 2},
        {
            "for_each": "items",
            "id": "each",
            "max_concurrency": 2,
            "collect": ["tripled"],
            "steps": ["double", {"parallel": ["triple", "note"]}],
        },
        {"parallel": ["store_first", "store_second"]},
        "end",
    ],
}
CALLS_OF_A_RUN = 1 + 4 + 10 * 3 + 2 + 1


def registry(calls: Path, stores: Path) -> Registry:
    """Handlers that leave a line in `calls` when they have done their work."""
    made = Registry()

    def called(name: str) -> None:
        with calls.open("a") as file:
            file.write(f"{name}\n")

    @handler(registry=made, writes="items")
    def begin() -> list[int]:
        called("begin")
        return list(range(10))

    for name in ("left", "right", "left_again", "after_left"):

        def branch(items: list[int], *, name: str = name) -> int:
            called(name)
            return sum(items) + len(name)

        handler(registry=made, name=name, writes=f"{name}_sum")(branch)

    @handler(registry=made, writes="doubled")
    def double(item: int, *, call: Call) -> int:
        call.report_cost(doubles=1)
        called(f"double {item}")
        return item * 2

    @handler(registry=made, writes="tripled")
    def triple(item: int, doubled: int) -> int:
        called(f"triple {item}")
        return item + doubled

    @handler(registry=made, writes={"log": "append"})
    async def note(item: int) -> list[str]:
        called(f"note {item}")
        await asyncio.sleep(0)
        return [f"saw {item}"]

    for name in ("store_first", "store_second"):

        def store(tripled: list[int], *, name: str = name) -> None:
            (stores / name).write_text(json.dumps(tripled))  # the same file with the same content, however often
            called(name)

        handler(registry=made, name=name, effects=name)(store)

    @handler(registry=made, writes="total")
    def end(tripled: list[int], left_sum: int, log: list[str]) -> int:
        called("end")
        return sum(tripled) + left_sum + len(log)

    return made


class KilledStore(RunStore):
    """Ends the process with SIGKILL right before or right after its n-th write."""

    def __init__(self, url: str, *, after: int, before: bool) -> None:
        super().__init__(url)
        self._left, self._before = after, before

    def write(self, *arguments: Any, **named: Any) -> None:
        self._left -= 1
        if self._left == 0 and self._before:
            os.kill(os.getpid(), signal.SIGKILL)
        super().write(*arguments, **named)
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def run(store: RunStore, run_id: str, handlers: Registry, resumes: RunRecord | None = None) -> RunResult:
    plan = make_plan(Pipeline.model_validate(PIPELINE), registry=handlers)
    recorder = Recorder(store, resumes=resumes)
    context = Context(identity=Identity("killed", run_id))
    return asyncio.run(run_plan(Prepared(plan, context, observer=recorder, journal=recorder)))


def at(point: int, *, before: bool, url: str, folder: Path) -> dict[str, Any]:
    """Kill a run at its n-th write, resume it, and return the result."""
    folder.mkdir(parents=True)
    calls = folder / "calls"
    calls.touch()
    run_id = f"run-{point}-{'before' if before else 'after'}"
    child = os.fork()
    if child == 0:
        run(KilledStore(url, after=point, before=before), run_id, registry(calls, folder))
        os._exit(0)
    _, ended = os.waitpid(child, 0)
    store = RunStore(url)
    record = store.get(run_id)
    assert record is not None
    kept = {call.key for call in store.finished_calls(run_id)}
    paid = store.spent(record).get("doubles", 0)
    first = Counter(calls.read_text().splitlines())
    resumed = run(store, f"{run_id}-on", registry(calls, folder), record)
    both = Counter(calls.read_text().splitlines())
    return {
        "point": point,
        "killed": os.WIFSIGNALED(ended),
        "before": before,
        "kept": len(kept),
        "first": sum(first.values()),
        "again": sum((both - first).values()),
        "twice": sorted(name for name, count in both.items() if count > 1),
        "calls": len(both),
        "paid": paid,
        "doubled": sum(".double" in key for key in kept),
        "status": resumed.status,
        "hash": resumed.fingerprint,
        "reused": sum(1 for outcome in resumed.outcomes if outcome.reused),
        "outcomes": len(resumed.outcomes),
    }


def main(url: str, points: str) -> None:
    """Kill before and after `every` write, or on alternate sides of each (`alternate`)."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        point, killed = 0, True
        while killed:
            point += 1
            for before in (True, False) if points == "every" else (point % 2 == 1,):
                report = at(point, before=before, url=url, folder=root / f"{point}-{before}")
                killed = report["killed"]
                sys.stdout.write(json.dumps(report) + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
