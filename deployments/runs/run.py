"""Run a request to its end in this process: as a Prefect flow or by direct calls, recorded while it goes on."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from deployments.catalog import Catalog
from deployments.environment import set_prefect_defaults
from deployments.runs.preparing import prepare
from deployments.runs.recording import start_recording
from deployments.runs.request import Request
from deployments.settings import Settings
from flows.author import RunResult
from flows.engine import Observer, Prepared, ignore_event
from flows.state import Services

if TYPE_CHECKING:
    from flows.run_store import Recorder


def run_pipeline(
    request: Request,
    *,
    settings: Settings,
    catalog: Catalog,
    services: Services | None = None,
    progress: Observer = ignore_event,
    before_prefect: Callable[[], None] = lambda: None,
) -> RunResult:
    """The result of the run; a failed run is a result, not an exception.

    `services` that are given are left open. `before_prefect` is called once everything has been checked and Prefect,
    which takes seconds to start, comes next.

    Raises:
        OrchestrationError: the run cannot start: its parameters, its pipeline, or its settings are wrong.
    """
    prepared = prepare(request, settings=settings, catalog=catalog, services=services)
    if request.engine == "prefect":
        before_prefect()
    try:
        if not request.recorded:
            return _run(request, replace(prepared, observer=progress))
        recording = start_recording(prepared, request, settings=settings)
        return _run(request, recording.of(prepared, progress), recording.recorder)
    finally:
        if services is None:
            prepared.context.services.close()


def _run(request: Request, prepared: Prepared, recorder: "Recorder | None" = None) -> RunResult:
    if request.engine == "inline":
        from flows.engine import run_plan

        return asyncio.run(run_plan(prepared))
    set_prefect_defaults()
    from flows.translator import current_flow_run_id, run_as_flow  # imports Prefect, which takes seconds

    def started(_: Mapping[str, Any]) -> Prepared:
        if recorder is not None:
            recorder.flow_run_id = current_flow_run_id()
        return prepared

    context = prepared.context
    name = f"{request.pipeline.name} · {context.index} · {context.execution_id}"
    return run_as_flow(request.pipeline, request.parameters, started, run_name=name)
