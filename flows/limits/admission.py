"""An attempt's turn: it starts once every limit of every resource it uses lets it, here and in all other runs."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from flows.author import Ending
from flows.limits.resources import Demand, Resources
from flows.model import EffectiveResource

logger = logging.getLogger(__name__)


class SharedSeats(Protocol):
    """Who counts the calls at once of all runs."""

    def seat(self, name: str, limit: int) -> AbstractAsyncContextManager[None]:
        """Wait for a place among `limit`, and keep it until the end.

        Raises (at any moment):
            TransientError: the place cannot be had, or was lost.
        """
        ...


class SharedUse(Protocol):
    """Places in shared rates that one call has."""

    async def settle(self, tokens: float | None) -> None:
        """Say what the call has used; None if it did not say. Never raises."""
        ...


class SharedRates(Protocol):
    """Who counts the calls and tokens a minute of all runs."""

    async def take(self, demands: Sequence[Demand]) -> SharedUse:
        """Wait until all of them have a place.

        Raises:
            TransientError: they cannot be counted.
        """
        ...


@dataclass
class Admitted:
    """A call whose turn has come; it notes here how it ended, before it gives up what it holds."""

    ending: Ending | None = None
    tokens: float | None = 0.0
    """Those that the call has used; None if it did not report any."""


@dataclass(frozen=True)
class Admission:
    """The turns of one run's attempts."""

    settled: Mapping[str, EffectiveResource]
    resources: Resources
    seats: SharedSeats | None = None
    rates: SharedRates | None = None

    @asynccontextmanager
    async def hold(
        self,
        uses: Sequence[str],
        *,
        expected_tokens: int = 0,
    ) -> AsyncGenerator["Admitted"]:
        """Wait for the turn, and give everything back at the end.

        How the call ended is to be noted in the result first; if it is not, the call was not made.

        This process's own limits come first, since asking others is slow: what waits here troubles no server.

        Raises:
            CircuitOpen: a resource is not being called now.
            TransientError: a shared limit could not be asked.
        """
        if not uses:
            yield Admitted()
            return
        used = [self.settled[name] for name in sorted(set(uses))]
        ticket = await self.resources.take([Demand(one.name, one.resource, expected_tokens) for one in used])
        admitted = Admitted()
        shared = {name: common for one in used for name, common in one.shared.items()}
        try:
            async with AsyncExitStack() as held:
                for name, common in sorted(shared.items()):
                    if self.seats is not None and common.concurrency is not None:
                        await held.enter_async_context(self.seats.seat(name, common.concurrency))
                use = None
                if self.rates is not None:
                    rated = [
                        Demand(name, common, expected_tokens)
                        for name, common in sorted(shared.items())
                        if common.per_minute is not None or common.tokens_per_minute is not None
                    ]
                    use = await self.rates.take(rated) if rated else None
                self.resources.begin(ticket)
                try:
                    yield admitted
                finally:
                    if use is not None:
                        await asyncio.shield(asyncio.ensure_future(use.settle(admitted.tokens)))
        finally:
            self.resources.end(ticket, admitted.ending, admitted.tokens)


def warn_of_what_is_not_shared(turns: Admission) -> None:
    """Say which shared limits hold in this process only, because nobody is there to count them for all."""
    for one in turns.settled.values():
        for common in one.shared.values():
            if common.concurrency is not None and turns.seats is None:
                logger.warning(
                    "resource %s: calls at once are counted in this process only; a run on a Prefect "
                    "server (PREFECT_API_URL) counts those of all runs",
                    one.name,
                )
            if (common.per_minute is not None or common.tokens_per_minute is not None) and turns.rates is None:
                logger.warning(
                    "resource %s: calls a minute are counted in this process only; a run of the braid "
                    "command counts those of all runs, in the run store",
                    one.name,
                )
