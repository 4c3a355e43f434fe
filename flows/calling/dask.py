"""Calls on a Dask cluster: an existing one, or local worker processes that end with the run."""

import asyncio
import logging
from concurrent.futures import CancelledError as FutureCancelled
from typing import Any

import dask.config
from distributed import Client, KilledWorker, LocalCluster

from flows.calling.processes import CORES
from flows.calling.remote import serve, stop_here
from flows.errors import TransientError
from flows.model import StepPath

logger = logging.getLogger(__name__)
# dask ships few types of its own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
STOPPING_S = 5.0
"""How long the cluster may take to deliver the request to stop a call."""
THREADS = 8
"""Threads per worker of a local cluster, for a run without `max_concurrency`."""
OURS = {
    # The step's own `retry` decides whether a call is tried again after its process died.
    "distributed.scheduler.allowed-failures": 0,
}


async def open_dask(address: str | None, *, threads: int | None) -> "DaskEngine":
    """Connect to the scheduler at `address`, or start local workers for `threads` calls at the same time."""
    # A call's inputs are one message, of whatever size.
    dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"})
    if address is not None:
        return DaskEngine(await Client(address, asynchronous=True, set_as_default=False), None)
    with dask.config.set(OURS):
        cluster: Any = await LocalCluster(
            n_workers=CORES,
            threads_per_worker=_threads_of_workers(threads),
            processes=True,
            asynchronous=True,
            dashboard_address="127.0.0.1:0",
        )
    logger.info("started a Dask cluster of %d processes at %s", CORES, cluster.scheduler_address)
    return DaskEngine(await Client(cluster, asynchronous=True, set_as_default=False), cluster)


def _threads_of_workers(ceiling: int | None) -> int:
    """The threads per worker, for one worker per core and `ceiling` calls at the same time."""
    return THREADS if ceiling is None else max(1, -(-ceiling // CORES))


class DaskEngine:
    """A connection to a scheduler, and its cluster if Braid started it."""

    def __init__(self, client: Any, own: Any) -> None:
        self._client, self._own = client, own
        self._waiting: set[asyncio.Task[bytes]] = set()

    def submit(self, message: bytes, *, id: str, name: str) -> "_DaskCall":
        # The name before the last dash is what Dask's dashboard groups by.
        future = self._client.submit(serve, message, id, key=f"{StepPath(name).step}-{id}", pure=False, retries=0)
        answer = asyncio.ensure_future(self._await_answer(future, name))
        self._waiting.add(answer)
        answer.add_done_callback(self._waiting.discard)
        return _DaskCall(self._client, future, answer, id)

    async def close(self) -> None:
        for answer in self._waiting:
            answer.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)
        await self._client.close()
        if self._own is not None:
            await self._own.close()

    async def _await_answer(self, future: Any, name: str) -> bytes:
        try:
            return await future.result()
        except KilledWorker as error:
            raise TransientError(f"{name}: the Dask worker that ran it died: {error}") from error
        except (FutureCancelled, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise TransientError(f"{name}: the Dask cluster dropped the call; its scheduler may be gone") from error


class _DaskCall:
    def __init__(self, client: Any, future: Any, answer: "asyncio.Task[bytes]", id: str) -> None:
        self._await_answer, self._client, self._future, self._id = answer, client, future, id

    @property
    def answer(self) -> "asyncio.Future[bytes]":
        return self._await_answer

    async def stop(self) -> bool:
        try:
            # Sent to all workers, because we do not know which one has the call or would get it next.
            async with asyncio.timeout(STOPPING_S):
                replies = await self._client.run(stop_here, self._id, on_error="ignore")
        except (OSError, TimeoutError):
            return False
        stopped = all(replies.values())
        if stopped and not self._await_answer.done():
            # The call may have ended just now, with its answer still on the way.
            await asyncio.wait([self._await_answer], timeout=0.05)
        if stopped and not self._await_answer.done():
            await self._client.cancel([self._future])
        return stopped
