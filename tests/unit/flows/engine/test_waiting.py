"""Waiting is separate from working, and the two add up to the elapsed time."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.author import Call, Outcome, Registry, RunResult, handler, results
from flows.calling import dispatch, processes
from flows.calling.times import PROCESS, CallTimes
from flows.engine import Event, Prepared, StepFinished, StepStarted, run_plan
from flows.errors import TransientError
from flows.model import Pipeline
from flows.planning import make_plan
from flows.reports.critical_path import critical_path
from flows.state import Context
from flows.testkit.clock import run_virtually
from tests.support.profiles import scaled

EXACT, EPOCH = 1e-6, 1000.0


class Observed:
    """A run in virtual time, with the times that its handlers and the clock recorded."""

    def __init__(self, steps: list[Any], *, seed: int = 0, **pipeline: Any) -> None:
        self.rng = random.Random(seed)
        self.worked: defaultdict[str, float] = defaultdict(float)
        self.begun: dict[str, float] = {}
        self.lasted: dict[str, float] = {}
        made = self.registry()
        model = Pipeline.model_validate({"name": "p", "steps": steps, **pipeline})
        plan = make_plan(model, registry=made)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dispatch, "call_in_process", self.in_process)
            self.result: RunResult = run_virtually(self.run(plan, patch))

    async def run(self, plan: Any, patch: pytest.MonkeyPatch) -> RunResult:
        patch.setattr(results, "time", SimpleNamespace(time=lambda: EPOCH + asyncio.get_running_loop().time()))
        return await run_plan(Prepared(plan, Context({}), observer=self))

    def __call__(self, event: Event) -> None:
        at = asyncio.get_running_loop().time()
        match event:
            case StepStarted():
                self.begun[event.path] = at
            case StepFinished() if event.outcome.path in self.begun:
                self.lasted[event.outcome.path] = at - self.begun[event.outcome.path]
            case _:
                pass

    def registry(self) -> Registry:
        made = Registry()

        @handler(registry=made, writes=None)
        async def work(*, seconds: float, fails: int = 0, call: Call) -> None:
            await self.work(call, seconds, fails)

        @handler(registry=made, writes=None, isolation="process")
        def apart(*, seconds: float) -> None:
            raise AssertionError("called by its stand-in")

        return made

    async def work(self, call: Call, seconds: float, fails: int) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await asyncio.sleep(seconds)
        finally:
            self.worked[call.step_id] += loop.time() - began
        if call.attempt <= fails:
            raise TransientError("not yet")

    async def in_process(self, *arguments: Any, waits: CallTimes) -> Any:
        """A process that takes some seconds to start."""
        begun: Callable[[], None] = processes._begin_to_wait(waits)  # pyright: ignore[reportPrivateUsage]
        await asyncio.sleep(self.rng.choice([0.0, 0.5, 2.0]))
        begun()
        await asyncio.sleep(0)
        await self.work(arguments[-1], arguments[-2]["seconds"], 0)
        return None, ()

    @property
    def calls(self) -> list[Outcome]:
        return [outcome for outcome in self.result.outcomes if outcome.is_leaf]


def test_calls_that_run_one_at_a_time_save_nothing() -> None:
    steps = [{"handler": "work", "options": {"seconds": 1}, "uses": ["api"]} for _ in range(8)]
    seen = Observed([{"parallel": steps, "max_concurrency": "unlimited"}], resources={"api": {"concurrency": 1}})
    result = seen.result
    assert (result.seconds, result.busy_seconds, result.waited_seconds) == (8.0, 8.0, 28.0)
    assert result.time_saved == 0
    assert {outcome.seconds for outcome in seen.calls} == {1.0}
    assert seen.calls[-1].waits == {"resource api": 7.0}
    assert path_seconds(result) == 8.0


def test_a_call_says_for_what_it_waited() -> None:
    steps = [
        {"handler": "work", "options": {"seconds": 1, "fails": 1}, "retry": {"max_attempts": 2, "delay_s": 3}},
        {"handler": "work", "options": {"seconds": 5}},
    ]
    first = Observed([{"parallel": steps, "max_concurrency": 1}]).calls[0]
    # It works from 0 to 1 and could go on at 4, but the other one has the slot from 1 to 6.
    assert (first.seconds, first.waits) == (2.0, {"the next attempt": 3.0, "its turn": 2.0})
    assert [(each.status, each.seconds) for each in first.tries] == [("failed", 1.0), ("succeeded", 1.0)]


def test_the_start_of_a_process_is_no_work() -> None:
    steps = [{"handler": "apart", "options": {"seconds": 4}, "id": f"s{number}"} for number in range(6)]
    seen = Observed(steps)
    assert {outcome.seconds for outcome in seen.calls} == {4.0}
    assert set().union(*(outcome.waits for outcome in seen.calls)) == {PROCESS}
    assert seen.result.seconds == sum(outcome.seconds + outcome.waited_s for outcome in seen.calls)


def test_a_call_whose_time_is_up_before_its_turn_only_waited() -> None:
    busy = {"handler": "work", "options": {"seconds": 9}, "uses": ["api"]}
    late = {**busy, "id": "late", "timeout_s": 2}
    (_, outcome) = Observed(
        [{"parallel": [busy, late], "policy": {"success_when": "any"}}], resources={"api": {"concurrency": 1}}
    ).calls
    assert (outcome.status, outcome.seconds, outcome.waits) == ("timed_out", 0.0, {"resource api": 2.0})
    assert outcome.error is not None
    assert "it waited for resource api" in outcome.error.message


@settings(max_examples=scaled(40))
@given(st.integers(min_value=0, max_value=1 << 32))
def test_work_and_waiting_add_up_to_what_the_clock_says(seed: int) -> None:
    rng = random.Random(seed)

    def step() -> dict[str, Any]:
        uses = {"uses": rng.sample(["api", "disk"], rng.randint(1, 2))} if rng.random() < 0.5 else {}
        seconds = {"seconds": rng.choice([0, 0.25, 1, 7])}
        if rng.random() < 0.25:
            return {"handler": "apart", "options": seconds, **uses}
        retry = {"max_attempts": rng.randint(1, 3), "delay_s": rng.choice([0, 1, 4])}
        limit = {"timeout_s": rng.choice([2, 9])} if rng.random() < 0.3 else {}
        return {"handler": "work", "options": {**seconds, "fails": rng.randint(0, 2)}, "retry": retry, **uses, **limit}

    def steps(depth: int) -> list[Any]:
        return [
            {"parallel": [steps(depth - 1) for _ in range(rng.randint(1, 4))], **best_effort, **at_most()}
            if depth and rng.random() < 0.6
            else step()
            for _ in range(rng.randint(1, 3))
        ]

    def at_most() -> dict[str, Any]:
        return {"max_concurrency": rng.choice([1, 2, "unlimited"])}

    best_effort = {"policy": "best_effort"}
    resources = {"api": {"concurrency": 1}, "disk": {"concurrency": 2, "per_minute": 5}}
    seen = Observed(steps(2), seed=seed, resources=resources, **at_most())
    for outcome in seen.calls:
        assert outcome.seconds + outcome.waited_s == pytest.approx(seen.lasted.get(outcome.path, 0.0), abs=EXACT)
        assert outcome.seconds == pytest.approx(seen.worked[outcome.id], abs=EXACT)
        assert outcome.seconds == pytest.approx(sum(each.seconds for each in outcome.tries), abs=EXACT)
    assert path_seconds(seen.result) <= seen.result.seconds + EXACT


@settings(max_examples=scaled(20))
@given(st.integers(min_value=0, max_value=1 << 32))
def test_in_a_run_of_one_step_after_the_other_they_add_up_to_the_run(seed: int) -> None:
    rng = random.Random(seed)
    retry = {"max_attempts": 3, "delay_s": 2}
    steps = [
        {"handler": "work", "options": {"seconds": rng.randint(0, 5), "fails": rng.randint(0, 2)}, "retry": retry}
        for _ in range(5)
    ]
    seen = Observed(steps, seed=seed)
    spent = sum(outcome.seconds + outcome.waited_s for outcome in seen.calls)
    assert spent == pytest.approx(seen.result.seconds, abs=EXACT)
    assert path_seconds(seen.result) == pytest.approx(seen.result.seconds, abs=EXACT)
    assert seen.result.time_saved == 0


def path_seconds(result: RunResult) -> float:
    """The seconds of the critical path: of its calls, and between them."""
    path = critical_path(result.outcomes, started=result.started)
    return sum(link.waited_s + link.worked_s for link in path)
