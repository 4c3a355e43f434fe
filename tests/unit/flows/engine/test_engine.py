"""The engine as a whole: one outcome for everything declared, whatever happens."""

import asyncio
import random
from typing import Any

import pytest

from flows.author import Registry, handler
from flows.engine.run_state import outcome_kind
from flows.model import Pipeline
from flows.planning import make_plan
from tests.support.engine_runs import run, statuses
from tests.support.profiles import scaled


async def test_cancelling_a_run_stops_it_and_goes_on() -> None:
    made, started, ended = Registry(), asyncio.Event(), list[str]()

    @handler(registry=made)
    async def endless() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    running = asyncio.ensure_future(run([{"parallel": ["endless", "endless"]}, "endless"], made))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended == ["ended", "ended"]


@pytest.mark.parametrize("seed", range(scaled(15)))
async def test_one_outcome_for_everything_declared_whatever_happens(registry: Registry, seed: int) -> None:
    rng = random.Random(seed)

    def steps(level: int) -> list[Any]:
        return [step(level) for _ in range(rng.randint(1, 3))]

    def step(level: int) -> Any:
        if level and rng.random() < 0.6:
            policy = {
                "on_branch_failure": rng.choice(["cancel", "drain", "continue"]),
                "success_when": rng.choice(["all", "any", "always"]),
            }
            return {
                "parallel": [steps(level - 1) for _ in range(rng.randint(1, 4))],
                "policy": policy,
                "max_concurrency": rng.randint(1, 3),
            }
        return rng.choice(["ok", "ok", "fatal", "transient", {"handler": "forever", "timeout_s": 0.01}])

    tree = steps(3)
    result = await run(tree, registry)
    model = Pipeline.model_validate({"name": "test", "steps": tree})
    declared = [node.path for node in make_plan(model, registry=registry).nodes if outcome_kind(node) is not None]
    assert [outcome.path for outcome in result.outcomes] == declared
    # A run never reports success if a required step did not succeed.
    if any(statuses(result)[str(i)] not in ("succeeded", "skipped") for i in range(len(tree))):
        assert result.status == "failed"


async def test_a_handler_that_exits_ends_only_its_step() -> None:
    made = Registry()

    @handler(registry=made)
    def leaves() -> None:
        raise SystemExit(3)

    result = await run(["leaves"], made)
    error = result.outcomes[0].error
    assert error is not None
    assert error.message == "Handler 'leaves' threw exception: handler called sys.exit(3)"
