"""If Prefect fails around a call, the result of the call counts, and remaining attempts are made."""

import contextlib
from typing import Any

import httpx
import pytest

from flows.author import Call, Registry, handler
from flows.engine import Prepared, run_plan
from flows.errors import FatalError, TransientError
from flows.model import Pipeline
from flows.planning import make_plan
from flows.state import Context


def failing(task: Any, *, before: bool) -> Any:
    """The same task, whose run fails in Prefect's client, before the attempt or after it."""

    async def task_run(**_: Any) -> None:
        if not before:
            with contextlib.suppress(TransientError, FatalError):
                await task.fn()
        raise httpx.ConnectError("all connection attempts failed")

    return task_run


@pytest.mark.parametrize("before", [True, False])
async def test_a_call_is_neither_lost_nor_made_twice(monkeypatch: pytest.MonkeyPatch, before: bool) -> None:
    from flows.reports import StepNames
    from flows.translator import task_runs

    monkeypatch.setattr(task_runs, "_leaf_task", failing(task_runs._leaf_task, before=before))
    made, calls = Registry(), list[str]()

    @handler(registry=made, writes="x")
    def gives() -> int:
        calls.append("gives")
        return 7

    @handler(registry=made)
    async def flaky(*, call: Call) -> None:
        calls.append("flaky")
        if call.attempt < 3:
            raise TransientError("busy")

    @handler(registry=made)
    def broken() -> None:
        calls.append("broken")
        raise FatalError("broken input")

    retry = {"max_attempts": 3, "delay_s": 0.0}
    steps = ["gives", {"handler": "flaky", "retry": retry}, {"handler": "broken", "retry": retry}]
    plan = make_plan(Pipeline.model_validate({"name": "p", "steps": steps}), registry=made)
    result = await run_plan(Prepared(plan, Context()), run_leaf=task_runs.RunLabels("p", StepNames(plan)).run_task)
    assert [outcome.status for outcome in result.outcomes] == ["succeeded", "succeeded", "failed"]
    assert result.context.data["x"] == 7
    assert calls == ["gives", "flaky", "flaky", "flaky", "broken"]
