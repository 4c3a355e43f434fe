"""The state of one resource: waiting calls, slots in use, and its circuit breaker."""

import asyncio
import heapq
import logging
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from flows.author import Ending
from flows.errors import TransientError
from flows.limits.adaptive import Adaptive
from flows.model import Breaker, Resource

logger = logging.getLogger(__name__)


class CircuitOpen(TransientError):
    """The call was not made: a resource that it uses has been failing; try again after `retry_after_s`."""


@dataclass(frozen=True)
class SlotRequest:
    """One resource that a call uses, its limits, and the tokens that the call is expected to use."""

    name: str
    limits: Resource
    tokens: float = 0.0


@dataclass(frozen=True)
class Share:
    """The tenant and priority of a run: tenants get equal shares of a scarce resource, and priority goes first."""

    tenant: str = ""
    priority: int = 0


UNNAMED = Share()
"""The share of runs that declare none."""


@dataclass(eq=False)
class ResourceSlot:
    """A call's slot in all resources that it uses: waiting, granted, begun, ended."""

    requests: tuple[SlotRequest, ...]
    loop: asyncio.AbstractEventLoop
    granted: "asyncio.Future[None]"
    state: Literal["waiting", "granted", "begun", "ended"] = "waiting"
    wakes: float | None = None
    share: Share = UNNAMED
    turn: tuple[float, int] = (0.0, 0)
    """Its position in every queue; the lowest goes first."""
    start: float = 0.0
    """The virtual time of its tenant when the call arrived."""
    began: float = 0.0


@dataclass(eq=False)
class Rate:
    """One resource; times are on the event loop's clock."""

    name: str
    waiting: list[ResourceSlot] = field(default_factory=list[ResourceSlot])
    """Waiting calls, ordered by turn."""
    window: Adaptive = field(default_factory=Adaptive)
    running: int = 0
    starting: int = 0
    """Granted slots of calls that have not begun, so that their minute has no end yet."""
    begun: deque[float] = field(default_factory=deque[float])
    """When the slots of begun calls become free, ascending."""
    expected: float = 0.0
    """Tokens that calls in flight are expected to use."""
    spent: float = 0.0
    """Tokens that ended calls have used and that still count."""
    spent_until: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    """A heap: until when, how many of them."""
    failures: deque[float] = field(default_factory=deque[float])
    open_until: float | None = None
    """Until when its circuit breaker lets no call through."""
    probe: ResourceSlot | None = None
    """The single trial call that checks whether the resource works again."""

    def forget(self, now: float) -> None:
        """Drop expired entries."""
        while self.begun and self.begun[0] <= now:
            self.begun.popleft()
        while self.spent_until and self.spent_until[0][0] <= now:
            _, amount = heapq.heappop(self.spent_until)
            self.spent = self.spent - amount if self.spent_until else 0.0

    def next_change(self) -> float | None:
        """When the next counted entry expires."""
        ends = [self.begun[0]] if self.begun else []
        if self.spent_until:
            ends.append(self.spent_until[0][0])
        return min(ends, default=None)

    def next_slots(self) -> tuple[ResourceSlot, ...]:
        """The first waiting call; all waiting calls while the circuit breaker refuses calls."""
        if not self.waiting:
            return ()
        refusing = self.open_until is not None and self.probe is None
        return tuple(self.waiting) if refusing else (self.waiting[0],)

    def is_free_for(self, request: SlotRequest) -> bool:
        limits = request.limits
        if limits.concurrency is not None and self.running >= limits.concurrency:
            return False
        if limits.adapts and self.running >= self.window.limit:
            return False
        if limits.per_minute is not None and self.starting + len(self.begun) >= limits.per_minute:
            return False
        if limits.tokens_per_minute is not None:
            taken, most = self.expected + self.spent, limits.tokens_per_minute
            # A call that expects more tokens than the limit is admitted when no other entry counts.
            if taken >= most or (taken > 0 and taken + request.tokens > most):
                return False
        return limits.breaker is None or self.open_until is None or self.probe is None

    def grant(self, request: SlotRequest, slot: ResourceSlot) -> None:
        self.running += 1
        self.starting += 1
        self.expected += request.tokens
        if request.limits.breaker is not None and self.open_until is not None:
            self.probe = slot
            logger.info("resource %s: one call is allowed, to test whether it works again", self.name)

    def begin(self, until: float) -> None:
        """Record that a granted call has begun; its slot stays in use until `until`."""
        self.starting -= 1
        self.begun.append(until)

    def end(self, request: SlotRequest, *, begun: bool) -> None:
        """Record that a granted call has ended, or was abandoned before it began."""
        self.running -= 1
        self.expected -= request.tokens
        if not begun:
            self.starting -= 1

    def spend(self, tokens: float, until: float) -> None:
        self.spent += tokens
        heapq.heappush(self.spent_until, (until, tokens))

    def refusal(self, request: SlotRequest, slot: ResourceSlot, now: float) -> CircuitOpen | None:
        """The circuit breaker's reason for refusing a call; None if it lets the call through."""
        if request.limits.breaker is None or self.open_until is None or self.probe is slot:
            return None
        left = self.open_until - now
        if left <= 0:
            return None
        return CircuitOpen(
            f"the circuit breaker of resource {self.name!r} is open after "
            f"{request.limits.breaker.failures} transient failures; next call in {left:.1f} s",
            retry_after_s=left,
        )

    def judge(self, breaker: Breaker, slot: ResourceSlot, ending: Ending | None, now: float) -> None:
        """Open or close the circuit breaker by how a call ended; None if the call was not made."""
        worked, failed = ending is not None and ending.succeeded, ending is not None and ending.transient
        if self.probe is slot:
            self.probe = None
            if worked:
                self.open_until = None
                self.failures.clear()
                logger.info("resource %s: works again, its circuit breaker is closed", self.name)
            elif failed:
                self._open(breaker, "it still fails", now)
            return
        if not failed or self.open_until is not None:
            return
        self.failures.append(now)
        while self.failures[0] < now - breaker.within_s:
            self.failures.popleft()
        if len(self.failures) >= breaker.failures:
            self._open(breaker, f"{len(self.failures)} transient failures in {breaker.within_s:g} s", now)

    def _open(self, breaker: Breaker, why: str, now: float) -> None:
        self.open_until = now + breaker.open_s
        self.failures.clear()
        logger.warning("resource %s: circuit breaker open for %g s: %s", self.name, breaker.open_s, why)
