"""Resources in one process: exact counts of who uses what, shared by all runs, granted in order of arrival.

A call asks for everything it uses at once and gets all of it or waits, so no two calls can wait for each other. A
place in a rate is taken when it is granted and stays taken until the window after the call's start has passed.
Hence `n` places mean at most `n` starts in any window, wherever it begins: of the starts in a window, look at the one
that was granted last; at that moment the places of all the others were still taken.
"""

import asyncio
import heapq
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from flows.author import Ending
from flows.errors import TransientError
from flows.model import Breaker, Resource

logger = logging.getLogger(__name__)
MINUTE_S = 60.0
START_S = 0.1
"""Added to each window: the time that a thread may need to start once its turn has come."""


class CircuitOpen(TransientError):
    """The call was not made: a resource that it uses has been failing; try again after `retry_after_s`."""


@dataclass(frozen=True)
class Demand:
    """What a call wants of one resource: to be one of those that the limits allow, with tokens it expects to use."""

    name: str
    limits: Resource
    tokens: float = 0.0


@dataclass(eq=False)
class Ticket:
    """A call's claim on its resources: waiting, granted, begun, ended."""

    demands: tuple[Demand, ...]
    loop: asyncio.AbstractEventLoop
    granted: "asyncio.Future[None]"
    state: Literal["waiting", "granted", "begun", "ended"] = "waiting"
    wakes: float | None = None


@dataclass(eq=False)
class _Rate:
    """One resource: who waits for it, how much of it is taken, and whether it is being called at all."""

    name: str
    waiting: deque[Ticket] = field(default_factory=deque[Ticket])
    running: int = 0
    starting: int = 0
    """Granted and not begun: places in the rate whose window has no end yet."""
    begun: deque[float] = field(default_factory=deque[float])
    """When the places of begun calls become free, ascending."""
    expected: float = 0.0
    """Tokens that calls in flight are expected to use."""
    spent: float = 0.0
    """Tokens that ended calls have used and that still count."""
    spent_until: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    """A heap: until when, how many of them."""
    failures: deque[float] = field(default_factory=deque[float])
    open_until: float | None = None
    probe: Ticket | None = None

    def forget(self, now: float) -> None:
        """Drop what has run out."""
        while self.begun and self.begun[0] <= now:
            self.begun.popleft()
        while self.spent_until and self.spent_until[0][0] <= now:
            _, amount = heapq.heappop(self.spent_until)
            self.spent = self.spent - amount if self.spent_until else 0.0

    def spend(self, tokens: float, until: float) -> None:
        self.spent += tokens
        heapq.heappush(self.spent_until, (until, tokens))

    def free_for(self, demand: Demand) -> bool:
        limits = demand.limits
        if limits.concurrency is not None and self.running >= limits.concurrency:
            return False
        if limits.per_minute is not None and self.starting + len(self.begun) >= limits.per_minute:
            return False
        if limits.tokens_per_minute is not None:
            taken, most = self.expected + self.spent, limits.tokens_per_minute
            # A call that alone expects more than the limit goes when nothing else counts.
            if taken >= most or (taken > 0 and taken + demand.tokens > most):
                return False
        return limits.breaker is None or self.open_until is None or self.probe is None

    def next_change(self) -> float | None:
        """When something that has been counted runs out."""
        ends = [self.begun[0]] if self.begun else []
        if self.spent_until:
            ends.append(self.spent_until[0][0])
        return min(ends, default=None)


class Resources:
    """The meters of a process; safe under threads, each with an event loop of its own."""

    def __init__(self, *, window_s: float = MINUTE_S, start_s: float = START_S) -> None:
        self.window_s, self._start_s = window_s, start_s
        self._meters: dict[str, _Rate] = {}
        self._lock = threading.Lock()

    async def take(self, demands: Sequence[Demand]) -> Ticket:
        """Wait for the turn; what comes back must be given back with `end`, whatever happens.

        Raises:
            CircuitOpen: a resource is not being called now.
        """
        loop = asyncio.get_running_loop()
        ticket = Ticket(tuple(demands), loop, loop.create_future())
        if not ticket.demands:
            ticket.state = "granted"
            return ticket
        with self._lock:
            for meter in self._used(ticket):
                meter.waiting.append(ticket)
            self._serve(loop.time())
        try:
            await ticket.granted
        except BaseException:
            self.end(ticket)
            raise
        return ticket

    def begin(self, ticket: Ticket) -> None:
        """The call starts now.

        Raises:
            CircuitOpen: since its turn came, a resource has failed too often.
        """
        now = ticket.loop.time()
        with self._lock:
            refusal = self._refusal(ticket, now)
            if refusal is None:
                ticket.state = "begun"
                for meter in self._used(ticket):
                    meter.starting -= 1
                    meter.begun.append(now + self.window_s + self._start_s)
        if refusal is not None:
            self.end(ticket)
            raise refusal

    def end(self, ticket: Ticket, ending: Ending | None = None, tokens: float | None = None) -> None:
        """Give everything back; the second time does nothing.

        `ending` says how the call ended, None if it was not made; `tokens` what it used, None if it did not say.
        """
        now = ticket.loop.time()
        with self._lock:
            before, ticket.state = ticket.state, "ended"
            for demand, meter in zip(ticket.demands, self._used(ticket), strict=True):
                if before == "waiting":
                    if ticket in meter.waiting:
                        meter.waiting.remove(ticket)
                    continue
                if before == "ended":
                    continue
                meter.running -= 1
                meter.expected -= demand.tokens
                if before == "granted":
                    meter.starting -= 1
                else:
                    self._settle(meter, demand, demand.tokens if tokens is None else tokens, now)
                if demand.limits.breaker is not None:
                    self._judge(meter, demand.limits.breaker, ticket, ending, now)
            self._serve(now)

    def _used(self, ticket: Ticket) -> list[_Rate]:
        return [self._meters.setdefault(demand.name, _Rate(demand.name)) for demand in ticket.demands]

    def _settle(self, meter: _Rate, demand: Demand, used: float, now: float) -> None:
        limit = demand.limits.tokens_per_minute
        if limit is not None and used > 0:
            # What is used beyond a whole window's worth is a debt: it takes the windows it takes.
            meter.spend(used, now + self.window_s * max(1.0, used / limit))

    def _serve(self, now: float) -> None:
        """Grant what can be granted. The oldest waiting call is first in all its queues: it is never overtaken."""
        for meter in self._meters.values():
            meter.forget(now)
        again = True
        while again:
            again = False
            for first in self._heads():
                meters = self._used(first)
                refusal = self._refusal(first, now)
                if refusal is not None:
                    self._leave_queues(first, meters)
                    first.state = "ended"
                    _tell(first, refusal)
                    again = True
                elif all(meter.waiting[0] is first for meter in meters):
                    if all(map(_Rate.free_for, meters, first.demands)):
                        self._grant(first, meters)
                        again = True
                    else:
                        self._wake_later(first, meters, now)

    def _heads(self) -> list[Ticket]:
        """The first of every queue; where calls are refused, all of the queue."""
        found: dict[Ticket, None] = {}
        for meter in self._meters.values():
            if meter.waiting:
                refusing = meter.open_until is not None and meter.probe is None
                found.update(dict.fromkeys(meter.waiting if refusing else (meter.waiting[0],)))
        return [ticket for ticket in found if ticket.state == "waiting"]

    def _leave_queues(self, ticket: Ticket, meters: Sequence[_Rate]) -> None:
        for meter in meters:
            meter.waiting.remove(ticket)

    def _grant(self, ticket: Ticket, meters: Sequence[_Rate]) -> None:
        self._leave_queues(ticket, meters)
        ticket.state = "granted"
        for demand, meter in zip(ticket.demands, meters, strict=True):
            meter.running += 1
            meter.starting += 1
            meter.expected += demand.tokens
            if demand.limits.breaker is not None and meter.open_until is not None:
                meter.probe = ticket
                logger.info("resource %s: one call is let through to see whether it works again", meter.name)
        _tell(ticket, None)

    def _wake_later(self, ticket: Ticket, meters: Sequence[_Rate], now: float) -> None:
        due = min((end for meter in meters if (end := meter.next_change()) is not None), default=None)
        if due is not None and (ticket.wakes is None or ticket.wakes <= now or due < ticket.wakes):
            ticket.wakes = due
            _on_loop(ticket.loop, lambda: ticket.loop.call_at(due, self._woken, ticket))

    def _woken(self, ticket: Ticket) -> None:
        with self._lock:
            ticket.wakes = None
            self._serve(ticket.loop.time())

    def _refusal(self, ticket: Ticket, now: float) -> CircuitOpen | None:
        for demand, meter in zip(ticket.demands, self._used(ticket), strict=True):
            if demand.limits.breaker is None or meter.open_until is None or meter.probe is ticket:
                continue
            left = meter.open_until - now
            if left > 0:
                return CircuitOpen(
                    f"the circuit breaker of resource {meter.name!r} is open after "
                    f"{demand.limits.breaker.failures} transient failures; next call in {left:.1f} s",
                    retry_after_s=left,
                )
        return None

    def _judge(self, meter: _Rate, breaker: Breaker, ticket: Ticket, ending: Ending | None, now: float) -> None:
        worked, failed = ending is not None and ending.succeeded, ending is not None and ending.transient
        if meter.probe is ticket:
            meter.probe = None
            if worked:
                meter.open_until = None
                meter.failures.clear()
                logger.info("resource %s: works again, its circuit breaker is closed", meter.name)
            elif failed:
                self._open(meter, breaker, "it still fails", now)
            return
        if not failed or meter.open_until is not None:
            return
        meter.failures.append(now)
        while meter.failures[0] < now - breaker.within_s:
            meter.failures.popleft()
        if len(meter.failures) >= breaker.failures:
            self._open(meter, breaker, f"{len(meter.failures)} transient failures in {breaker.within_s:g} s", now)

    def _open(self, meter: _Rate, breaker: Breaker, why: str, now: float) -> None:
        meter.open_until = now + breaker.open_s
        meter.failures.clear()
        logger.warning("resource %s: circuit breaker open for %g s: %s", meter.name, breaker.open_s, why)


def _tell(ticket: Ticket, refusal: CircuitOpen | None) -> None:
    def tell() -> None:
        if ticket.granted.done():
            return
        if refusal is None:
            ticket.granted.set_result(None)
        else:
            ticket.granted.set_exception(refusal)

    _on_loop(ticket.loop, tell)


def _on_loop(loop: asyncio.AbstractEventLoop, work: Callable[[], object]) -> None:
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
        # The loop is closed; whoever waited on it is gone, and its ticket with it.
        return


_process = Resources()
_of_loop: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Resources]" = weakref.WeakKeyDictionary()


def process_resources() -> Resources:
    """The resources of this process; a loop whose clock is not the machine's (in tests) has some of its own."""
    loop = asyncio.get_running_loop()
    if abs(loop.time() - time.monotonic()) < 1.0:
        return _process
    return _of_loop.setdefault(loop, Resources())
