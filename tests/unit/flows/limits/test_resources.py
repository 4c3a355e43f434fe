"""Resources in one process: limits hold in every window, calls start in order, and every slot is released; in virtual time."""

import asyncio
import selectors
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.author import SUCCEEDED, ending_of
from flows.errors import TransientError
from flows.limits import Resources, SlotRequest, process_resources
from flows.limits.rates import CircuitOpen, ResourceSlot
from flows.model import Resource

Result = TypeVar("Result")
MINUTE_S = 60.0


class _Jumps(selectors.DefaultSelector):
    """A selector that never waits: time jumps to the next timer."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "everything waits for something that nothing will bring about"
        self.now += max(timeout, 0.0)
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.jumps = _Jumps()
        super().__init__(self.jumps)

    def time(self) -> float:
        return self.jumps.now


def virtually(work: Coroutine[Any, Any, Result]) -> Result:
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(work)


class Watch:
    """Calls that note when they begin and end."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self.starts: list[float] = []
        self.order: list[int] = []
        self.spent: list[tuple[float, float]] = []
        self.now = 0
        self.most = 0

    async def call(
        self,
        requests: Sequence[SlotRequest],
        *,
        number: int = 0,
        after_s: float = 0.0,
        takes_s: float = 0.0,
        late_s: float = 0.0,
        tokens: float | None = None,
    ) -> None:
        clock = asyncio.get_running_loop()
        await asyncio.sleep(after_s)
        slot = await self.resources.take(requests)
        try:
            await asyncio.sleep(late_s)
            self.resources.begin(slot)
            self.starts.append(clock.time())
            self.order.append(number)
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                await asyncio.sleep(takes_s)
            finally:
                self.now -= 1
        finally:
            self.spent.append((clock.time(), tokens or 0.0))
            self.resources.end(slot, tokens=tokens)


def request(name: str = "api", tokens: float = 0.0, **limits: Any) -> SlotRequest:
    return SlotRequest(name, Resource.model_validate(limits), tokens)


def most_in_a_window(moments: Sequence[float], window_s: float = MINUTE_S) -> int:
    return max((sum(1 for other in moments if moment <= other <= moment + window_s) for moment in moments), default=0)


TIMES = st.floats(0, 90, allow_nan=False)


@given(st.integers(1, 6), st.integers(1, 3), st.lists(st.tuples(TIMES, TIMES, TIMES), min_size=1, max_size=30))
def test_no_window_has_more_starts_than_allowed_and_every_call_gets_its_turn(
    per_minute: int, concurrency: int, calls: list[tuple[float, float, float]]
) -> None:
    async def run() -> Watch:
        watch = Watch(Resources())
        limits = request(per_minute=per_minute, concurrency=concurrency)
        await asyncio.gather(
            *(watch.call([limits], after_s=after, takes_s=takes, late_s=late) for after, takes, late in calls)
        )
        return watch

    watch = virtually(run())
    assert len(watch.starts) == len(calls)
    assert most_in_a_window(watch.starts) <= per_minute
    assert watch.most <= concurrency


def test_a_rate_is_used_to_the_full() -> None:
    async def run() -> Watch:
        watch = Watch(Resources())
        await asyncio.gather(*(watch.call([request(per_minute=60)]) for _ in range(180)))
        return watch

    starts = virtually(run()).starts
    assert [starts.count(moment) for moment in sorted(set(starts))] == [60, 60, 60]
    assert max(starts) < 2 * (MINUTE_S + 1)


@given(st.lists(st.tuples(st.sampled_from(["ab", "bc", "ca", "a", "b", "c", "abc"]), TIMES, TIMES), max_size=25))
def test_calls_with_several_resources_never_wait_for_each_other(calls: list[tuple[str, float, float]]) -> None:
    async def run() -> Watch:
        watch = Watch(Resources())
        await asyncio.gather(
            *(
                watch.call([request(name, concurrency=1, per_minute=4) for name in names], after_s=after, takes_s=takes)
                for names, after, takes in calls
            )
        )
        return watch

    assert len(virtually(run()).starts) == len(calls)


def test_turns_come_in_order_of_arrival() -> None:
    async def run() -> Watch:
        watch = Watch(Resources())
        limits = request(concurrency=2, per_minute=5)
        await asyncio.gather(*(watch.call([limits], number=i, after_s=i / 100, takes_s=1) for i in range(20)))
        return watch

    assert virtually(run()).order == list(range(20))


def test_a_large_call_is_not_overtaken_by_small_ones() -> None:
    async def run() -> Watch:
        watch = Watch(Resources())
        small, large = request(tokens=10, tokens_per_minute=100), request(tokens=95, tokens_per_minute=100)
        await asyncio.gather(
            watch.call([small], number=0, tokens=10),
            watch.call([large], number=1, after_s=1, tokens=95),
            *(watch.call([small], number=2, after_s=2 + i, tokens=10) for i in range(8)),
        )
        return watch

    assert virtually(run()).order == [0, 1] + [2] * 8


@given(st.lists(st.tuples(st.integers(0, 80), TIMES, TIMES), min_size=1, max_size=25))
def test_tokens_of_a_window_stay_below_the_limit_when_they_are_expected_rightly(
    calls: list[tuple[int, float, float]],
) -> None:
    async def run() -> Watch:
        watch = Watch(Resources())
        await asyncio.gather(
            *(
                watch.call([request(tokens=tokens, tokens_per_minute=100)], after_s=after, takes_s=takes, tokens=tokens)
                for tokens, after, takes in calls
            )
        )
        return watch

    spent = virtually(run()).spent
    assert len(spent) == len(calls)
    for start, _ in spent:
        assert sum(tokens for moment, tokens in spent if start <= moment < start + MINUTE_S) <= 100


def test_unexpected_tokens_are_a_debt_that_the_next_call_waits_for() -> None:
    async def run() -> Watch:
        watch = Watch(Resources())
        limits = request(tokens_per_minute=1000)
        await watch.call([limits], tokens=2500)
        await watch.call([limits], tokens=10)
        return watch

    assert virtually(run()).starts == [0.0, pytest.approx(2.5 * MINUTE_S)]


def test_a_call_that_expects_more_than_the_limit_goes_alone() -> None:
    async def run() -> Watch:
        watch = Watch(Resources())
        await asyncio.gather(
            watch.call([request(tokens=50, tokens_per_minute=100)], tokens=50),
            watch.call([request(tokens=500, tokens_per_minute=100)], tokens=500),
        )
        return watch

    assert virtually(run()).starts == [0.0, pytest.approx(MINUTE_S)]


@given(st.lists(st.tuples(TIMES, TIMES, st.floats(0, 120)), min_size=1, max_size=20), st.booleans())
def test_everything_comes_back_whenever_a_call_is_cancelled(
    calls: list[tuple[float, float, float]], failing: bool
) -> None:
    async def run() -> None:
        watch = Watch(Resources())
        limits = [
            request("a", concurrency=1, per_minute=3),
            request("b", concurrency=2, tokens=5, tokens_per_minute=20),
        ]

        async def one(after: float, takes: float, until: float) -> None:
            try:
                async with asyncio.timeout(until):
                    await watch.call(limits, after_s=after, takes_s=takes, tokens=5)
                    if failing:
                        raise ValueError
            except (TimeoutError, ValueError):
                return

        await asyncio.gather(*(one(*call) for call in calls))
        # Interrupted calls must not block others.
        await asyncio.sleep(2 * MINUTE_S)
        began = asyncio.get_running_loop().time()
        await watch.call(limits)
        assert watch.starts[-1] == began
        assert watch.now == 0

    virtually(run())


def test_a_call_respects_its_own_limit_among_all_that_run() -> None:
    async def run() -> list[int]:
        resources, seen = Resources(), list[int]()
        wide, narrow = Watch(resources), Watch(resources)
        done = [
            asyncio.ensure_future(wide.call([request(concurrency=3)], after_s=i / 10, takes_s=10)) for i in range(9)
        ]
        await asyncio.sleep(1)
        slot = await resources.take([request(concurrency=1)])
        seen.append(wide.now)
        resources.end(slot)
        await asyncio.gather(*done)
        return [*seen, wide.most, narrow.most]

    assert virtually(run()) == [0, 3, 0]


BREAKER: dict[str, float] = {"failures": 3, "within_s": 10, "open_s": 30}


async def fail(resources: Resources, *, times: int, breaker: dict[str, float] = BREAKER) -> None:
    for _ in range(times):
        slot = await resources.take([request(breaker=breaker)])
        resources.begin(slot)
        resources.end(slot, ending_of(TransientError("busy")))


def test_a_breaker_opens_lets_one_call_through_and_closes() -> None:
    async def run() -> None:
        resources = Resources()
        limits = request(breaker=BREAKER)
        await fail(resources, times=3)
        with pytest.raises(
            CircuitOpen, match="'api' is open after 3 transient failures; next call in 30.0 s"
        ) as caught:
            await resources.take([limits])
        assert caught.value.retry_after_s == 30
        await asyncio.sleep(30)
        probe = await resources.take([limits])
        others = [asyncio.ensure_future(resources.take([limits])) for _ in range(3)]
        await asyncio.sleep(5)
        assert not any(other.done() for other in others)
        resources.begin(probe)
        resources.end(probe, SUCCEEDED)
        assert [slot.state for slot in await asyncio.gather(*others)] == ["granted"] * 3

    virtually(run())


def test_a_failing_probe_opens_the_breaker_again_and_refuses_all_that_wait() -> None:
    async def run() -> None:
        resources = Resources()
        limits = request(breaker=BREAKER, concurrency=1)
        await fail(resources, times=3)
        await asyncio.sleep(31)
        probe = await resources.take([limits])
        others = [asyncio.ensure_future(resources.take([limits])) for _ in range(3)]
        await asyncio.sleep(0)
        resources.begin(probe)
        resources.end(probe, ending_of(TransientError("busy")))
        ended = await asyncio.gather(*others, return_exceptions=True)
        assert [type(error) for error in ended] == [CircuitOpen] * 3

    virtually(run())


def test_a_cancelled_probe_leaves_its_part_to_the_next_call() -> None:
    async def run() -> ResourceSlot:
        resources = Resources()
        await fail(resources, times=3)
        await asyncio.sleep(31)
        resources.end(await resources.take([request(breaker=BREAKER)]))
        return await resources.take([request(breaker=BREAKER)])

    assert virtually(run()).state == "granted"


def test_failures_long_apart_do_not_open_a_breaker() -> None:
    async def run() -> None:
        resources = Resources()
        for _ in range(9):
            await fail(resources, times=1)
            await asyncio.sleep(6)
        await fail(resources, times=1)

    virtually(run())


def test_a_call_whose_turn_came_before_the_breaker_opened_is_refused_when_it_begins() -> None:
    async def run() -> None:
        resources = Resources()
        early = await resources.take([request(breaker=BREAKER)])
        await fail(resources, times=3)
        with pytest.raises(CircuitOpen):
            resources.begin(early)
        assert early.state == "ended"

    virtually(run())


def test_threads_with_loops_of_their_own_share_one_count() -> None:
    resources, lock = Resources(), threading.Lock()
    counts = {"now": 0, "most": 0, "all": 0}

    async def call() -> None:
        slot = await resources.take([request(concurrency=2)])
        resources.begin(slot)
        with lock:
            counts["now"] += 1
            counts["all"] += 1
            counts["most"] = max(counts["most"], counts["now"])
        await asyncio.sleep(0.001)
        with lock:
            counts["now"] -= 1
        resources.end(slot)

    async def many() -> None:
        await asyncio.gather(*(call() for _ in range(25)))

    threads = [threading.Thread(target=lambda: asyncio.run(many())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == {"now": 0, "most": 2, "all": 100}


async def test_all_runs_of_a_process_share_its_resources_and_a_virtual_clock_has_its_own() -> None:
    async def mine() -> Resources:
        return process_resources()

    assert process_resources() is process_resources()
    assert await asyncio.to_thread(lambda: virtually(mine())) is not process_resources()
