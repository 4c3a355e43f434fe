"""Run a pipeline once in a test: in virtual time, on one thread, without a server."""

from collections.abc import Mapping
from typing import Any

from flows.author import Registry, RunResult
from flows.model import Pipeline, check_parameters
from flows.planning import make_plan
from flows.state import Context, Identity, Services
from flows.testkit.clock import EndlessWait
from flows.testkit.schedules import Schedule
from flows.testkit.trace import trace_run


def run(
    pipeline: Pipeline,
    fields: Mapping[str, Any] | None = None,
    /,
    *,
    registry: Registry | None = None,
    services: Mapping[str, Any] | None = None,
    seed: int | None = None,
    **given: Any,
) -> RunResult:
    """The result of one run; a failed run is a result, not an exception.

    Time is virtual: a minute between two attempts takes no time. `fields` and `given` are parameters and fields that
    steps read; `services` are the objects behind `call.services["name"]`. With `seed`, the run follows that schedule of
    `explore`; without it, every call returns immediately.

    Raises:
        InvalidParameters: a parameter is missing or of the wrong type.
        InvalidPipeline: the pipeline cannot run.
        EndlessWait: a handler waits for something that will never happen.
    """
    values = {**(fields or {}), **given}
    declared = {name: value for name, value in values.items() if name in pipeline.parameters}
    values |= check_parameters(pipeline, declared)
    plan = make_plan(pipeline, registry=registry, given=values)
    context = Context(values, identity=Identity(pipeline.name, services=Services(objects=services)))
    schedule = Schedule(-1, 0.0, frozenset()) if seed is None else Schedule(seed)
    trace = trace_run(plan, context, schedule)
    if trace.broken is not None:
        raise trace.broken
    if trace.result is None:
        raise EndlessWait(trace.stuck)
    return trace.result
