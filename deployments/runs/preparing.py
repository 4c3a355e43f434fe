"""Prepares a run from a request and the settings: overrides, plan, context, fingerprints, shared rates."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, TypeAlias

from deployments.catalog import Catalog
from deployments.indexes import require_index
from deployments.runs.inputs import bound_values, with_inputs
from deployments.runs.making import SELECTING
from deployments.runs.notices import freshness_facts, ingestion_notices, share_of_ingestion
from deployments.runs.request import Request
from deployments.runs.settling import balance_page, ingestion_summary, settling
from deployments.runs.versions import for_a_question, for_an_ingestion
from deployments.runs.wiring import load_handlers, make_services
from deployments.setting_values import index_name
from deployments.settings import Settings
from flows.author import Registry
from flows.engine import Prepared, new_run_id
from flows.errors import InvalidPipeline
from flows.limits import Share, SharedRates
from flows.model import check_parameters, guard_logs, keep_parameters_secret, keep_secret
from flows.planning import Limit, Overrides, Plan, effect_fingerprints, make_plan
from flows.running import check_fields
from flows.state import Context, EffectFingerprint, Identity, Services

PlanOf: TypeAlias = Callable[[Request, Mapping[str, Any]], Plan]
"""Makes the plan of a request that starts with these fields."""
_INDEX_STORE = "index_store"
_OF_CHUNKS = ("index.vectors", "index.terms", "index.graph")
"""Effects that belong to chunks. A chunk is identified by its content, so the origin of chunks does not matter."""
_BY_CONTENT = {"chunks", "sources", "documents"}
"""Fields whose content decides on these effects: chunks by their ids, titles of documents by comparison (`titles`)."""


def prepare(
    request: Request,
    *,
    settings: Settings,
    catalog: Catalog,
    services: Services | None = None,
    run_id: str | None = None,
    plan_of: PlanOf | None = None,
) -> Prepared:
    """The plan and the context of a run; `services` default to those of the settings.

    `plan_of` replaces `plan_request`.

    Raises:
        InvalidParameters: the parameters do not fit the pipeline, or no step reads a field.
        InvalidPipeline: the pipeline cannot run.
        InvalidSettings: the index has an impossible name.
        MissingIndex: steps search the index, which does not exist and is written by no step.
    """
    load_handlers(settings)
    catalog = catalog.beside(request.loaded)
    request = replace(request, loaded=with_inputs(request.loaded, catalog.pipelines, fields=request.fields))
    values = {**check_parameters(request.pipeline, request.parameters), **request.fields}
    keep_parameters_secret(request.fields)
    keep_secret(settings.secrets)
    guard_logs()
    chosen = services or make_services(settings, request.index)
    if plan_of is not None:
        plan = plan_of(request, values)
    else:
        plan = plan_request(request, settings=settings, catalog=catalog, given=values)
    check_fields(plan, request.fields)
    if _INDEX_STORE not in chosen.given and _only_searches(plan):
        require_index(settings, request.index)
    if _INDEX_STORE in chosen and _only_searches(plan):
        chosen = for_a_question(chosen, request.index)
    elif _INDEX_STORE in chosen and _writes(plan):
        chosen = for_an_ingestion(chosen, request.index, embeds=_writes(plan, "index.vectors"))
    effects = _effect_fingerprints(plan, values)
    values = bound_values(plan, values, chosen, index_name(request.index))
    identity = Identity(request.pipeline.name, run_id or new_run_id(), index_name(request.index), chosen, effects)
    return Prepared(
        plan,
        Context(values, identity=identity),
        at_end=settling(plan, settings, request.index),
        rates=_rates(plan, settings),
        summary=ingestion_summary,
        more_pages=balance_page,
        facts=lambda _: freshness_facts(request, values, settings),
        notices=ingestion_notices(request, values, settings),
        share=_QUESTIONS if _only_searches(plan) else share_of_ingestion(request, values, settings),
    )


def refuse_missing_index(request: Request, *, settings: Settings, catalog: Catalog) -> None:
    """Refuse a run for another process if its steps search a missing index.

    A pipeline that cannot be planned here is not refused, since that process may have more handlers.

    Raises:
        MissingIndex: steps search the index, which does not exist and is written by no step.
    """
    load_handlers(settings)
    try:
        plan = plan_request(request, settings=settings, catalog=catalog)
    except InvalidPipeline:
        return
    if _only_searches(plan):
        require_index(settings, request.index)


def plan_request(
    request: Request,
    *,
    settings: Settings,
    catalog: Catalog,
    given: Mapping[str, Any] | None = None,
    registry: Registry | None = None,
) -> Plan:
    """The plan of a run that starts with the fields `given`; handlers must have been loaded.

    Raises:
        InvalidPipeline: the pipeline cannot run.
    """
    catalog = catalog.beside(request.loaded)
    loaded = with_inputs(request.loaded, catalog.pipelines, registry, fields=request.fields)
    return make_plan(
        loaded,
        registry=registry,
        catalog=catalog.pipelines,
        given=given or (),
        overrides=overrides_of(request, settings),
        strict=True,
    )


def overrides_of(request: Request, settings: Settings) -> Overrides:
    """The limits that override the pipeline's: the request's, else the settings', separately for each unit of the
    budget.

    Resources and clusters are the settings'.
    """
    ceiling = request.ceiling
    if ceiling is None and settings.max_workers is not None:
        ceiling = Limit(settings.max_workers, settings.max_workers_origin)
    addresses = {"dask": settings.dask_address, "ray": settings.ray_address}
    return Overrides(
        max_concurrency=ceiling.value if ceiling is not None else None,
        origin=ceiling.origin if ceiling is not None else "run",
        budget={**settings.budget, **request.budget},
        resources=settings.resources,
        resources_origin="BRAID_RESOURCES",
        policy=request.policy,
        task_runner=request.task_runner or settings.task_runner,
        task_runner_origin="--task-runner or BRAID_TASK_RUNNER",
        clusters={name: address for name, address in addresses.items() if address},
    )


_QUESTIONS = Share("questions", priority=10)
"""The priority of runs whose answer a user waits for."""


def _only_searches(plan: Plan) -> bool:
    """Whether steps need the index and no step can create it, as far as the effects of handlers are known."""
    specs = [leaf.spec for leaf in plan.leaves]
    makes = any(spec.effects is None or any(each.startswith("index.") for each in spec.effects) for spec in specs)
    return not makes and any(_INDEX_STORE in spec.needs for spec in specs)


def _writes(plan: Plan, effect: str = "index.documents") -> bool:
    """Whether a step is known to have this effect on the index."""
    return any(effect in (leaf.spec.effects or ()) for leaf in plan.leaves)


def _effect_fingerprints(plan: Plan, values: Mapping[str, Any]) -> dict[str, EffectFingerprint]:
    by_content = effect_fingerprints(plan, values, apart_from=SELECTING | _BY_CONTENT)
    return effect_fingerprints(plan, values, apart_from=SELECTING) | {
        effect: by_content[effect] for effect in _OF_CHUNKS if effect in by_content
    }


def _rates(plan: Plan, settings: Settings) -> SharedRates | None:
    """The shared counter of calls per minute, if the plan uses a shared resource with such a limit."""
    shared = [common for one in plan.all_resources.values() for common in one.shared.values()]
    if not any(common.per_minute is not None or common.tokens_per_minute is not None for common in shared):
        return None
    return _open_rates(settings.run_store_url)


@cache
def _open_rates(url: str) -> SharedRates:
    from flows.run_store import DatabaseRates

    return DatabaseRates(url)
