"""Calls whose thread cannot be stopped: the run continues, and late results are dropped."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

import flows.calling.dispatch
import flows.calling.threads
from flows.author import Call, Registry, RunResult, handler
from flows.engine import Prepared, run_plan
from flows.errors import FatalError
from flows.model import Pipeline
from flows.planning import make_plan
from flows.state import Context
from flows.testkit import run_virtually


@pytest.fixture(autouse=True)
def _no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.calling.dispatch, "GRACE_S", 0.001)
    monkeypatch.setattr(flows.calling.threads, "IDLE_S", 0.01)  # a thread that has ended has delivered its result


class Blocked:
    """A handler that blocks until it is released, after its result is no longer needed."""

    def __init__(self, late: Callable[[Context, Call], Any]) -> None:
        self.registry = Registry()
        self.entered, self.released = threading.Event(), threading.Event()
        self.threads: list[threading.Thread] = []

        @handler(registry=self.registry)
        def blocked(context: Context, *, call: Call) -> Any:
            if self.released.is_set():
                return None  # tried again
            self.threads.append(threading.current_thread())
            call.report_cost(usd=1)
            self.entered.set()
            self.released.wait(30)
            return late(context, call)

        @handler(registry=self.registry, effects=())
        async def release() -> None:
            """Ends when every result of the blocked call has arrived."""
            await asyncio.to_thread(self.entered.wait, 30)
            self.released.set()
            for thread in self.threads:
                await asyncio.to_thread(thread.join, 30)
            await asyncio.sleep(0)

        @handler(registry=self.registry)
        async def breaks() -> None:
            await asyncio.to_thread(self.entered.wait, 30)
            raise FatalError("broken")

        @handler(registry=self.registry, effects=())
        async def sees_it_begin() -> None:
            await asyncio.to_thread(self.entered.wait, 30)

        @handler(registry=self.registry, effects=())
        async def ok() -> None: ...

    async def run(self, steps: list[Any], context: Context) -> RunResult:
        pipeline = Pipeline.model_validate({"name": "p", "steps": steps})
        try:
            return await run_plan(Prepared(make_plan(pipeline, registry=self.registry, given=context.data), context))
        finally:
            self.released.set()


def returns(context: Context, call: Call) -> Any:
    return {"late": "returned"}


def raises(context: Context, call: Call) -> Any:
    raise FatalError("too late to matter")


def writes(context: Context, call: Call) -> Any:
    context.data["late"] = "written"
    context.data["deep"]["list"].append("written")
    del context.data["kept"]
    context.tags["late"] = ["written"]


def sets_aside(context: Context, call: Call) -> Any:
    call.fail_item("late.pdf", "no text")
    call.report_progress(7, 9)


START = {"kept": 1, "deep": {"list": ["first"]}}


@pytest.mark.parametrize("late", [returns, raises, writes, sets_aside])
def test_a_late_result_never_arrives(late: Callable[[Context, Call], Any]) -> None:
    blocked = Blocked(late)
    group = {"parallel": [{"handler": "blocked", "timeout_s": 0.05}], "policy": "best_effort"}
    result = run_virtually(blocked.run([group, "release"], Context(START)))
    assert [outcome.status for outcome in result.outcomes] == ["succeeded", "abandoned", "succeeded"]
    given_up = result.outcomes[1]
    assert given_up.error is not None
    assert given_up.error.message.endswith("could not be stopped; its late result will be dropped")
    assert (given_up.failures, result.failures, result.status) == ((), (), "partial")
    assert result.fingerprint == Context(START).fingerprint()


def test_what_a_late_call_costs_is_in_the_cost_of_the_run_and_in_no_outcome() -> None:
    blocked = Blocked(lambda context, call: call.report_cost(usd=2))
    # Virtual time does not pass before it has begun.
    group = {"parallel": [{"handler": "blocked", "timeout_s": 0.05}, "sees_it_begin"], "policy": "best_effort"}
    result = run_virtually(blocked.run([group, "release"], Context(START)))
    assert [dict(outcome.cost) for outcome in result.outcomes] == [{}, {"usd": 1}, {}, {}]
    assert (result.cost, dict(result.late_cost)) == ({"usd": 3}, {"usd": 2})


def test_a_stopped_call_that_goes_on_is_abandoned_without_an_error() -> None:
    blocked = Blocked(writes)
    group = {
        "parallel": [["blocked", "ok"], "breaks"],
        "policy": {"on_branch_failure": "cancel", "success_when": "always"},
    }
    result = run_virtually(blocked.run([group, "release"], Context(START)))
    ended = {outcome.path: (outcome.status, outcome.error is None) for outcome in result.outcomes}
    assert ended == {
        "0": ("succeeded", True),
        "0.0": ("abandoned", True),
        "0.0.0": ("abandoned", True),
        "0.0.1": ("cancelled", True),
        "0.1": ("failed", False),
        "1": ("succeeded", True),
    }
    assert result.outcomes[2].reason == "stopped, but its thread goes on; its late result will be dropped"
    assert result.fingerprint == Context(START).fingerprint()


@pytest.mark.parametrize("late", [returns, raises, writes, sets_aside])
async def test_a_late_result_does_not_replace_that_of_a_later_attempt(late: Callable[[Context, Call], Any]) -> None:
    made, entered, released = Registry(), threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    @handler(registry=made)
    def tries(context: Context, *, call: Call) -> Any:
        if call.attempt == 1:
            threads.append(threading.current_thread())
            entered.set()
            released.wait(30)
            return late(context, call)
        context.data["answer"] = call.attempt
        return None

    @handler(registry=made, effects=())
    async def release() -> None:
        released.set()
        if await asyncio.to_thread(entered.wait, 30):
            await asyncio.to_thread(threads[0].join, 30)
        await asyncio.sleep(0)

    # On a busy machine also a later attempt may be too slow; then another one gives the answer.
    retry = {"max_attempts": 50, "delay_s": 0, "attempt_timeout_s": 0.1}
    pipeline = Pipeline.model_validate({"name": "p", "steps": [{"handler": "tries", "retry": retry}, "release"]})
    result = await run_plan(Prepared(make_plan(pipeline, registry=made, given=START), Context(START)))
    outcome = result.outcomes[0]
    assert (result.status, outcome.status, outcome.error, outcome.failures) == ("succeeded", "succeeded", None, ())
    assert outcome.attempts > 1
    assert dict(result.context.data) == {**START, "answer": outcome.attempts}


def test_a_call_stopped_while_it_waits_to_be_tried_again_says_that_its_thread_goes_on() -> None:
    blocked = Blocked(returns)

    @handler(registry=blocked.registry)
    async def breaks_later() -> None:
        await asyncio.sleep(5)
        raise FatalError("broken")

    again = {"handler": "blocked", "retry": {"max_attempts": 2, "delay_s": 60, "attempt_timeout_s": 1}}
    group = {"parallel": [again, "breaks_later"], "policy": "fail_fast"}
    result = run_virtually(blocked.run([group], Context(START)))
    assert [(outcome.status, outcome.attempts) for outcome in result.outcomes[1:]] == [("abandoned", 1), ("failed", 1)]
