"""`flows.testkit.run`: one run of a pipeline in a test, in virtual time."""

import asyncio
import time

import pytest

from flows import Call, Registry, TransientError, handler, parallel, pipeline
from flows.model import InvalidParameters
from flows.testkit import EndlessWait, run

REGISTRY = Registry()


@handler(registry=REGISTRY)
def double(number: int, *, call: Call) -> int:
    """Returns after sleeping for an hour twice."""
    if call.attempt < 3:
        raise TransientError("busy", retry_after_s=3600)
    return number * 2


@handler(registry=REGISTRY)
async def greet(number: int, *, call: Call) -> str:
    await asyncio.sleep(600)
    return call.services["greeting"] + str(number)


@handler(registry=REGISTRY)
async def wait_for_nothing() -> None:
    await asyncio.Event().wait()


BOTH = pipeline("both", parallel(double, greet), parameters={"number": {"type": "integer"}}, retry={"max_attempts": 3})


@pytest.mark.parametrize("seed", [None, 0, 1, 2])
def test_an_hour_takes_no_time_and_every_schedule_gives_the_same(seed: int | None) -> None:
    began = time.perf_counter()
    result = run(BOTH, number="4", registry=REGISTRY, services={"greeting": "hello "}, seed=seed)
    assert (result.double, result["greet"], result.status) == (8, "hello 4", "succeeded")
    assert result.seconds >= 7200
    assert time.perf_counter() - began < 10


def test_a_failed_run_is_a_result_and_one_that_cannot_end_is_not() -> None:
    assert run(BOTH, {"number": 1}, registry=REGISTRY).errors[0].step == "0.1.greet"
    with pytest.raises(EndlessWait):
        run(pipeline("p", wait_for_nothing), registry=REGISTRY)
    with pytest.raises(InvalidParameters, match="must be a whole number"):
        run(BOTH, number="four", registry=REGISTRY)
