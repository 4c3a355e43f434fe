"""The operations on flow runs that a sharded ingestion needs; `deployments.server.shard_runs` implements them with
Prefect.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from deployments.runs import Request


@dataclass(frozen=True)
class FlowRunState:
    """The state of a flow run on the server."""

    flow_run_id: str
    state_id: str
    type: str
    """Prefect's type of the state, for example RUNNING."""
    name: str
    """The name that the server shows; states of one type may have different names."""
    message: str
    since: float
    """Seconds since 1970."""


class ShardServer(Protocol):
    """A server with a deployment whose runs ingest one shard each.

    All methods raise `TransientError` while the server does not answer as expected.
    """

    async def start(self, name: str, source: str, *, key: str) -> str:
        """The id of the flow run with the idempotency key; if there is none, create one that ingests `source`."""
        ...

    async def states(self, flow_run_ids: Sequence[str]) -> list[FlowRunState]:
        """The states of the flow runs that still exist on the server, in any order."""
        ...

    async def start_again(self, flow_run_id: str, reason: str) -> None:
        """Schedule the flow run again; it continues where it stopped."""
        ...


ConnectShards: TypeAlias = Callable[[Request, str], AbstractAsyncContextManager[ShardServer]]
"""Returns the server for the common request of all shards and the name of a work pool."""
