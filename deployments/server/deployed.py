"""The flow that a deployment runs: recorded, and resumed when Prefect retries the flow run."""

import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import Flow

from deployments.catalog import Catalog
from deployments.runs import (
    INGESTIONS,
    Request,
    find_run,
    load_handlers,
    named_source,
    open_run_store,
    prepare,
    request_to_resume,
    start_recording,
    with_inputs,
)
from deployments.server.form import controls_of, read_form
from deployments.server.named_sources import offering_sources, with_named_source
from deployments.server.services import all_services
from deployments.settings import Settings, load_settings
from deployments.source_file import source_lock
from flows.engine import Prepared
from flows.errors import OrchestrationError
from flows.loaders import LoadedPipeline
from flows.translator import INDEX, Turns, current_flow_run_id, translate

if TYPE_CHECKING:
    from flows.run_store import RunRecord


def make_flow(loaded: LoadedPipeline, catalog: Catalog) -> "Flow[..., Any]":
    """A deployable flow, which reads the settings of the process that runs it."""
    if loaded.open_inputs:
        load_handlers(load_settings())
        loaded = with_inputs(loaded, catalog.pipelines)

    loaded = offering_sources(loaded, load_settings())

    def start(parameters: Mapping[str, Any]) -> Prepared:
        return start_run(loaded, parameters, catalog=catalog, settings=load_settings())

    return translate(
        loaded.pipeline,
        start,
        controls=controls_of(loaded.pipeline),
        turns=Turns(
            lambda given: index_of_run(loaded, given, load_settings()),
            lambda given: _lock_of_source(loaded, given, load_settings()),
        ),
    )


def _lock_of_source(loaded: LoadedPipeline, given: Mapping[str, Any], settings: Settings) -> Path | None:
    """The lock for the named source of these parameters, which `braid watch` also holds while it ingests the source."""
    if loaded.pipeline.name not in INGESTIONS:
        return None
    with suppress(OrchestrationError):  # the run itself reports this error
        values = with_named_source(loaded, given, settings)
        source = named_source(values, index_of_run(loaded, given, settings), settings)
        return source_lock(settings, source.name) if source is not None else None


def index_of_run(loaded: LoadedPipeline, given: Mapping[str, Any], settings: Settings) -> str:
    """The index of a run; a resuming run uses the index of the earlier run if the form has the default."""
    with suppress(OrchestrationError):  # the run itself reports this error
        given = with_named_source(loaded, given, settings)
    index = str(given.get(INDEX.name) or INDEX.default)
    if index == INDEX.default and given.get("resume_from"):
        with suppress(OrchestrationError):
            return find_run(str(given["resume_from"]), settings).index or index
    return index


def start_run(loaded: LoadedPipeline, given: Mapping[str, Any], *, catalog: Catalog, settings: Settings) -> Prepared:
    """A run that is ready to start, with recording; a retried flow run continues its own earlier execution.

    Raises:
        OrchestrationError: the parameters, the pipeline, the settings or the run to resume are wrong.
    """
    flow_run_id = current_flow_run_id()
    form = read_form(loaded, with_named_source(loaded, given, settings))
    request = form.request
    retried = _earlier_execution(flow_run_id, settings)
    if retried is not None:
        request = replace(request, resumes=retried)
    elif form.resume_from:
        request = _resuming(request, form.resume_from, catalog, settings)
    services = all_services(settings, request.index)
    prepared = prepare(request, settings=settings, catalog=catalog, services=services)
    if form.dry_run:
        return replace(prepared, plan_only=True)
    return start_recording(prepared, request, settings=settings).start(prepared, flow_run_id)


def _earlier_execution(flow_run_id: str | None, settings: Settings) -> "RunRecord | None":
    """The last execution of this flow run, if it has been retried."""
    if flow_run_id is None:
        return None
    with open_run_store(settings) as store:
        record = store.of_flow_run(flow_run_id)
        if record is not None and record.status == "running" and record.host != socket.gethostname():
            # We cannot see the other machine's processes, but Prefect retries a flow run only after its process has
            # ended.
            store.stop(record.run_id, "crashed")
            record = store.of_flow_run(flow_run_id)
        return record


def _resuming(request: Request, run: str, catalog: Catalog, settings: Settings) -> Request:
    """The request that resumes `run`, with the run's parameters and index where the form has defaults."""
    declared = request.pipeline.parameters
    changed = {name: value for name, value in request.parameters.items() if value != declared[name].default}
    record = find_run(run, settings)
    if record.pipeline != request.pipeline.name:
        raise OrchestrationError(
            f"resume_from: run {record.run_id} was one of {record.pipeline!r}, not of {request.pipeline.name!r}; "
            "start it from the deployment of that pipeline"
        )
    earlier = request_to_resume(record, catalog=catalog, given=changed)
    index = earlier.index if request.index == INDEX.default else request.index
    return replace(request, parameters=earlier.parameters, index=index, resumes=record)
