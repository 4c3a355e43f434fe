"""Run a request to its end in this process, as a Prefect flow or by direct calls, with recording."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from deployments.catalog import Catalog
from deployments.environment import set_prefect_defaults
from deployments.runs.preparing import PlanOf, prepare
from deployments.runs.recording import start_recording
from deployments.runs.request import Request
from deployments.settings import Settings
from flows.author import RunResult
from flows.engine import Observer, Prepared, combine_observers, ignore_event
from flows.running import Start, arun_prepared, run_prepared
from flows.state import Services


def run_pipeline(
    request: Request,
    *,
    settings: Settings,
    catalog: Catalog,
    services: Services | None = None,
    progress: Observer = ignore_event,
    before_prefect: Callable[[], None] = lambda: None,
    plan_of: PlanOf | None = None,
) -> RunResult:
    """The result of the run; a failed run is a result, not an exception.

    Given `services` stay open. `before_prefect` is called after all checks, before Prefect starts, which takes seconds.
    `plan_of` replaces `plan_request`.

    Raises:
        OrchestrationError: the run cannot start, because its parameters, pipeline or settings are wrong.
    """
    with _about_to_start(request, settings, catalog, services, plan_of) as (prepared, start):
        if request.engine == "prefect":
            before_prefect()
        watched = replace(prepared, observer=combine_observers(prepared.observer, progress))
        return run_prepared(watched, engine=request.engine, start=start)


async def arun_pipeline(
    request: Request, *, settings: Settings, catalog: Catalog, services: Services | None = None
) -> RunResult:
    """As `run_pipeline`, for async code."""
    with _about_to_start(request, settings, catalog, services) as (prepared, start):
        return await arun_prepared(prepared, engine=request.engine, start=start)


@contextmanager
def _about_to_start(
    request: Request,
    settings: Settings,
    catalog: Catalog,
    services: Services | None,
    plan_of: PlanOf | None = None,
) -> Iterator[tuple[Prepared, Start]]:
    """The run, and a function that starts its recording; services that were not given are closed at the end."""
    prepared = prepare(request, settings=settings, catalog=catalog, services=services, plan_of=plan_of)
    if request.engine == "prefect":
        set_prefect_defaults()
    try:
        if request.recorded:
            yield prepared, start_recording(prepared, request, settings=settings).start
        else:
            yield prepared, lambda prepared, flow_run_id: prepared
    finally:
        if services is None:
            prepared.context.services.close()
