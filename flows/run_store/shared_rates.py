"""Calls and tokens a minute, counted for all runs in a table of the run store's database.

Prefect's rate limits let slots decay evenly: a minute's worth at once and then what decays, nearly twice the limit in
the first window. A table of places with the time until which each is taken is exact. A grant is one transaction that
first locks the resource, so grants of all processes are one sequence, timed by the database's clock (by the machine's
for SQLite, whose users share the machine). A place stays taken for a window and the slack within which its call has
begun; a grant that took longer to arrive is asked for anew. So the place outlives the window after the call's start,
which is what `flows/limits/resources.py` shows to be enough; nothing has to be given back, and a killed worker's
places run out like any others.
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
from flows.limits import MINUTE_S, Demand
from flows.run_store.database import migrate, open_database
from flows.run_store.tables import rate_meters as meters
from flows.run_store.tables import rate_places as places

logger = logging.getLogger(__name__)
SLACK_S = 1.0
UNSETTLED_WINDOWS = 10
"""Windows for which tokens stay taken that a call was expected to use and of which nothing was heard again."""


@dataclass(frozen=True)
class _Want:
    meter: str
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

    async def take(self, demands: Sequence[Demand]) -> "DatabaseUse":
        """Wait until all have their places; calls of this process in order of arrival.

        Raises:
            TransientError: the database does not answer.
        """
        loop = asyncio.get_running_loop()
        names = tuple(sorted(demand.name for demand in demands))
        slack_s = self._slack_s
        # One asks for all that wait: the others would only ask in vain.
        async with self._queues.setdefault(loop, {}).setdefault(names, asyncio.Lock()):
            while True:
                asked = loop.time()
                wants = [want for demand in demands for want in self._wants(demand, slack_s)]
                try:
                    answer = await call_in_thread(lambda wants=wants: self._grant(wants), name="braid-rates")
                except SQLAlchemyError as error:
                    text = f"the shared limits of {', '.join(names)} cannot be counted: {type(error).__name__}"
                    raise TransientError(text) from error
                if isinstance(answer, float):
                    await asyncio.sleep(max(answer, 0.005))
                elif loop.time() - asked > slack_s:
                    await call_in_thread(lambda answer=answer: self._drop(answer), name="braid-rates")
                    slack_s *= 2
                else:
                    return DatabaseUse(self, tuple(demands), answer)

    def _wants(self, demand: Demand, slack_s: float) -> list[_Want]:
        found: list[_Want] = []
        limits = demand.limits
        if limits.per_minute is not None:
            found.append(_Want(f"{demand.name} calls", 1, limits.per_minute, self.window_s + slack_s))
        if limits.tokens_per_minute is not None:
            lasts_s = self.window_s * UNSETTLED_WINDOWS
            found.append(_Want(f"{demand.name} tokens", demand.tokens, limits.tokens_per_minute, lasts_s))
        return found

    def _grant(self, wants: Sequence[_Want]) -> dict[str, int] | float:
        """The places by meter; or, if not all can be had, in how many seconds to ask again."""
        wants = sorted(wants, key=lambda want: want.meter)
        self._make_known([want.meter for want in wants])
        with self._engine.begin() as connection:
            # Writing first, and in one order, is a lock in every database.
            for want in wants:
                connection.execute(
                    meters.update().where(meters.c.name == want.meter).values(grants=meters.c.grants + 1)
                )
            moment = self._clock(connection)
            connection.execute(
                places.delete().where(places.c.meter.in_([want.meter for want in wants]), places.c.until <= moment)
            )
            wait_s = max(self._wait(connection, want, moment) for want in wants)
            if wait_s > 0:
                return wait_s
            granted: dict[str, int] = {}
            for want in wants:
                made = connection.execute(
                    places.insert().values(meter=want.meter, amount=want.amount, until=moment + want.lasts_s)
                )
                granted[want.meter] = int((made.inserted_primary_key or (0,))[0])
            return granted

    def _wait(self, connection: sa.Connection, want: _Want, moment: float) -> float:
        """Seconds until so much has run out that there is room."""
        rows = connection.execute(
            sa.select(places.c.amount, places.c.until).where(places.c.meter == want.meter).order_by(places.c.until)
        ).all()
        taken = sum(amount for amount, _ in rows)
        wait_s = 0.0
        for amount, until in rows:
            if taken < want.limit and (taken + want.amount <= want.limit or taken <= 0):
                break
            taken -= amount
            wait_s = until - moment
        return wait_s

    def _make_known(self, names: Sequence[str]) -> None:
        for name in names:
            if name in self._known:
                continue
            try:
                with self._engine.begin() as connection:
                    if connection.execute(sa.select(meters.c.name).where(meters.c.name == name)).first() is None:
                        connection.execute(meters.insert().values(name=name, grants=0))
            except IntegrityError:
                logger.debug("another process has just made the meter %s", name)
            self._known.add(name)

    def _clock(self, connection: sa.Connection) -> float:
        if connection.dialect.name == "postgresql":
            return float(connection.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
        return time.time()

    def _drop(self, granted: dict[str, int]) -> None:
        with self._engine.begin() as connection:
            connection.execute(places.delete().where(places.c.id.in_(granted.values())))

    def settle(self, demands: Sequence[Demand], granted: dict[str, int], tokens: float | None) -> None:
        """Replace the tokens that calls were expected to use by those they did."""
        with self._engine.begin() as connection:
            for demand in demands:
                limit = demand.limits.tokens_per_minute
                if limit is None:
                    continue
                used = demand.tokens if tokens is None else tokens
                until = self._clock(connection) + self.window_s * max(1.0, used / limit)
                connection.execute(
                    places.update()
                    .where(places.c.id == granted[f"{demand.name} tokens"])
                    .values(amount=used, until=until)
                )


@dataclass(frozen=True)
class DatabaseUse:
    """Places that one call has in a database."""

    rates: DatabaseRates
    demands: tuple[Demand, ...]
    granted: dict[str, int]

    async def settle(self, tokens: float | None) -> None:
        """Say what was used. Never raises: a call has not failed because its count could not be written."""
        if all(demand.limits.tokens_per_minute is None for demand in self.demands):
            return
        try:
            await call_in_thread(lambda: self.rates.settle(self.demands, self.granted, tokens), name="braid-rates")
        except SQLAlchemyError:
            logger.warning("the tokens that a call used could not be counted for other runs", exc_info=True)
