"""Run pipelines from Python: by direct calls or as Prefect flows, recorded or not. No package in flows imports it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from flows.author import Registry, RunResult
from flows.calling import run_to_end
from flows.engine import Expectation, Prepared, new_run_id, run_plan
from flows.errors import UnknownName, suggest
from flows.loaders import LoadedPipeline, PipelineBuilder, load_pipeline, loaded_from
from flows.model import (
    InvalidParameters,
    Pipeline,
    check_parameters,
    guard_logs,
    index_of,
    keep_parameters_secret,
    name_in,
    without_secrets,
)
from flows.planning import Overrides, Plan, effect_fingerprints, make_plan, open_reads
from flows.state import Context, Identity, Services

if TYPE_CHECKING:
    from flows.run_store import RunStore
    from flows.translator import PipelineFlow

Engine: TypeAlias = Literal["inline", "prefect"]
PipelineLike: TypeAlias = Pipeline | LoadedPipeline | Path | str
"""A pipeline, the path of its file, or its name in the given catalog or among the templates."""
_SUFFIXES = (".yaml", ".yml", ".json")


def run(
    pipeline: PipelineLike,
    parameters: Mapping[str, Any] | None = None,
    /,
    *,
    engine: Engine = "inline",
    store: "str | RunStore | None" = None,
    services: Services | Mapping[str, Any] | None = None,
    registry: Registry | None = None,
    catalog: Mapping[str, Pipeline] | None = None,
    max_concurrency: int | None = None,
    **given: Any,
) -> RunResult:
    """Run a pipeline to its end; a failed run is a result, not an exception.

    `given` (a mapping) and `parameters` (keywords) are the pipeline's parameters and fields that its steps read; a
    parameter with the name of a keyword of this function goes into the mapping. `engine="prefect"` makes it a Prefect
    flow run, on the configured Prefect server or on a temporary one. With `store`, the URL of a run store or an open
    one, the run is recorded. `services` are the objects behind `call.services["name"]`: a mapping of objects, which
    stay open, or `Services` with factories. `registry` replaces the default registry of handlers; `catalog` holds the
    pipelines that steps or `pipeline` name. `max_concurrency` is a ceiling for the whole run.

    If an event loop is already running (in a notebook), the pipeline runs in a thread; async code should await `arun`.

    Raises:
        InvalidParameters: a parameter is missing, unknown or of the wrong type.
        InvalidPipeline: the pipeline cannot run; the message lists all its mistakes.
        UnknownName: no pipeline has that name.
    """
    setup = _Setup(find_pipeline(pipeline, catalog), _services(services), registry, catalog, max_concurrency, store)
    values = join_parameters(parameters, given)
    return run_prepared(setup.prepare(values), engine=engine, start=setup.recorder(values))


async def arun(
    pipeline: PipelineLike,
    parameters: Mapping[str, Any] | None = None,
    /,
    *,
    engine: Engine = "inline",
    store: "str | RunStore | None" = None,
    services: Services | Mapping[str, Any] | None = None,
    registry: Registry | None = None,
    catalog: Mapping[str, Pipeline] | None = None,
    max_concurrency: int | None = None,
    **given: Any,
) -> RunResult:
    """As `run`, for async code: `result = await arun(words, text="to be or not to be")`.

    When the caller is cancelled, the run is stopped, and finished calls stay recorded.
    """
    setup = _Setup(find_pipeline(pipeline, catalog), _services(services), registry, catalog, max_concurrency, store)
    values = join_parameters(parameters, given)
    return await arun_prepared(setup.prepare(values), engine=engine, start=setup.recorder(values))


def to_flow(
    pipeline: PipelineLike,
    /,
    *,
    store: "str | RunStore | None" = None,
    services: Services | Mapping[str, Any] | None = None,
    registry: Registry | None = None,
    catalog: Mapping[str, Pipeline] | None = None,
    max_concurrency: int | None = None,
) -> "PipelineFlow":
    """A Prefect flow that runs a pipeline and returns its `RunResult`.

    It is an ordinary flow: call it (`words_flow(text=…)` in sync code, `await words_flow(text=…)` in async code), call
    it in another flow, or serve and deploy it (`words_flow.serve()`) where it is a variable of a file. Its parameters
    are the pipeline's, the fields that its steps read and nothing writes, and `max_concurrency`. The flow run ends
    Completed, Completed with the name PartialSuccess, or Failed, as the run did; a call of a flow that failed raises
    `PipelineFailed`, whose `result` is the `RunResult`. `Services` are made anew for each run and closed at its end;
    the other arguments are those of `run`.

    Raises:
        InvalidPipeline: the pipeline cannot run; the message lists all its mistakes.
        UnknownName: no pipeline has that name.
    """
    from flows.translator import MAX_CONCURRENCY, current_flow_run_id, field_control, translate

    setup = _Setup(find_pipeline(pipeline, catalog), _services(services), registry, catalog, max_concurrency, store)
    planned = setup.plan()
    declared, fields = setup.found.pipeline.parameters, open_reads(planned)
    controls = {read.name: field_control(read) for read in fields if read.name.isidentifier()}
    own = replace(MAX_CONCURRENCY, default=max_concurrency)
    has_ceiling = own.name not in declared and own.name not in controls

    def prepare(parameters: Mapping[str, Any]) -> Prepared:
        each = replace(setup, services=setup.services.with_factories({}))
        # An empty field of the form is left out of the context; an empty parameter gets its default.
        values = {name: value for name, value in parameters.items() if name in declared or value is not None}
        if has_ceiling:
            each = replace(each, max_concurrency=values.pop(own.name, None))
        return each.recorder(values)(each.prepare(values), current_flow_run_id())

    all_controls = [*controls.values(), *([own] if has_ceiling else [])]
    return translate(setup.found.pipeline, prepare, controls=all_controls, outputs=planned.outputs)


def plan(
    pipeline: PipelineLike,
    /,
    *,
    given: Iterable[str] | None = None,
    registry: Registry | None = None,
    catalog: Mapping[str, Pipeline] | None = None,
    max_concurrency: int | None = None,
) -> Plan:
    """The plan of a run of the pipeline, with names resolved, limits decided and steps numbered.

    `given` names the fields that a run would supply besides the parameters. Without it, a read of a field that no step
    writes is one of the plan's `warnings` instead of an error.

    Raises:
        InvalidPipeline: the pipeline cannot run; the message lists all its mistakes.
        UnknownName: no pipeline has that name.
    """
    return _Setup(find_pipeline(pipeline, catalog), Services(), registry, catalog, max_concurrency).plan(given)


Start: TypeAlias = Callable[[Prepared, str | None], Prepared]
"""Makes the last preparations in the process of the run; receives the id of the Prefect flow run, or None."""


def run_prepared(
    prepared: Prepared, *, engine: Engine = "inline", start: Start = lambda prepared, flow_run_id: prepared
) -> RunResult:
    """Run a `Prepared`; a failed run is a result, not an exception."""
    _check_engine(engine)
    if engine == "inline":
        return run_to_end(run_plan(start(prepared, None)))
    from flows.translator import run_as_flow

    pipeline = prepared.plan.pipeline
    return run_as_flow(pipeline, {}, _in_flow(prepared, start))


async def arun_prepared(
    prepared: Prepared, *, engine: Engine = "inline", start: Start = lambda prepared, flow_run_id: prepared
) -> RunResult:
    """As `run_prepared`, for async code."""
    _check_engine(engine)
    if engine == "inline":
        return await run_plan(start(prepared, None))
    from flows.translator import arun_as_flow

    pipeline = prepared.plan.pipeline
    return await arun_as_flow(pipeline, {}, _in_flow(prepared, start))


def _check_engine(engine: str) -> None:
    if engine not in ("inline", "prefect"):
        raise ValueError(f"no engine is called {engine!r}; known are: inline, prefect")


def _in_flow(prepared: Prepared, start: Start) -> Callable[[Mapping[str, Any]], Prepared]:
    from flows.translator import current_flow_run_id

    return lambda _: start(prepared, current_flow_run_id())


def find_pipeline(pipeline: Any, catalog: Mapping[str, Pipeline] | None = None) -> LoadedPipeline:
    """The pipeline itself, or the pipeline of that file or that name in the catalog or the templates.

    Raises:
        InvalidPipeline: the file has problems.
        UnknownName: no pipeline has that name; the message suggests the nearest.
    """
    match pipeline:
        case LoadedPipeline():
            return pipeline
        case Pipeline():
            return loaded_from(pipeline)
        case Path():
            return load_pipeline(pipeline)
        case str() if pipeline.endswith(_SUFFIXES) and pipeline not in (catalog or {}):
            return load_pipeline(pipeline)
        case str():
            from flows.loaders import TEMPLATES

            known = {**TEMPLATES, **(catalog or {})}
            name = name_in(known, pipeline)
            if name is None:
                raise UnknownName("pipeline", pipeline, known)
            return find_pipeline(known[name])
        case PipelineBuilder():
            raise TypeError("a builder is no pipeline yet; call its method build()")
        case _:
            raise TypeError(f"expected a pipeline, the path of its file or its name, not {pipeline!r}")


@dataclass(frozen=True)
class _Setup:
    """A pipeline, and the settings of its runs apart from their parameters."""

    found: LoadedPipeline
    services: Services
    registry: Registry | None = None
    catalog: Mapping[str, Pipeline] | None = None
    max_concurrency: int | None = None
    store: "str | RunStore | None" = None

    def plan(self, given: Iterable[str] | None = None) -> Plan:
        if self.max_concurrency is not None and self.max_concurrency < 1:
            raise InvalidParameters(f"max_concurrency must be 1 or more, not {self.max_concurrency}")
        return make_plan(
            self.found,
            registry=self.registry,
            catalog=self.catalog,
            given=given,
            overrides=Overrides(max_concurrency=self.max_concurrency, origin="max_concurrency of the run"),
        )

    def prepare(self, given: Mapping[str, Any]) -> Prepared:
        """The plan and the context of a run; `given` are parameters, and fields that steps read."""
        pipeline = self.found.pipeline
        parameters = {name: value for name, value in given.items() if name in pipeline.parameters}
        fields = {name: value for name, value in given.items() if name not in pipeline.parameters}
        values = {**check_parameters(pipeline, parameters), **fields}
        keep_parameters_secret(fields)
        guard_logs()
        plan = self.plan(values)
        check_fields(plan, fields)
        index = index_of(pipeline, values, otherwise="default")
        identity = Identity(pipeline.name, new_run_id(), index, self.services, effect_fingerprints(plan, values))
        after_s = pipeline.stuck_after_s
        return Prepared(
            plan, Context(values, identity=identity), expected=Expectation(after_s) if after_s is not None else None
        )

    def recorder(self, given: Mapping[str, Any]) -> Start:
        """The recorder of a run, if there is a store."""

        def start(prepared: Prepared, flow_run_id: str | None) -> Prepared:
            if self.store is None:
                return prepared
            from flows.run_store import record_run

            file = self.found.file or None
            return record_run(
                prepared, self.store, parameters=without_secrets(given), file=file, flow_run_id=flow_run_id
            )

        return start


def check_fields(plan: Plan, fields: Mapping[str, Any]) -> None:
    """Refuse fields that no step reads, since they are probably misspelt parameters.

    Raises:
        InvalidParameters: there are such fields. Exempt are pipelines without parameters whose handlers read the whole
            context.
    """
    declared = plan.pipeline.parameters
    if not declared and any(leaf.spec.reads is None for leaf in plan.leaves):
        return
    read = frozenset[str]().union(*(node.access.reads for node in plan.nodes))
    known = sorted({*declared, *read})
    unknown = [
        f"{plan.pipeline.name} has no parameter {name!r}, and none of its steps reads such a field"
        + suggest(name, known)
        for name in fields
        if name not in read
    ]
    if unknown:
        raise InvalidParameters("\n".join(unknown))


def _services(given: Services | Mapping[str, Any] | None) -> Services:
    return given if isinstance(given, Services) else Services(objects=given)


def join_parameters(parameters: Mapping[str, Any] | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of the mapping and of the keywords together.

    Raises:
        InvalidParameters: one is in both.
    """
    twice = sorted({*(parameters or {})} & {*given})
    if twice:
        raise InvalidParameters(f"{twice[0]!r} is given twice, in the mapping and as a keyword")
    return {**(parameters or {}), **given}
