"""Admission: an attempt starts once every limit of every resource that it uses allows it, here and in other runs."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from flows.author import Ending
from flows.limits.rates import UNNAMED, Share, SlotRequest
from flows.limits.resources import Resources
from flows.model import EffectiveResource, Resource

logger = logging.getLogger(__name__)


class SharedSeats(Protocol):
    """Counts the calls at once of all runs."""

    def seat(self, name: str, limit: int) -> AbstractAsyncContextManager[None]:
        """Wait for one of `limit` seats, and keep it until the end.

        Raises (at any moment):
            TransientError: no seat can be obtained, or the seat was lost.
        """
        ...


class SharedSlots(Protocol):
    """The slots of one call in shared rates."""

    async def settle(self, tokens: float | None) -> None:
        """Report the tokens that the call has used; None if it did not report any. Never raises."""
        ...


class SharedRates(Protocol):
    """Counts the calls and tokens per minute of all runs."""

    async def take(self, requests: Sequence[SlotRequest], /) -> SharedSlots:
        """Wait until each of the requests has a slot.

        Raises:
            TransientError: they cannot be counted.
        """
        ...


@dataclass
class AdmittedCall:
    """A call that may start; its ending is noted here before its slots and seats are returned."""

    ending: Ending | None = None
    """None if the call was not made."""
    tokens: float | None = 0.0
    """The tokens that the call has used; None if it did not report any."""


@dataclass(frozen=True)
class Admission:
    """The resources of one run, and the counters that enforce their limits."""

    effective: Mapping[str, EffectiveResource]
    resources: Resources
    seats: SharedSeats | None = None
    rates: SharedRates | None = None
    share: Share = UNNAMED
    """The tenant and priority of the run."""

    @asynccontextmanager
    async def hold(self, uses: Sequence[str], *, expected_tokens: int = 0) -> AsyncGenerator[AdmittedCall]:
        """Wait until the call may start, and return all slots and seats at the end.

        The limits of this process come first: a call that waits for them sends no request to a server.

        Raises:
            CircuitOpen: a resource is not being called now.
            TransientError: a shared limit could not be asked.
        """
        admitted = AdmittedCall()
        used = [self.effective[name] for name in sorted(set(uses))]
        shared = dict(sorted((name, common) for one in used for name, common in one.shared.items()))
        requests = [SlotRequest(one.name, one.resource, expected_tokens) for one in used]
        slot = await self.resources.take(requests, self.share)
        try:
            async with AsyncExitStack() as held:
                for name, common in shared.items():
                    if self.seats is not None and common.concurrency is not None:
                        await held.enter_async_context(self.seats.seat(name, common.concurrency))
                shared_slots = await self._take_shared(shared, expected_tokens)
                self.resources.begin(slot)
                try:
                    yield admitted
                finally:
                    if shared_slots is not None:
                        await asyncio.shield(asyncio.ensure_future(shared_slots.settle(admitted.tokens)))
        finally:
            self.resources.end(slot, admitted.ending, admitted.tokens)

    async def _take_shared(self, shared: Mapping[str, Resource], expected_tokens: int) -> SharedSlots | None:
        requests = [
            SlotRequest(name, common, expected_tokens) for name, common in shared.items() if _has_a_rate(common)
        ]
        return await self.rates.take(requests) if self.rates is not None and requests else None


def warn_of_what_is_not_shared(admission: Admission) -> None:
    """Warn about shared limits that hold only in this process, because no server or run store counts for all runs."""
    for one in admission.effective.values():
        for common in one.shared.values():
            if common.concurrency is not None and admission.seats is None:
                logger.warning(
                    "resource %s: its concurrency limit counts only the calls of this process; to count "
                    "those of all runs, run on a Prefect server (PREFECT_API_URL)",
                    one.name,
                )
            if _has_a_rate(common) and admission.rates is None:
                logger.warning(
                    "resource %s: its limit per minute counts only the calls of this process; to count "
                    "those of all runs, use the braid command, which counts in the run store",
                    one.name,
                )


def _has_a_rate(resource: Resource) -> bool:
    return resource.per_minute is not None or resource.tokens_per_minute is not None
