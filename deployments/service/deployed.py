"""Starts runs of deployments on the Prefect server, and follows them."""

import threading
from collections.abc import Mapping
from typing import Any

from deployments.catalog import Catalog
from deployments.runs import Request
from deployments.server.connecting import connect
from deployments.service.answers import StartedRun
from deployments.service.problems import Unavailable
from deployments.settings import Settings
from flows.errors import OrchestrationError

_connecting = threading.Lock()


def start_run(
    pipeline: str, parameters: Mapping[str, Any], *, index: str, settings: Settings, catalog: Catalog
) -> StartedRun:
    """Start a run of the pipeline's deployment.

    Raises:
        InvalidParameters: the pipeline has no such parameters, or they have other types.
        Unavailable: there is no Prefect server, the pipeline is not deployed there, or the server cannot start it.
        UnknownName: there is no such pipeline.
    """
    request = Request(catalog.find(pipeline), parameters, index=index)
    ui = _connected(settings)
    from deployments.server.triggering import (  # imports Prefect, which takes seconds
        NotDeployed,
        ServerTrouble,
        trigger,
    )

    try:
        return _started(trigger(request), ui)
    except (NotDeployed, ServerTrouble) as error:
        raise Unavailable(str(error)) from error


def follow_run(flow_run_id: str, *, settings: Settings) -> StartedRun:
    """The current state of the run.

    Raises:
        Unavailable: there is no Prefect server.
        UnknownName: it has no such run.
    """
    ui = _connected(settings)
    from deployments.server.triggering import read_flow_run

    return _started(read_flow_run(flow_run_id), ui)


def _connected(settings: Settings) -> str:
    try:
        with _connecting:
            return connect(settings).removesuffix("/api")
    except OrchestrationError as error:
        raise Unavailable(str(error)) from error


def _started(run: Any, ui: str) -> StartedRun:
    state = run.state
    return StartedRun(
        flow_run_id=str(run.id),
        name=run.name,
        state=state.name if state is not None else "Pending",
        ended=state is not None and state.is_final(),
        url=f"{ui}/runs/flow-run/{run.id}",
        message=(state.message or "") if state is not None and state.is_final() else "",
    )
