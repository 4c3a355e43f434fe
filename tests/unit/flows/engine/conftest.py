"""Handlers that end in every way."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from flows.author import Call, Registry, handler
from flows.errors import FatalError, TransientError
from tests.support.engine_runs import Gate


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.release()


@pytest.fixture
def registry(gate: Gate) -> Registry:
    """Handlers that succeed, fail in every way, and block."""
    made = Registry()

    @handler(registry=made, writes=(), effects=())
    async def ok(*, value: Any = "ok") -> Any:
        return value

    @handler(registry=made)
    async def fatal() -> None:
        raise FatalError("broken input")

    @handler(registry=made)
    async def transient() -> None:
        raise TransientError("come back later", retry_after_s=0)

    @handler(registry=made)
    async def forever() -> None:
        await asyncio.Event().wait()

    @handler(registry=made, writes="late")
    def blocked() -> str:
        gate.wait()
        return "late"

    @handler(registry=made)
    def polite(*, call: Call) -> None:
        while not call.cancelled:
            time.sleep(0.001)
        call.check_cancelled()

    return made
