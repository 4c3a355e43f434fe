"""The flow that a deployment runs: a pipeline of the catalog with its form, recorded, and resumed on a retry."""

import socket
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from prefect import Flow
from pydantic import PositiveFloat

from deployments.catalog import Catalog, load_catalog
from deployments.runs import find_run, load_handlers, overrides_from, prepare, start_recording
from deployments.settings import Settings, load_settings
from flows.engine import Prepared
from flows.errors import OrchestrationError
from flows.loaders import LoadedPipeline
from flows.model import ForEach, Parallel, Pipeline, Policy, Sequential, Step, Switch
from flows.planning import Overrides
from flows.translator import INDEX, MAX_CONCURRENCY, Control, current_flow_run_id, translate

if TYPE_CHECKING:
    from flows.run_store import RunRecord

POLICY = Control(
    "policy",
    Literal["all_or_nothing", "fail_fast", "best_effort"] | None,
    "What a failed branch means in parallel groups that do not say it themselves: the group fails when all have ended "
    "(all_or_nothing, the default), at once (fail_fast), or it goes on with what succeeded (best_effort).",
)
DRY_RUN = Control("dry_run", bool, "Only show the plan as an artifact: what would run, and every limit.", False)
RESUME_FROM = Control(
    "resume_from",
    str | None,
    "The id of an earlier run of this pipeline, as `braid runs` shows it: only what did not succeed there is done. "
    "Parameters that are left at their defaults are taken from that run.",
)
RESUME_ANYWAY = Control(
    "resume_anyway", bool, "With resume_from or a retry: do finished steps again that a change made unfit.", False
)  # not `force`, which pipelines have for purposes of their own
_BUDGET = "budget_"
BUDGETS = tuple(
    Control(_BUDGET + unit, PositiveFloat | None, f"{text} When it is used up, nothing more starts.")
    for unit, text in {
        "usd": "What the run may cost, in US dollars.",
        "tokens": "Tokens of language models that the run may use.",
        "seconds": "Seconds of work that the run may take.",
    }.items()
)


def attribute_of(name: str) -> str:
    """What a pipeline is called as an attribute of the catalog's module: a dot there would lead further in."""
    return name.replace(".", "__")


def flow_called(attribute: str) -> "Flow[..., Any]":
    """The flow of the pipeline that is `attribute` of the catalog's module.

    Raises:
        InvalidPipeline: its file has problems.
        UnknownName: there is none.
    """
    catalog = load_catalog(load_settings())
    for name, loaded in catalog.loaded.items():
        if attribute in (name, attribute_of(name)):
            return make_flow(loaded, catalog)
    return make_flow(catalog.find(attribute), catalog)


def make_flow(loaded: LoadedPipeline, catalog: Catalog) -> "Flow[..., Any]":
    """A flow that can be deployed: it reads the settings of the process that runs it."""

    def start(parameters: Mapping[str, Any]) -> Prepared:
        return start_run(loaded, parameters, catalog=catalog, settings=load_settings())

    return translate(loaded.pipeline, start, controls=controls_of(loaded.pipeline))


def controls_of(pipeline: Pipeline) -> tuple[Control, ...]:
    """What the form asks besides the pipeline's parameters; no policy where no group is without one."""
    policy = (POLICY,) if any(_lacks_policy(step) for step in pipeline.steps) else ()
    return (INDEX, MAX_CONCURRENCY, *policy, DRY_RUN, RESUME_FROM, RESUME_ANYWAY, *BUDGETS)


def start_run(loaded: LoadedPipeline, given: Mapping[str, Any], *, catalog: Catalog, settings: Settings) -> Prepared:
    """A run that can start, recorded; a retried flow run goes on from what it did before.

    Raises:
        OrchestrationError: the parameters, the pipeline, the settings or the run to go on from are wrong.
    """
    load_handlers(settings)
    pipeline = loaded.pipeline
    asked: dict[str, Any] = {
        control.name: given.get(control.name, control.default)
        for control in controls_of(pipeline)
        if control.name not in pipeline.parameters
    }
    parameters = {name: value for name, value in given.items() if name in pipeline.parameters}
    index = asked.get("index") or INDEX.default
    flow_run_id = current_flow_run_id()
    resumes = _earlier_execution(flow_run_id, settings)
    if resumes is None and asked.get("resume_from"):
        resumes, parameters = _run_to_resume(asked["resume_from"], loaded, parameters, catalog, settings)
        index = resumes.index if index == INDEX.default else index
    prepared = prepare(
        pipeline,
        parameters,
        settings=settings,
        index=index,
        overrides=_overrides(asked, settings),
        catalog=catalog.pipelines,
        source=loaded.file,
        place=loaded.position_of,
    )
    if asked.get("dry_run"):
        return replace(prepared, plan_only=True)
    recording = start_recording(
        prepared,
        parameters,
        settings=settings,
        source=loaded.file,
        resumes=resumes,
        force=bool(asked.get("resume_anyway")),
        flow_run_id=flow_run_id,
    )
    return recording.of(prepared)


def _overrides(asked: Mapping[str, Any], settings: Settings) -> Overrides:
    budget = {name.removeprefix(_BUDGET): value for name, value in asked.items() if name.startswith(_BUDGET) and value}
    overrides = overrides_from(settings, budget=budget)
    if asked.get("max_concurrency") is not None:
        overrides = replace(overrides, max_concurrency=asked["max_concurrency"], origin="max_concurrency of the run")
    if asked.get("policy") is not None:
        overrides = replace(overrides, policy=Policy.model_validate(asked["policy"]))
    return overrides


def _earlier_execution(flow_run_id: str | None, settings: Settings) -> "RunRecord | None":
    """What this flow run did before it was retried."""
    if flow_run_id is None:
        return None
    from flows.run_store import RunStore

    store = RunStore(settings.run_store_url)
    try:
        record = store.of_flow_run(flow_run_id)
        if record is not None and record.status == "running" and record.host != socket.gethostname():
            # We cannot see that machine's processes, but Prefect starts a flow run again only when it is over there.
            store.stop(record.run_id, "interrupted")
            record = store.of_flow_run(flow_run_id)
        return record
    finally:
        store.close()


def _run_to_resume(
    run: str, loaded: LoadedPipeline, given: Mapping[str, Any], catalog: Catalog, settings: Settings
) -> "tuple[RunRecord, dict[str, Any]]":
    """The run to go on from, and its parameters with those over them that the form changed."""
    declared = loaded.pipeline.parameters
    changed = {name: value for name, value in given.items() if value != declared[name].default}
    earlier = find_run(run, settings=settings, catalog=catalog, given=changed)
    if earlier.record.pipeline != loaded.pipeline.name:
        raise OrchestrationError(
            f"resume_from: run {earlier.record.run_id} was one of {earlier.record.pipeline!r}, not of "
            f"{loaded.pipeline.name!r}; start it from the deployment of that pipeline"
        )
    return earlier.record, dict(earlier.parameters)


def _lacks_policy(step: Step) -> bool:
    match step:
        case Parallel():
            return "policy" not in step.model_fields_set or any(map(_lacks_policy, step.branches))
        case ForEach() | Sequential():
            return any(map(_lacks_policy, step.steps))
        case Switch(cases=cases, default=default):
            return any(map(_lacks_policy, [*default, *(step for case in cases for step in case.steps)]))
        case _:
            return False
