"""Windows: how many branches and calls run at once."""

import asyncio
import random
from collections import Counter

import pytest

from flows.author import Call, Registry, handler
from flows.errors import TransientError
from flows.planning import Overrides
from tests.support.engine_runs import Probe, run
from tests.support.profiles import scaled


@pytest.mark.parametrize("seed", range(scaled(20)))
async def test_a_window_is_never_exceeded_nested_and_with_retries(seed: int) -> None:
    rng = random.Random(seed)
    made, inner, outer = Registry(), Probe(), Probe()
    limits = rng.randint(1, 4), rng.randint(1, 3)

    @handler(registry=made, effects=())
    async def probed(*, name: str, call: Call) -> None:
        await inner.hold(name, rng.randint(0, 4))
        if rng.random() < 0.4 and call.attempt < 3:
            raise TransientError("again", retry_after_s=0.0)

    @handler(registry=made, effects=())
    async def whole_branch() -> None:
        await outer.hold("branch", 3)

    branches = [
        [
            "whole_branch",
            {
                "parallel": [{"handler": "probed", "options": {"name": f"{i}.{j}"}} for j in range(5)],
                "max_concurrency": limits[1],
            },
        ]
        for i in range(5)
    ]
    result = await run(
        [{"parallel": branches, "max_concurrency": limits[0]}],
        made,
        retry={"max_attempts": 3, "delay_s": 0},
    )
    assert result.status == "succeeded"
    assert outer.most <= limits[0]
    assert inner.most <= limits[0] * limits[1]
    assert Counter(o.status for o in result.outcomes if o.is_leaf) == {"succeeded": 30}


@pytest.mark.parametrize("ceiling", [1, 2, 3])
async def test_a_ceiling_holds_for_the_run_as_a_whole(ceiling: int) -> None:
    made, probe = Registry(), Probe()

    @handler(registry=made, effects=())
    async def probed() -> None:
        await probe.hold("call", 3)

    nested = [{"parallel": ["probed"] * 4, "max_concurrency": "unlimited"} for _ in range(4)]
    result = await run([{"parallel": nested, "max_concurrency": "unlimited"}], made, max_concurrency=ceiling)
    assert (result.status, probe.most) == ("succeeded", ceiling)


async def test_the_window_slides() -> None:
    made, order = Registry(), list[str]()
    gates = {name: asyncio.Event() for name in "abcd"}

    @handler(registry=made, effects=())
    async def gated(*, name: str) -> None:
        order.append(f"+{name}")
        await gates[name].wait()
        order.append(f"-{name}")

    branches = [{"handler": "gated", "options": {"name": name}} for name in "abcd"]
    running = asyncio.ensure_future(run([{"parallel": branches, "max_concurrency": 2}], made))
    for name in "bacd":
        while f"+{name}" not in order:
            await asyncio.sleep(0)
        gates[name].set()
        while f"-{name}" not in order:
            await asyncio.sleep(0)
    await running
    # As soon as b ends c starts, although a still runs.
    assert order == ["+a", "+b", "-b", "+c", "-a", "+d", "-c", "-d"]


async def test_four_workers_take_about_a_quarter_of_one() -> None:
    made, probe = Registry(), Probe()

    @handler(registry=made, effects=())
    async def job() -> None:
        await probe.hold("job", 50)

    stage = [{"parallel": ["job"] * 4}]
    await run(stage, made, overrides=Overrides(max_concurrency=1, origin="--max-workers"))
    assert probe.most == 1
    await run(stage, made, overrides=Overrides(max_concurrency=4, origin="--max-workers"))
    assert probe.most == 4
