"""Calls and tokens per minute, counted for all runs in a table of the run store's database.

The slots of Prefect's rate limits decay evenly, so that nearly twice the limit can be used in the first minute. A table
of slots, each taken until a certain time, is exact. A grant is one transaction that first locks the rate, so that the
grants of all processes form one sequence, timed by the clock of the database (with SQLite, of the machine that all its
users share). A slot stays taken for a window plus a slack, and its call must begin within that slack; a grant that
arrives later is discarded and requested anew. So a slot is taken until at least one window after the start of its call,
which is enough, as `flows/limits/resources.py` shows. Slots expire, so nothing has to be released, not even by a worker
that was killed.
"""

import asyncio
import logging
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from flows.calling import call_in_thread
from flows.errors import TransientError
from flows.limits import MINUTE_S, SlotRequest
from flows.run_store.database import migrate, open_database
from flows.run_store.tables import rate_slots as slots
from flows.run_store.tables import rates

logger = logging.getLogger(__name__)
SLACK_S = 1.0
UNSETTLED_WINDOWS = 10
"""For how many windows the expected tokens of a call count if the call never reports its actual tokens."""


@dataclass(frozen=True)
class _RateRequest:
    rate: str
    amount: float
    limit: float
    lasts_s: float


class DatabaseRates:
    """Shared rates in a database; safe under threads and processes."""

    def __init__(self, url: str, *, window_s: float = MINUTE_S, slack_s: float = SLACK_S) -> None:
        self.window_s, self._slack_s = window_s, slack_s
        self._engine = open_database(url)
        migrate(self._engine)
        self._queues: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, ...], asyncio.Lock]]
        self._queues = weakref.WeakKeyDictionary()
        self._known: set[str] = set()

    def close(self) -> None:
        self._engine.dispose()

    async def take(self, requests: Sequence[SlotRequest]) -> "DatabaseSlots":
        """Wait until all requests have their slots; calls of this process are served in the order of arrival.

        Raises:
            TransientError: the database does not answer.
        """
        loop = asyncio.get_running_loop()
        names = tuple(sorted(request.name for request in requests))
        slack_s = self._slack_s
        # Only the first waiting call asks the database, since the others would be refused anyway.
        async with self._queues.setdefault(loop, {}).setdefault(names, asyncio.Lock()):
            while True:
                asked = loop.time()
                rate_requests = [one for request in requests for one in self._rate_requests(request, slack_s)]
                try:
                    answer = await call_in_thread(
                        lambda rate_requests=rate_requests: self._grant(rate_requests), name="braid-rates"
                    )
                except SQLAlchemyError as error:
                    text = f"the shared limits of {', '.join(names)} cannot be counted: {type(error).__name__}"
                    raise TransientError(text) from error
                if isinstance(answer, float):
                    await asyncio.sleep(max(answer, 0.005))
                elif loop.time() - asked > slack_s:
                    await call_in_thread(lambda answer=answer: self._drop(answer), name="braid-rates")
                    slack_s *= 2
                else:
                    return DatabaseSlots(self, tuple(requests), answer)

    def _rate_requests(self, request: SlotRequest, slack_s: float) -> list[_RateRequest]:
        found: list[_RateRequest] = []
        limits = request.limits
        if limits.per_minute is not None:
            found.append(_RateRequest(f"{request.name} calls", 1, limits.per_minute, self.window_s + slack_s))
        if limits.tokens_per_minute is not None:
            lasts_s = self.window_s * UNSETTLED_WINDOWS
            found.append(_RateRequest(f"{request.name} tokens", request.tokens, limits.tokens_per_minute, lasts_s))
        return found

    def _grant(self, requests: Sequence[_RateRequest]) -> dict[str, int] | float:
        """The granted slots by rate; or, if one is not available, the seconds after which to ask again."""
        requests = sorted(requests, key=lambda request: request.rate)
        self._insert_rates([request.rate for request in requests])
        with self._engine.begin() as connection:
            # Write to the rates first, always in the same order; in every database this locks them.
            for request in requests:
                connection.execute(rates.update().where(rates.c.name == request.rate).values(grants=rates.c.grants + 1))
            moment = self._clock(connection)
            names = [request.rate for request in requests]
            connection.execute(slots.delete().where(slots.c.rate.in_(names), slots.c.until <= moment))
            wait_s = max(self._wait(connection, request, moment) for request in requests)
            if wait_s > 0:
                return wait_s
            granted: dict[str, int] = {}
            for request in requests:
                slot = {"rate": request.rate, "amount": request.amount, "until": moment + request.lasts_s}
                inserted = connection.execute(slots.insert().values(slot))
                granted[request.rate] = int((inserted.inserted_primary_key or (0,))[0])
            return granted

    def _wait(self, connection: sa.Connection, request: _RateRequest, moment: float) -> float:
        """Seconds until enough slots have expired to grant the request."""
        rows = connection.execute(
            sa.select(slots.c.amount, slots.c.until).where(slots.c.rate == request.rate).order_by(slots.c.until)
        ).all()
        taken = sum(amount for amount, _ in rows)
        wait_s = 0.0
        for amount, until in rows:
            if taken < request.limit and (taken + request.amount <= request.limit or taken <= 0):
                break
            taken -= amount
            wait_s = until - moment
        return wait_s

    def _insert_rates(self, names: Sequence[str]) -> None:
        for name in names:
            if name in self._known:
                continue
            try:
                with self._engine.begin() as connection:
                    if connection.execute(sa.select(rates.c.name).where(rates.c.name == name)).first() is None:
                        connection.execute(rates.insert().values(name=name, grants=0))
            except IntegrityError:
                logger.debug("another process has just inserted the rate %s", name)
            self._known.add(name)

    def _clock(self, connection: sa.Connection) -> float:
        if connection.dialect.name == "postgresql":
            return float(connection.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
        return time.time()

    def _drop(self, granted: dict[str, int]) -> None:
        with self._engine.begin() as connection:
            connection.execute(slots.delete().where(slots.c.id.in_(granted.values())))

    def settle(self, requests: Sequence[SlotRequest], granted: dict[str, int], tokens: float | None) -> None:
        """Replace the expected tokens of calls by the tokens that they used."""
        with self._engine.begin() as connection:
            for request in requests:
                limit = request.limits.tokens_per_minute
                if limit is None:
                    continue
                used = request.tokens if tokens is None else tokens
                until = self._clock(connection) + self.window_s * max(1.0, used / limit)
                connection.execute(
                    slots.update()
                    .where(slots.c.id == granted[f"{request.name} tokens"])
                    .values(amount=used, until=until)
                )


@dataclass(frozen=True)
class DatabaseSlots:
    """The slots of one call in a database."""

    rates: DatabaseRates
    requests: tuple[SlotRequest, ...]
    granted: dict[str, int]

    async def settle(self, tokens: float | None) -> None:
        """Report how many tokens were used. Never raises, since the call itself has not failed."""
        if all(request.limits.tokens_per_minute is None for request in self.requests):
            return
        try:
            await call_in_thread(lambda: self.rates.settle(self.requests, self.granted, tokens), name="braid-rates")
        except SQLAlchemyError:
            logger.warning("the tokens that a call used could not be counted for other runs", exc_info=True)
