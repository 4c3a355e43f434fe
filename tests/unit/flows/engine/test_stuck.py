"""Steps that are silent for longer than expected are named, and only those."""

import asyncio
import logging

import pytest

from flows.author import Call, Registry, handler
from flows.calling import LeafCall
from flows.engine import (
    Event,
    Expectation,
    Prepared,
    StepProgressed,
    StepStuck,
    combine_observers,
    run_plan,
    stuck,
    usual_seconds,
)
from flows.engine.stuck import StuckWatch
from flows.model import Pipeline, StepPath
from flows.planning import make_plan
from flows.reports import LiveProgress, StepNames
from flows.state import Context


def watched(expected: Expectation) -> tuple[StuckWatch, LeafCall, list[StepStuck], list[tuple[int, int | None]]]:
    made = Registry()

    @handler(registry=made)
    def work() -> None: ...

    plan = make_plan(Pipeline.model_validate({"name": "p", "steps": ["work"]}), registry=made)
    call = LeafCall(plan.leaves[0], StepPath("0"), "0.work", Context())
    found: list[StepStuck] = []
    progress: list[tuple[int, int | None]] = []

    def observe(event: Event) -> None:
        match event:
            case StepProgressed():
                progress.append((event.done, event.total))
            case StepStuck():
                found.append(event)
            case _:
                raise AssertionError(event)

    watch = StuckWatch(expected, observe)
    watch.add(call)
    return watch, call, found, progress


def test_a_silent_step_is_named_once_and_again_when_its_silence_has_doubled(caplog: pytest.LogCaptureFixture) -> None:
    watch, call, found, _ = watched(Expectation(usual_s={"0": 40.0}))
    call.progress.is_trying, call.progress.attempts = True, 1
    with caplog.at_level(logging.WARNING, "flows.engine.stuck"):
        for at in range(0, 1300, 5):
            watch.look(float(at))
    assert [one.silent_s for one in found] == [400.0, 800.0]
    assert caplog.messages[0] == ("0.work (0) reports no progress for 400 s; usually it takes 40.0 s")


def test_a_step_that_reports_progress_waits_or_is_retried_is_not_stuck() -> None:
    watch, call, found, progress = watched(Expectation(after_s=10.0))
    for at in range(0, 30, 5):
        watch.look(float(at))
    call.progress.is_trying, call.progress.attempts = True, 1
    for at in range(30, 90, 5):
        call.progress.call.report_progress(at, 90)
        watch.look(float(at))
    assert progress[-1] == (85, 90)
    call.progress.attempts, call.progress.call = 2, Call()
    watch.look(94.0)
    watch.look(103.0)
    assert found == []
    watch.look(104.0)
    assert [one.path for one in found] == ["0"]


@pytest.mark.parametrize(
    ("expected", "limit"),
    [
        (Expectation(), stuck.UNKNOWN_S),
        (Expectation(usual_s={"1.0": 2.0}), 300.0),
        (Expectation(usual_s={"1.0": 200.0}), 2000.0),
        (Expectation(after_s=7.0, usual_s={"1.0": 200.0}), 7.0),
    ],
)
def test_the_limit_is_what_is_set_or_ten_times_what_is_usual(expected: Expectation, limit: float) -> None:
    assert expected.limit_s(StepPath("1[4].0")) == limit


def test_usual_is_what_nine_of_ten_calls_took_at_most() -> None:
    rows = [{"path": f"1[{number}].0", "seconds": float(number)} for number in range(1, 11)]
    assert usual_seconds([*rows, {"path": "2", "seconds": 5.0}]) == {"1.0": 9.0, "2": 5.0}


async def test_a_running_pipeline_names_its_stuck_step_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stuck, "EVERY_S", 0.01)
    made, named = Registry(), asyncio.Event()

    @handler(registry=made)
    async def hangs() -> None:
        await named.wait()

    def seen(event: Event) -> None:
        if isinstance(event, StepStuck):
            text.append(live.markdown())
            named.set()

    plan = make_plan(Pipeline.model_validate({"name": "p", "steps": ["hangs"]}), registry=made)
    live, text = LiveProgress(StepNames(plan), {}), list[str]()
    watching = combine_observers(live, seen)
    result = await run_plan(Prepared(plan, Context(), observer=watching, expected=Expectation(after_s=0.05)))
    assert result.status == "succeeded"
    assert "**Stuck?** 0.hangs (0) reports no progress" in text[0]
    assert "Stuck?" not in live.markdown()
