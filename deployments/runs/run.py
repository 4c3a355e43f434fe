"""Run a pipeline from the command line: as a Prefect flow or by direct calls, recorded while it goes on."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from deployments.catalog import Catalog
from deployments.environment import set_prefect_defaults
from deployments.runs.recording import start_recording
from deployments.runs.wiring import load_handlers, overrides_from, prepare
from deployments.settings import Settings
from flows.author import RunResult
from flows.engine import Observer, Prepared, ignore_event, new_run_id
from flows.loaders import LoadedPipeline
from flows.state import Services

if TYPE_CHECKING:
    from flows.run_store import Recorder, RunRecord

Engine: TypeAlias = Literal["prefect", "inline"]


def run_pipeline(
    loaded: LoadedPipeline,
    parameters: Mapping[str, Any],
    *,
    settings: Settings,
    catalog: Catalog,
    index: str = "default",
    max_workers: int | None = None,
    budget: Mapping[str, float] | None = None,
    engine: Engine = "prefect",
    progress: Observer = ignore_event,
    record: bool = True,
    services: Services | None = None,
    resumes: "RunRecord | None" = None,
    force: bool = False,
    before_prefect: Callable[[], None] = lambda: None,
) -> RunResult:
    """Run a pipeline to its end; a failed run is a result, not an exception.

    With `record`, the run is kept in the run store. With `resumes`, it goes on from that run: only what did not succeed
    there is done, and `force` does finished steps again that do not fit any more. `services` that are given are left
    open.
    `before_prefect` is called once all is checked and Prefect, which takes seconds to start, comes next.

    Raises:
        OrchestrationError: the run cannot start: its parameters, its pipeline, or its settings are wrong.
    """
    load_handlers(settings)
    prepared = prepare(
        loaded.pipeline,
        parameters,
        settings=settings,
        index=index,
        overrides=overrides_from(settings, max_workers, budget),
        run_id=new_run_id(),
        services=services,
        catalog=catalog.pipelines,
        source=loaded.source,
        place=loaded.place,
    )
    if engine == "prefect":
        before_prefect()
    try:
        if not record:
            return _run(loaded, parameters, replace(prepared, observer=progress), engine)
        recording = start_recording(
            prepared, parameters, settings=settings, source=loaded.source, resumes=resumes, force=force
        )
        return _run(loaded, parameters, recording.of(prepared, progress), engine, recording.recorder)
    finally:
        if services is None:
            prepared.context.services.close()


def _run(
    loaded: LoadedPipeline,
    parameters: Mapping[str, Any],
    prepared: Prepared,
    engine: Engine,
    recorder: "Recorder | None" = None,
) -> RunResult:
    if engine == "inline":
        from flows.engine import run_plan

        return asyncio.run(run_plan(prepared))
    set_prefect_defaults()
    from flows.translator import current_flow_run_id, run_as_flow  # imports Prefect, which takes seconds

    def started(_: Mapping[str, Any]) -> Prepared:
        if recorder is not None:
            recorder.flow_run_id = current_flow_run_id()
        return prepared

    context = prepared.context
    name = f"{loaded.pipeline.name} · {context.index} · {context.execution_id}"
    return run_as_flow(loaded.pipeline, parameters, started, run_name=name)
