"""Tenants share scarce resources, priority never starves other calls, and the adaptive window finds the limit."""

import asyncio

import pytest

from bench.fair_shares import simulate
from flows.author import Ending
from flows.limits import Resources, Share, SlotRequest
from flows.limits.adaptive import Adaptive
from flows.model import Resource, effective_resource
from flows.testkit import run_virtually

ONE = SlotRequest("model", Resource(concurrency=1))


def order_of(arrivals: list[Share]) -> list[str]:
    """The tenants in the order in which their calls start; all of them arrive while one call runs."""

    async def go() -> list[str]:
        resources, started = Resources(), list[str]()
        first = await resources.take([ONE])

        async def call(share: Share) -> None:
            slot = await resources.take([ONE], share)
            resources.begin(slot)
            started.append(share.tenant)
            await asyncio.sleep(1)
            resources.end(slot, Ending("succeeded"))

        calls = [asyncio.ensure_future(call(share)) for share in arrivals]
        await asyncio.sleep(1)
        resources.end(first)
        await asyncio.gather(*calls)
        return started

    return run_virtually(go())


def test_a_tenant_with_many_calls_does_not_keep_another_waiting() -> None:
    started = order_of([*[Share("large")] * 50, *[Share("small")] * 5])
    assert started[:10] == ["large", "small"] * 5


def test_calls_of_one_tenant_go_in_the_order_in_which_they_came() -> None:
    assert order_of([Share("a"), Share("b"), Share("c")]) == ["a", "b", "c"]


def test_priority_goes_first() -> None:
    started = order_of([*[Share("large")] * 50, Share("question", priority=10)])
    assert started[0] == "question"


def test_nobody_waits_for_ever_behind_priority() -> None:
    started = order_of([Share("patient"), *[Share("urgent", priority=1)] * 300])
    assert started.index("patient") == 100


def test_a_window_grows_by_one_per_round_and_is_halved_once_per_overload() -> None:
    window = Adaptive(allowed=8.0)
    for _ in range(8):
        window.learn(Ending("succeeded"), began=0.0, now=1.0, running=7, ceiling=64)
    assert window.limit == 8 or window.limit == 9
    busy = Ending("failed", transient=True)
    before = window.allowed
    for _ in range(5):  # calls of one overload
        window.learn(busy, began=1.0, now=2.0, running=7, ceiling=64)
    assert window.allowed == before / 2


def test_a_window_that_is_not_used_does_not_grow_and_never_passes_the_ceiling() -> None:
    window = Adaptive(allowed=4.0)
    window.learn(Ending("succeeded"), began=0.0, now=1.0, running=0, ceiling=64)
    assert window.allowed == 4.0
    for _ in range(1000):
        window.learn(Ending("succeeded"), began=0.0, now=1.0, running=100, ceiling=6)
    assert window.limit == 6


def test_calls_that_slow_down_make_the_window_smaller() -> None:
    window = Adaptive(allowed=8.0)
    for number in range(30):
        window.learn(Ending("succeeded"), began=float(number), now=number + 1.0, running=0, ceiling=64)
    window.learn(Ending("succeeded"), began=100.0, now=110.0, running=0, ceiling=64)
    assert window.allowed == 6.0


@pytest.mark.parametrize(
    ("own", "common", "most"),
    [("auto", None, 64), ("auto", 8, 8), (8, "auto", 8), (None, "auto", 64)],
)
def test_auto_stays_within_the_ceiling_that_somebody_locks(own: object, common: object, most: int) -> None:
    def resource(limit: object) -> Resource | None:
        return None if limit is None else Resource.model_validate({"concurrency": limit})

    found = effective_resource("m", resource(own), resource(common), own_origin="pipeline p", common_origin="settings")
    assert (found.resource.concurrency, found.resource.adapts) == (most, True)


def test_half_a_simulated_day_keeps_its_promises() -> None:
    measured = simulate(0.5)
    assert measured["promises_kept"] >= 0.99
    assert measured["jain"] >= 0.95
    assert measured["refused_share"] < 0.02  # the window has to be found first; below 1 % in a week
    assert measured["most_calls_before_a_question"] == 0
