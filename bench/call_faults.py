"""Faults of calls and of the run around them: dead workers, endless threads, storms, cancellation, clock jumps."""

import asyncio
import random
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.fault_tries import Place, Row, lost_of, try_each, undisturbed
from flows.author import REGISTRY, Registry, RunResult, handler
from flows.engine import Event, Prepared, StepFinished, combine_observers, run_plan
from flows.errors import TransientError
from flows.model import Pipeline
from flows.planning import make_plan
from flows.run_store import Recorder, RunStore
from flows.state import Context, Identity
from tests.support import killing


def dead_workers(tries: int) -> Row:
    """A worker process is killed in the middle of a call."""
    from bench import fault_handlers

    steps = [
        {
            "for_each": "items",
            "max_concurrency": 4,
            "collect": ["survivor"],
            "steps": [{"handler": "bench_dies_once", "retry": {"max_attempts": 2, "delay_s": 0}}],
        }
    ]
    plan = make_plan(Pipeline.model_validate({"name": "workers", "steps": steps}), registry=REGISTRY)
    assert fault_handlers.dies_once
    with tempfile.TemporaryDirectory() as name:
        context = Context({"items": list(range(tries)), "marker": f"{name}/died"})
        result = asyncio.run(run_plan(Prepared(plan, context)))
        died = len(list(Path(name).glob("died-*")))
    right = list(result.context.data["survivor"]) == [2 * item for item in range(tries)]
    good = sum(1 for outcome in result.outcomes if outcome.is_leaf and outcome.status == "succeeded")
    return Row("worker process killed (isolation: process)", died, good if right else 0, tries - good)


def endless_threads(tries: int) -> Row:
    """A thread never ends, but the run does; the late result of the thread is dropped."""

    def attempt(_: Place, number: int) -> int | None:
        made, end = Registry(), threading.Event()

        @handler(registry=made, writes="late")
        def never_ends() -> str:
            end.wait()
            return "too late"

        @handler(registry=made, writes="beside")
        def beside() -> int:
            return number

        group = {"parallel": [{"handler": "never_ends", "timeout_s": 0.05}, "beside"], "policy": "best_effort"}
        plan = make_plan(Pipeline.model_validate({"name": "threads", "steps": [group]}), registry=made)
        result = asyncio.run(run_plan(Prepared(plan, Context())))
        before = result.fingerprint
        end.set()
        states = [outcome.status for outcome in result.outcomes if outcome.is_leaf]
        as_wanted = result.status == "partial" and states == ["abandoned", "succeeded"]
        kept_out = "late" not in result.context.data and result.fingerprint == before
        return (0 if result.context.data["beside"] == number and kept_out else 1) if as_wanted else None

    return try_each("thread that never ends", tries, attempt)


class _CancelAfter:
    def __init__(self, events: int) -> None:
        self._left = events
        self.task: asyncio.Task[RunResult] | None = None

    def __call__(self, event: Event) -> None:
        self._left -= isinstance(event, StepFinished)
        if self._left == 0 and self.task is not None:
            self.task.cancel()


def cancelled(tries: int) -> Row:
    """A run is cancelled after each of its outcomes in turn, and resumed."""
    wanted = undisturbed()

    def attempt(place: Place, number: int) -> int | None:
        async def run() -> None:
            plan = make_plan(Pipeline.model_validate(killing.PIPELINE), registry=place.handlers())
            recorder, stop = Recorder(RunStore(place.url)), _CancelAfter(number + 1)
            context = Context(identity=Identity("killed", "cut"))
            prepared = Prepared(plan, context, combine_observers(recorder, stop), journal=recorder)
            stop.task = task = asyncio.ensure_future(run_plan(prepared))
            with suppress(asyncio.CancelledError):
                await task

        asyncio.run(run())
        result, lost = place.go_on("cut")
        return lost_of(result, lost, wanted)

    return try_each("run cancelled at any moment", min(tries, len(wanted.outcomes)), attempt)


class _Stormy:
    """A file that cannot be written three times out of ten."""

    def __init__(self, path: Path, seed: int) -> None:
        self._path, self._random, self._lock = path, random.Random(seed), threading.Lock()

    def open(self, mode: str) -> Any:
        with self._lock:
            if self._random.random() < 0.3:
                raise TransientError("storm")
            return self._path.open(mode)


def storms(tries: int) -> Row:
    """Three of ten calls fail transiently, again and again."""
    wanted = undisturbed()

    def attempt(place: Place, number: int) -> int | None:
        described = killing.PIPELINE | {"retry": {"max_attempts": 30, "delay_s": 0}}
        plan = make_plan(
            Pipeline.model_validate(described), registry=place.handlers(_Stormy(place.folder / "calls", number))
        )
        recorder = Recorder(RunStore(place.url))
        context = Context(identity=Identity("killed", "storm"))
        result = asyncio.run(run_plan(Prepared(plan, context, observer=recorder, journal=recorder)))
        return lost_of(result, killing.CALLS_OF_A_RUN - len(place.called()), wanted)

    return try_each("storm of transient failures (3 of 10 calls)", tries, attempt)


def clock_jumps(tries: int) -> Row:
    """The machine's clock jumps by up to a day, forwards and backwards, each time it is read."""
    wanted, real = undisturbed(), time.time

    def attempt(place: Place, number: int) -> int | None:
        jumps = random.Random(number)
        time.time = lambda: real() + jumps.uniform(-86_400, 86_400)
        try:
            plan_store = RunStore(place.url)
            result = killing.run(plan_store, "jumps", place.handlers())
        finally:
            time.time = real
        odd = sum(1 for outcome in result.outcomes if not 0 <= outcome.seconds < 60)
        _, there = place.record("jumps")
        return lost_of(result, odd + killing.CALLS_OF_A_RUN - len(there), wanted)

    return try_each("clock jumps by up to a day", tries, attempt)
