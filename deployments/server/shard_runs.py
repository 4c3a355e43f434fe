"""Starts, reads and restarts the flow runs of shards on a Prefect server, for `deployments.shards`."""

from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.states import Scheduled

from deployments.runs import Request
from deployments.server.deploying import SHARDS, deploy_for_shards
from deployments.server.desired import TAG
from deployments.server.form import form_values
from deployments.shards import FlowRunState, ShardServer
from flows.errors import OrchestrationError, TransientError

_AT_ONCE = 100
"""The most flow runs that are read with one request."""


@asynccontextmanager
async def connect_shards(request: Request, work_pool: str) -> AsyncGenerator[ShardServer]:
    """The server that Prefect is connected to, with the deployment for shards of the request's pipeline."""
    values = form_values(request)
    async with get_client() as client:
        deployment_id = await deploy_for_shards(client, request.loaded, work_pool)
        yield PrefectShards(client, deployment_id, values)


class PrefectShards:
    """A `ShardServer` through a client of Prefect; `values` are the form values without the source."""

    def __init__(self, client: PrefectClient, deployment_id: UUID, values: Mapping[str, Any]) -> None:
        self._client, self._deployment_id, self._values = client, deployment_id, values

    async def start(self, name: str, source: str, *, key: str) -> str:
        with _server_errors():
            flow_run = await self._client.create_flow_run_from_deployment(
                self._deployment_id,
                parameters={**self._values, "source": source},
                name=name,
                tags=[TAG, SHARDS],
                idempotency_key=key,
                state=Scheduled(),
            )
        return str(flow_run.id)

    async def states(self, flow_run_ids: Sequence[str]) -> list[FlowRunState]:
        ids = [UUID(flow_run_id) for flow_run_id in flow_run_ids]
        found: list[FlowRun] = []
        with _server_errors():
            for start in range(0, len(ids), _AT_ONCE):
                chosen = FlowRunFilter(id=FlowRunFilterId(any_=ids[start : start + _AT_ONCE]))
                found += await self._client.read_flow_runs(flow_run_filter=chosen)
        return [_state_of(flow_run) for flow_run in found]

    async def start_again(self, flow_run_id: str, reason: str) -> None:
        with _server_errors():
            await self._client.set_flow_run_state(UUID(flow_run_id), Scheduled(message=reason), force=True)


def _state_of(flow_run: FlowRun) -> FlowRunState:
    state = flow_run.state or Scheduled()
    return FlowRunState(
        flow_run_id=str(flow_run.id),
        state_id=str(state.id),
        type=state.type.value,
        name=state.name or state.type.value,
        message=state.message or "",
        since=state.timestamp.timestamp(),
    )


@contextmanager
def _server_errors() -> Generator[None]:
    """Turn errors of the connection into transient or fatal errors of ours."""
    try:
        yield
    except httpx.HTTPError as error:
        first_line, *_ = str(error).splitlines() or [type(error).__name__]
        message = f"the Prefect server does not answer ({first_line})"
        refused = isinstance(error, httpx.HTTPStatusError) and error.response.status_code < 500
        raise (OrchestrationError if refused else TransientError)(message) from error
