"""What is going on in a run can be read from the store while it goes on, and where a killed run was."""

import asyncio
from pathlib import Path

from flows.author import Call, Registry, handler
from flows.calling import CallResult
from flows.engine import FinishedCall, Prepared, StepProgressed, StepStuck, run_plan
from flows.model import Pipeline, StepPath
from flows.planning import make_plan
from flows.run_store import Recorder, RunningBranch, RunRecord, RunStore, pack
from flows.state import Context, Identity


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


def test_a_step_whose_result_is_kept_goes_on_no_more(tmp_path: Path) -> None:
    store = RunStore(f"sqlite:///{tmp_path / 'runs.db'}")
    store.start(RunRecord("run-1", "p", "f", "default", {}, "running", 1.0))
    both = [RunningBranch("0", "0.first", 1.0), RunningBranch("1", "1.second", 2.0)]
    kept = pack(FinishedCall("chained", "own", CallResult((), 7), "0.first"))
    store.write("run-1", "run-1", running=both[:1])
    # A process that is killed now has not written the outcome of the first.
    store.write("run-1", "run-1", running=both, keep={"0.first": kept})
    assert store.running_branches("run-1") == both[1:]
    store.close()
