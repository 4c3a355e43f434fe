"""Runs of small pipelines for tests of the engine, a count of calls at once, and a gate for blocked threads."""

import asyncio
import threading
from typing import Any

from flows.author import Registry, RunResult
from flows.engine import Prepared, run_plan
from flows.model import Pipeline
from flows.planning import make_plan
from flows.state import Context


class Probe:
    """Counts how many calls run at once."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.calls: list[str] = []

    async def hold(self, name: str, turns: int) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        self.calls.append(name)
        for _ in range(turns):
            await asyncio.sleep(0)
        self.now -= 1


async def run(steps: Any, registry: Registry, data: dict[str, Any] | None = None, **pipeline: Any) -> RunResult:
    overrides = pipeline.pop("overrides", None)
    model = Pipeline.model_validate({"name": "test", "steps": steps, **pipeline})
    plan = make_plan(model, registry=registry, given=data or {}, overrides=overrides)
    return await run_plan(Prepared(plan, Context(data or {})))


def statuses(result: RunResult) -> dict[str, str]:
    return {outcome.path: outcome.status for outcome in result.outcomes}


class Gate:
    """A gate at which blocked handlers wait, each in its thread, until a test releases them."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._entered = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []

    def wait(self) -> None:
        self._threads.append(threading.current_thread())
        self._entered.release()
        self._open.wait(60)

    def release(self, count: int = 0) -> None:
        """Release the handlers once `count` of them are waiting, and wait for the end of their threads."""
        for _ in range(count):
            assert self._entered.acquire(timeout=60)
        self._open.set()
        for thread in self._threads:
            thread.join(60)
