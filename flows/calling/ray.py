"""Calls on a Ray cluster: an existing one, or local processes that end with the run."""

import asyncio
import logging
import os
import sys
from typing import Any

import ray
import ray.exceptions

from flows.calling.remote import serve
from flows.errors import TransientError

LOOPBACK = "127.0.0.2"
"""The address of a run's own cluster. Ray would replace 127.0.0.1 by an address that other machines can reach."""
# Ray's types are not ours to make strict.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false


async def open_ray(address: str | None) -> "RayEngine":
    """Connect to the cluster at `address`, or start a local one."""
    own = not ray.is_initialized()
    here: dict[str, Any] = {}
    if address is None:
        here = {"include_dashboard": False}
        if sys.platform == "linux":  # on other systems the cluster is local anyway
            here["_node_ip_address"] = LOOPBACK
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray sends usage statistics to its makers by default
    if own:
        await asyncio.to_thread(ray.init, address or "local", log_to_driver=False, logging_level=logging.ERROR, **here)
    return RayEngine(own=own)


class RayEngine:
    """A connection to Ray; every call has a process of the cluster to itself, so it can be ended at any moment."""

    def __init__(self, *, own: bool) -> None:
        self._own = own
        # The step's own `retry` decides whether a call is tried again after its process died.
        self._serve: Any = ray.remote(max_retries=0)(serve)
        self._waiting: set[asyncio.Task[bytes]] = set()

    def submit(self, message: bytes, *, id: str, name: str) -> "_RayCall":
        reference = self._serve.options(name=name).remote(message, id)
        answer = asyncio.ensure_future(self._await_answer(reference, name))
        self._waiting.add(answer)
        answer.add_done_callback(self._waiting.discard)
        return _RayCall(reference, answer)

    async def close(self) -> None:
        for answer in self._waiting:
            answer.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)
        if self._own:
            await asyncio.to_thread(ray.shutdown)

    async def _await_answer(self, reference: Any, name: str) -> bytes:
        try:
            return await asyncio.wrap_future(reference.future())
        except ray.exceptions.RayError as error:
            raise TransientError(f"{name}: the Ray process that ran it is gone: {error}") from error


class _RayCall:
    def __init__(self, reference: Any, answer: "asyncio.Task[bytes]") -> None:
        self._await_answer, self._reference = answer, reference

    @property
    def answer(self) -> "asyncio.Future[bytes]":
        return self._await_answer

    async def stop(self) -> bool:
        # Also ends the process that runs it.
        await asyncio.to_thread(ray.cancel, self._reference, force=True)
        return True
