"""Resources in one process: exact counts of their use, shared by all runs and granted in fair order.

The turn of a call is fixed when it arrives, and all queues use the same order. Tenants take turns, regardless of how
many calls each has waiting. A call with priority moves ahead by a limited number of turns, so no call waits forever.
Calls of one tenant are served in order of arrival. Source: Goyal, Vin & Cheng, Start-time fair queueing, SIGCOMM 1996.

A call asks for everything it uses at once and gets all of it or waits, so no two calls can wait for each other. A slot
in a rate is taken when it is granted and stays taken until the minute after the call's start has passed. Hence `n`
slots mean at most `n` starts in any minute, wherever it begins: of the starts in a minute, look at the one that was
granted last; at that moment the slots of all the others were still taken.
"""

import asyncio
import bisect
import itertools
import threading
import time
import weakref
from collections.abc import Callable, Sequence

from flows.author import Ending
from flows.limits.rates import UNNAMED, CircuitOpen, Rate, ResourceSlot, Share, SlotRequest
from flows.model import AUTO_CEILING

MINUTE_S = 60.0
TURNS_AHEAD = 100.0
"""How many turns of its tenant a call moves ahead per level of priority."""
_MOST_TENANTS = 1000
START_S = 0.1
"""Added to each minute: the time that a thread may need to start once it is admitted."""


class Resources:
    """The rates of a process; safe under threads, each with an event loop of its own."""

    def __init__(self) -> None:
        self._rates: dict[str, Rate] = {}
        self._lock = threading.Lock()
        self._given = 0.0
        """The share that the tenant served last had been given: virtual time."""
        self._next_share: dict[str, float] = {}
        """By tenant, its share after all its waiting calls have been served."""
        self._arrivals = itertools.count()

    async def take(self, requests: Sequence[SlotRequest], share: Share = UNNAMED) -> ResourceSlot:
        """Wait for a slot; the caller must always return it with `end`. `share` decides whose turn it is.

        Raises:
            CircuitOpen: a resource is not being called now.
        """
        assert requests, "a call that uses no resource waits for none"
        loop = asyncio.get_running_loop()
        slot = ResourceSlot(tuple(requests), loop, loop.create_future())
        slot.share = share
        with self._lock:
            self._give_turn(slot)
            for rate in self._rates_of(slot):
                bisect.insort(rate.waiting, slot, key=_turn)
            self._serve(loop.time())
        try:
            await slot.granted
        except BaseException:
            self.end(slot)
            raise
        return slot

    def begin(self, slot: ResourceSlot) -> None:
        """The call starts now.

        Raises:
            CircuitOpen: a resource has failed too often since the slot was granted.
        """
        now = slot.loop.time()
        with self._lock:
            refusal = self._refusal(slot, now)
            if refusal is None:
                slot.state, slot.began = "begun", now
                for rate in self._rates_of(slot):
                    rate.begin(now + MINUTE_S + START_S)
        if refusal is not None:
            self.end(slot)
            raise refusal

    def end(self, slot: ResourceSlot, ending: Ending | None = None, tokens: float | None = None) -> None:
        """Return the slot; calling it again does nothing.

        `ending` is how the call ended, None if it was not made; `tokens` is the number it used, None if it did not
        report one.
        """
        now = slot.loop.time()
        with self._lock:
            before, slot.state = slot.state, "ended"
            for request, rate in zip(slot.requests, self._rates_of(slot), strict=True):
                if before == "waiting" and slot in rate.waiting:
                    rate.waiting.remove(slot)
                if before in ("waiting", "ended"):
                    continue
                rate.end(request, begun=before == "begun")
                if before == "begun":
                    self._count_tokens(rate, request, request.tokens if tokens is None else tokens, now)
                if request.limits.adapts and before == "begun" and ending is not None:
                    most = request.limits.concurrency or AUTO_CEILING
                    rate.window.learn(ending, began=slot.began, now=now, running=rate.running, ceiling=most)
                if request.limits.breaker is not None:
                    rate.judge(request.limits.breaker, slot, ending, now)
            self._serve(now)

    def _give_turn(self, slot: ResourceSlot) -> None:
        tenant = slot.share.tenant
        slot.start = max(self._given, self._next_share.get(tenant, 0.0))
        self._next_share[tenant] = slot.start + 1
        slot.turn = (slot.start - slot.share.priority * TURNS_AHEAD, next(self._arrivals))

    def _rates_of(self, slot: ResourceSlot) -> list[Rate]:
        return [self._rates.setdefault(request.name, Rate(request.name)) for request in slot.requests]

    def _count_tokens(self, rate: Rate, request: SlotRequest, used: float, now: float) -> None:
        limit = request.limits.tokens_per_minute
        if limit is not None and used > 0:
            # Tokens beyond those of a whole minute are a debt, which lasts as many minutes as it needs.
            rate.spend(used, now + MINUTE_S * max(1.0, used / limit))

    def _serve(self, now: float) -> None:
        """Grant what can be granted. The oldest waiting call is first in all its queues: it is never overtaken."""
        for rate in self._rates.values():
            rate.forget(now)
        again = True
        while again:
            again = False
            for first in self._next_slots():
                rates = self._rates_of(first)
                refusal = self._refusal(first, now)
                if refusal is not None:
                    _leave_queues(first, rates)
                    first.state = "ended"
                    _answer_waiting(first, refusal)
                    again = True
                elif all(rate.waiting[0] is first for rate in rates):
                    if all(map(Rate.is_free_for, rates, first.requests)):
                        _grant(first, rates)
                        self._note_given(first)
                        again = True
                    else:
                        self._wake_later(first, rates, now)

    def _note_given(self, slot: ResourceSlot) -> None:
        self._given = max(self._given, slot.start)
        if len(self._next_share) > _MOST_TENANTS:  # a tenant whose turn is due has no backlog to remember
            self._next_share = {tenant: due for tenant, due in self._next_share.items() if due > self._given}

    def _next_slots(self) -> list[ResourceSlot]:
        found = dict.fromkeys(slot for rate in self._rates.values() for slot in rate.next_slots())
        return [slot for slot in found if slot.state == "waiting"]

    def _refusal(self, slot: ResourceSlot, now: float) -> CircuitOpen | None:
        refusals = (
            rate.refusal(request, slot, now) for request, rate in zip(slot.requests, self._rates_of(slot), strict=True)
        )
        return next((refusal for refusal in refusals if refusal is not None), None)

    def _wake_later(self, slot: ResourceSlot, rates: Sequence[Rate], now: float) -> None:
        due = min((end for rate in rates if (end := rate.next_change()) is not None), default=None)
        if due is not None and (slot.wakes is None or slot.wakes <= now or due < slot.wakes):
            slot.wakes = due
            _run_on_loop(slot.loop, lambda: slot.loop.call_at(due, self._wake, slot))

    def _wake(self, slot: ResourceSlot) -> None:
        with self._lock:
            slot.wakes = None
            self._serve(slot.loop.time())


def _turn(slot: ResourceSlot) -> tuple[float, int]:
    return slot.turn


def _leave_queues(slot: ResourceSlot, rates: Sequence[Rate]) -> None:
    for rate in rates:
        rate.waiting.remove(slot)


def _grant(slot: ResourceSlot, rates: Sequence[Rate]) -> None:
    _leave_queues(slot, rates)
    slot.state = "granted"
    for request, rate in zip(slot.requests, rates, strict=True):
        rate.grant(request, slot)
    _answer_waiting(slot, None)


def _answer_waiting(slot: ResourceSlot, refusal: CircuitOpen | None) -> None:
    """Admit or refuse a call that waits on its own event loop."""

    def answer() -> None:
        if slot.granted.done():
            return
        if refusal is None:
            slot.granted.set_result(None)
        else:
            slot.granted.set_exception(refusal)

    _run_on_loop(slot.loop, answer)


def _run_on_loop(loop: asyncio.AbstractEventLoop, work: Callable[[], object]) -> None:
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:
        here = None
    if loop is here:
        work()
        return
    try:
        loop.call_soon_threadsafe(work)
    except RuntimeError:
        # The loop is closed, so the waiting call and its slot are gone.
        return


_process = Resources()
_of_loop: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Resources]" = weakref.WeakKeyDictionary()


def process_resources() -> Resources:
    """The resources of this process; an event loop with a virtual clock (in tests) has its own."""
    loop = asyncio.get_running_loop()
    if abs(loop.time() - time.monotonic()) < 1.0:
        return _process
    return _of_loop.setdefault(loop, Resources())
