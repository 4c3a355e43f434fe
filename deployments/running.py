"""Run a pipeline from the command line: as a Prefect flow or by direct calls, recorded while it goes on."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal, TypeAlias

from deployments.catalog import Catalog
from deployments.parameters import without_secrets
from deployments.prefect_environment import set_prefect_defaults
from deployments.settings import Settings
from deployments.wiring import load_handlers, new_run_id, overrides_from, prepare
from flows.loaders.native import LoadedPipeline
from flows.prepared import Prepared
from flows.results import RunResult
from flows.run_state import Observer, Observers
from flows.services import Services

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
    progress: Observer | None = None,
    record: bool = True,
    services: Services | None = None,
    before_prefect: Callable[[], None] = lambda: None,
) -> RunResult:
    """Run a pipeline to its end; a failed run is a result, not an exception.

    With `record`, the run is kept in the run store. `services` that are given are left open.
    `before_prefect` is called once all is checked and Prefect, which takes seconds to start, comes next.

    Raises:
        OrchestrationError: the run cannot start: its parameters, its pipeline, or its settings are wrong.
    """
    load_handlers(settings)
    prepared = prepare(
        loaded.pipeline, parameters, settings=settings, index=index,
        overrides=overrides_from(settings, max_workers, budget),
        run_id=new_run_id(), services=services, catalog=catalog.pipelines, source=loaded.source, place=loaded.place,
    )  # fmt: skip
    watching = progress or Observer()
    if engine == "prefect":
        before_prefect()
    try:
        if not record:
            return _run(loaded, parameters, prepared, watching, engine, index)
        with _recorded(prepared, parameters, settings) as recording:
            result = _run(loaded, parameters, prepared, Observers([recording, watching]), engine, index)
            recording.result = result
            return result
    finally:
        if services is None:
            prepared.context.services.close()


def _run(
    loaded: LoadedPipeline, parameters: Mapping[str, Any], prepared: Prepared, observer: Observer, engine: Engine,
    index: str,
) -> RunResult:  # fmt: skip
    if engine == "inline":
        from flows.engine import run_plan

        return asyncio.run(run_plan(prepared.plan, prepared.context, observer=observer, spent=prepared.spent))
    set_prefect_defaults()
    from flows.translator import run_as_flow  # imports Prefect, which takes seconds

    name = f"{loaded.pipeline.name} · {index} · {prepared.context.execution_id}"
    observed = replace(prepared, observer=observer)
    return run_as_flow(loaded.pipeline, parameters, lambda _: observed, run_name=name)


class _Recording(Observers):
    """What writes a run down, and the result once there is one."""

    result: RunResult | None = None


@contextmanager
def _recorded(prepared: Prepared, parameters: Mapping[str, Any], settings: Settings) -> Iterator[_Recording]:
    from flows.run_store import RecordingObserver, RunStore

    context = prepared.context
    store = RunStore(settings.run_store_url)
    recorder = RecordingObserver(store, index=context.index, parameters=without_secrets(parameters))
    recording = _Recording([recorder])
    began = time.monotonic()
    try:
        yield recording
    finally:
        recorder.close(recording.result)
        if recording.result is None:
            store.stop(context.execution_id, "interrupted", time.monotonic() - began)
        store.close()
