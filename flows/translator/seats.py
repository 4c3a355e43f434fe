"""Concurrency of resources across all runs, enforced with Prefect's global concurrency limits, which Braid creates.

A seat is a lease: it is renewed while it is used, and one whose process is gone becomes free when the lease ends. Of
Prefect's own context manager only the server's half is used: its client waits for up to half a minute between two
requests and has a thread for every lease.
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Self
from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.base import ServerType
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.objects import ConcurrencyLeaseHolder
from prefect.client.schemas.responses import ConcurrencyLimitWithLeaseResponse
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectException

from flows.errors import OrchestrationError, TransientError
from flows.planning import Plan

logger = logging.getLogger(__name__)
PREFIX = "braid:"
LEASE_S = 60.0
"""The shortest lease that Prefect's server grants."""
SOONEST_S, LATEST_S = 0.1, 1.0
"""Seconds between two requests for a seat."""
LOCKED, GONE = 423, 410


@asynccontextmanager
async def prefect_seats(plan: Plan) -> "AsyncGenerator[PrefectSeats | None]":
    """The seats that a plan shares with other runs; None if it shares none, or if no server outlives the run.

    Raises:
        OrchestrationError: the server does not let the limits be made or changed.
    """
    limits = {
        name: common.concurrency
        for resource in plan.all_resources.values()
        for name, common in resource.shared.items()
        if common.concurrency is not None
    }
    if not limits:
        yield None
        return
    async with get_client() as client:
        if client.server_type is ServerType.EPHEMERAL:
            # A temporary server ends with the run, so the seats in its database would stay taken.
            yield None
            return
    async with PrefectSeats(limits) as seats:
        yield seats


class PrefectSeats:
    """Seats in global concurrency limits; for one run, on one event loop."""

    def __init__(self, limits: Mapping[str, int]) -> None:
        self._limits = dict(limits)
        self._stack = AsyncExitStack()
        self._queues = {name: asyncio.Lock() for name in limits}
        self._returning: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._client: PrefectClient = await self._stack.enter_async_context(get_client())
        try:
            for name, limit in self._limits.items():
                await self._declare(name, limit)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._returning:
            await asyncio.wait(self._returning)
        await self._stack.aclose()

    async def _declare(self, name: str, limit: int) -> None:
        """Set the limit on the server to the value of the settings; this overwrites manual changes there."""
        ours = PREFIX + name
        try:
            try:
                known = await self._client.read_global_concurrency_limit_by_name(ours)
            except ObjectNotFound:
                known = None
            if known is None:
                await self._client.upsert_global_concurrency_limit_by_name(ours, limit)
                logger.info("resource %s: made the global concurrency limit %s of %d", name, ours, limit)
            elif known.limit != limit or not known.active or known.slot_decay_per_second:
                # Without `active` the server would not enforce the limit.
                change = GlobalConcurrencyLimitUpdate(active=True, limit=limit, slot_decay_per_second=0.0)
                await self._client.update_global_concurrency_limit(ours, change)
                logger.warning("resource %s: set the global concurrency limit %s to %d again", name, ours, limit)
        except ObjectAlreadyExists:
            logger.debug("another run has just made the limit %s", ours)
        except (httpx.HTTPError, PrefectException) as error:
            raise OrchestrationError(
                f"resource {name!r} is shared, but its global concurrency limit {ours!r} cannot be made on the Prefect "
                f"server: {error}; let this client change limits, create it with `prefect gcl create {ours} --limit "
                f"{limit}`, or set `shared: false`"
            ) from error

    @asynccontextmanager
    async def seat(self, name: str, limit: int) -> AsyncGenerator[None]:
        """Wait for a seat and hold it; callers of this run are served in order.

        Raises (at any moment):
            TransientError: the server does not answer, or assigned the seat to another caller.
        """
        async with self._queues[name]:
            lease = await self._acquire_seat(name, limit)
        lost = asyncio.timeout(None)
        try:
            async with lost, self._keeping(name, lease, lambda: lost.reschedule(asyncio.get_running_loop().time())):
                yield
        except TimeoutError as error:
            if lost.expired():
                raise TransientError(
                    f"the slot of {PREFIX}{name} was lost, because the server ended its lease"
                ) from error
            raise

    @asynccontextmanager
    async def seat_if_free(self, name: str, limit: int) -> AsyncGenerator[bool]:
        """Hold a seat if one is free now, and yield whether it was. If the seat is lost later, the block continues.

        Raises:
            TransientError: the server does not answer.
        """
        lease = await self._try_seat(name, limit)
        if lease is None:
            yield False
            return
        async with self._keeping(name, lease, lambda: None):
            yield True

    @asynccontextmanager
    async def _keeping(self, name: str, lease: UUID, on_lost: Callable[[], None]) -> AsyncGenerator[None]:
        """Renew a lease for as long as the block lasts, then return the seat."""
        keeping = asyncio.ensure_future(self._renew_lease(name, lease, on_lost))
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.shield(self._return_seat(name, lease))

    async def _acquire_seat(self, name: str, limit: int) -> UUID:
        wait_s = SOONEST_S
        while (lease := await self._try_seat(name, limit)) is None:
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))
            wait_s = min(wait_s * 1.5, LATEST_S)
        return lease

    async def _try_seat(self, name: str, limit: int) -> UUID | None:
        """The lease of a seat, if one is free."""
        while True:
            asking = asyncio.ensure_future(self._ask_for_seat(name))
            try:
                lease = await asyncio.shield(asking)
            except asyncio.CancelledError:
                # The answer may still contain a seat, which must be returned.
                asking.add_done_callback(lambda asked: self._return_late(name, asked))
                raise
            except (httpx.HTTPError, PrefectException) as error:
                raise TransientError(f"the shared limit {PREFIX}{name} cannot be read: {error}") from error
            if lease != "missing":
                return lease if isinstance(lease, UUID) else None
            logger.warning("resource %s: its global concurrency limit is gone from the server", name)
            await self._declare(name, limit)

    async def _ask_for_seat(self, name: str) -> UUID | str:
        """The lease of a seat; `full` or `missing` if there is none."""
        try:
            response = await self._client.increment_concurrency_slots_with_lease(
                names=[PREFIX + name], slots=1, mode="concurrency", lease_duration=LEASE_S, holder=_holder()
            )
        except httpx.HTTPStatusError as error:
            if error.response.status_code == LOCKED:
                return "full"
            raise
        granted = ConcurrencyLimitWithLeaseResponse.model_validate(response.json())
        return granted.lease_id if granted.limits else "missing"

    async def _renew_lease(self, name: str, lease: UUID, on_lost: Callable[[], None]) -> None:
        """Renew the lease for as long as it is used."""
        loop = asyncio.get_running_loop()
        good_until = loop.time() + LEASE_S
        while True:
            await asyncio.sleep(LEASE_S / 4)
            asked = loop.time()
            try:
                await self._client.renew_concurrency_lease(lease_id=lease, lease_duration=LEASE_S)
                good_until = asked + LEASE_S
            except (httpx.HTTPError, PrefectException) as error:
                gone = isinstance(error, httpx.HTTPStatusError) and error.response.status_code == GONE
                logger.warning("resource %s: could not renew the lease of its slot: %s", name, error)
                if gone or loop.time() + LEASE_S / 4 >= good_until:
                    on_lost()
                    return

    def _return_late(self, name: str, asked: "asyncio.Task[UUID | str]") -> None:
        if not asked.cancelled() and asked.exception() is None and isinstance(asked.result(), UUID):
            self._return_seat(name, asked.result())

    def _return_seat(self, name: str, lease: "UUID | str") -> "asyncio.Task[None]":
        async def give_back() -> None:
            try:
                await self._client.release_concurrency_slots_with_lease(lease_id=UUID(str(lease)))
            except (httpx.HTTPError, PrefectException) as error:
                logger.warning("resource %s: its slot becomes free only when the lease ends: %s", name, error)

        task = asyncio.ensure_future(give_back())
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)
        return task


def _holder() -> ConcurrencyLeaseHolder | None:
    """The holder of the seat, for the UI: the task run or the flow run."""
    task, flow = TaskRunContext.get(), FlowRunContext.get()
    if task is not None:
        return ConcurrencyLeaseHolder(type="task_run", id=task.task_run.id)
    if flow is not None and flow.flow_run is not None:
        return ConcurrencyLeaseHolder(type="flow_run", id=flow.flow_run.id)
    return None
