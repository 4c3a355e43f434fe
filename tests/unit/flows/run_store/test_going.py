"""The store shows the running steps of a run, and the last position of a killed run."""

import asyncio
from pathlib import Path

import pytest

from flows.author import Call, Outcome, Registry, handler
from flows.calling import CallResult
from flows.engine import (
    FinishedCall,
    Prepared,
    RunFinished,
    RunStarted,
    StepFinished,
    StepProgressed,
    StepStarted,
    StepStuck,
    run_plan,
)
from flows.model import Pipeline, StepPath
from flows.planning import make_plan
from flows.run_store import Recorder, RunningBranch, RunStore
from flows.state import Context, Identity


@pytest.mark.slow
async def test_steps_that_began_are_in_the_store_until_they_end(tmp_path: Path) -> None:
    made, go_on = Registry(), asyncio.Event()

    @handler(registry=made)
    async def waits(*, call: Call) -> None:
        await go_on.wait()

    url = f"sqlite:///{tmp_path / 'runs.db'}"
    plan = make_plan(Pipeline.model_validate({"name": "p", "steps": [{"parallel": ["waits", "waits"]}]}), registry=made)
    writer, reader = Recorder(RunStore(url)), RunStore(url)
    context = Context(identity=Identity("p", "run-1"))
    running = asyncio.ensure_future(run_plan(Prepared(plan, context, observer=writer, journal=writer)))

    async def until(stuck: bool, done: int | None) -> list[RunningBranch]:
        async with asyncio.timeout(30):
            while True:
                found = reader.running_branches("run-1")
                if len(found) == 2 and (found[0].stuck, found[0].done) == (stuck, done):
                    return found
                await asyncio.sleep(0.02)

    assert [step.path for step in await until(False, None)] == ["0.0", "0.1"]
    writer(StepStuck(StepPath("0.0"), "0.0.waits", 400.0, None))
    await until(True, None)
    writer(StepProgressed(StepPath("0.0"), "0.0.waits", 3, 7))
    assert (await until(False, 3))[0].total == 7
    go_on.set()
    assert (await running).status == "succeeded"
    assert reader.running_branches("run-1") == []
    reader.close()


def _quick() -> Registry:
    made = Registry()

    @handler(registry=made)
    def quick() -> None:
        """Does nothing."""

    return made


async def test_a_step_whose_result_is_kept_goes_on_no_more(tmp_path: Path) -> None:
    plan = make_plan(Pipeline.model_validate({"name": "p", "steps": ["quick"]}), registry=_quick())
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    recorder, reader = Recorder(RunStore(url)), RunStore(url)
    kept = FinishedCall("chained", "own", CallResult((), 7), "0.first")
    recorder(RunStarted(plan, "run-1"))
    for path, step_id in (("0", "0.first"), ("1", "1.second")):
        recorder(StepStarted(StepPath(path), step_id, lambda: ""))
    async with asyncio.timeout(30):
        while len(reader.running_branches("run-1")) < 2:
            await asyncio.sleep(0.02)
    # A process that is killed now has not written the outcome of the first.
    await recorder.keep("0.first", kept)
    assert [step.path for step in reader.running_branches("run-1")] == ["1"]
    recorder(RunFinished(None))
    reader.close()


async def test_a_step_that_ends_at_once_is_never_shown_as_going_on(tmp_path: Path) -> None:
    plan = make_plan(Pipeline.model_validate({"name": "p", "steps": ["quick"]}), registry=_quick())
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    recorder, reader = Recorder(RunStore(url)), RunStore(url)
    recorder(RunStarted(plan, "run-1"))
    for number in range(20):
        name = f"{number}.quick"
        recorder(StepStarted(StepPath(str(number)), name, lambda: ""))
        await recorder.keep(name, FinishedCall("chained", "own", CallResult((), number), name))
        recorder(StepFinished(Outcome(path=StepPath(str(number)), id=name, kind="step", status="succeeded")))
    recorder(RunFinished(None))
    assert reader.running_branches("run-1") == []
    assert [row["path"] for row in reader.outcomes("run-1")] == [str(number) for number in range(20)]
    assert len(reader.finished_calls("run-1")) == 20
    reader.close()
