"""Bring a Prefect server to what the catalog and the schedules say; what is so already is left alone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    DeploymentUpdate,
    WorkPoolCreate,
)
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.objects import ConcurrencyOptions, DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.utilities.callables import parameter_schema

from deployments.catalog import Catalog
from deployments.server.automations import install_zombie_automation
from deployments.server.deployed import attribute_of, make_flow
from deployments.server.schedules import FILE, Scheduled, ScheduleEntry, load_schedules
from deployments.settings import Settings
from flows.errors import OrchestrationError
from flows.loaders import LoadedPipeline
from flows.translator import PREFIX, PrefectSeats

ROOT = Path(__file__).parents[2]
TAG = "braid"
"""What marks a deployment, and its runs, as ours."""
SLUG = "braid-"
"""How the names of our schedules begin; others are not touched."""
POOL = "braid"
SHARDS = "shards"
"""What the deployments are called and tagged that ingest the parts of a listing."""
_FIELDS = (
    "description",
    "version",
    "tags",
    "entrypoint",
    "path",
    "pull_steps",
    "work_pool_name",
    "parameter_openapi_schema",
    "enforce_parameter_schema",
)


@dataclass(frozen=True)
class DeploymentChange:
    """Something on the server that is not as it should be."""

    action: Literal["create", "update", "remove"]
    what: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """A deployment as it should be."""

    name: str
    fields: Mapping[str, Any]
    concurrency: tuple[int, str] | None
    """Runs at once, and what happens to more."""
    schedules: Mapping[str, ScheduleEntry] = field(default_factory=dict[str, ScheduleEntry])

    @property
    def full_name(self) -> str:
        return f"{self.name}/{self.name}"


async def deploy(
    client: PrefectClient,
    names: Sequence[str],
    *,
    catalog: Catalog,
    settings: Settings,
    work_pool: str = POOL,
    prune: bool = False,
    dry_run: bool = False,
) -> list[DeploymentChange]:
    """Bring the server to what the catalog says for the pipelines `names`, or for all; returns what was not so.

    With `prune`, deployments of this folder go whose pipeline is not in the catalog any more. With `dry_run`, nothing
    is changed.

    Raises:
        OrchestrationError: a pipeline or the schedules cannot be used, or a deployment of that name is not ours.
    """
    scheduled = load_schedules(settings.schedules or FILE, catalog)
    chosen = [catalog.find(name).pipeline.name for name in names] or list(catalog.loaded)
    wanted = [_wanted(name, catalog, scheduled.get(name, Scheduled()), work_pool) for name in chosen]
    changes = await _pool(client, work_pool, dry_run)
    changes += await _limits(client, settings, dry_run)
    automation = await install_zombie_automation(client, tag=TAG, dry_run=dry_run)
    if automation is not None:
        changes.append(DeploymentChange(automation, "automation for runs whose process is gone"))
    for one in wanted:
        changes += await _deployment(client, one, dry_run)
    if prune:
        changes += await _prune(client, set(catalog.loaded) | {path.stem for path in catalog.broken}, dry_run)
    return changes


def _wanted(name: str, catalog: Catalog, scheduled: Scheduled, work_pool: str) -> Wanted:
    loaded = catalog.loaded[name] if name in catalog.loaded else catalog.find(name)
    overlap = None if scheduled.overlap == "allow" else (scheduled.max_runs, scheduled.overlap.upper())
    schedules = {SLUG + key: rule for key, rule in scheduled.schedules.items()}
    return Wanted(name, fields_of(loaded, catalog, work_pool), overlap, schedules)


async def deploy_for_shards(client: PrefectClient, loaded: LoadedPipeline, catalog: Catalog, work_pool: str) -> UUID:
    """The id of a second deployment of a pipeline, whose runs may overlap and which no schedule starts; made if needed.

    It is not tagged as ours, so that `braid deploy --prune` leaves it alone.
    """
    await _pool(client, work_pool, dry_run=False)
    await install_zombie_automation(client, tag=TAG)
    flow_id = await client.create_flow_from_name(loaded.pipeline.name)
    fields = {**fields_of(loaded, catalog, work_pool), "tags": [SHARDS]}
    return await client.create_deployment(flow_id, f"{loaded.pipeline.name}-{SHARDS}", **fields)


def fields_of(loaded: LoadedPipeline, catalog: Catalog, work_pool: str) -> dict[str, Any]:
    """What a deployment of a pipeline says on the server."""
    name = loaded.pipeline.name
    schema = parameter_schema(make_flow(loaded, catalog)).model_dump_for_openapi()
    schema["additionalProperties"] = False  # else the server takes misspelt parameters, and the run fails
    return {
        "description": loaded.pipeline.description,
        "version": loaded.pipeline.version,
        "tags": [TAG],
        "entrypoint": f"deployments/catalog.py:{attribute_of(name)}",
        "path": str(ROOT),
        "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}],
        "work_pool_name": work_pool,
        "parameter_openapi_schema": schema,
        "enforce_parameter_schema": True,
    }


async def _pool(client: PrefectClient, name: str, dry_run: bool) -> list[DeploymentChange]:
    try:
        await client.read_work_pool(name)
    except ObjectNotFound:
        if not dry_run:
            from prefect.workers.process import ProcessWorker

            template = ProcessWorker.get_default_base_job_template()
            try:
                await client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))
            except ObjectAlreadyExists:  # by a worker, or somebody else who deploys, a moment ago
                return []
        return [DeploymentChange("create", f"work pool {name}", ("type: process",))]
    return []


async def _limits(client: PrefectClient, settings: Settings, dry_run: bool) -> list[DeploymentChange]:
    """The global concurrency limits of the resources that all runs share."""
    changes: list[DeploymentChange] = []
    wanted = {
        name: resource.concurrency
        for name, resource in settings.resources.items()
        if resource.shared is not False and resource.concurrency is not None
    }
    for name, limit in wanted.items():
        try:
            known = await client.read_global_concurrency_limit_by_name(PREFIX + name)
        except ObjectNotFound:
            changes.append(DeploymentChange("create", f"limit {PREFIX}{name}", (f"limit: {limit}",)))
            continue
        if known.limit != limit or not known.active or known.slot_decay_per_second:
            changes.append(DeploymentChange("update", f"limit {PREFIX}{name}", (_step("limit", known.limit, limit),)))
    if changes and not dry_run:
        async with PrefectSeats(wanted):
            pass  # entering is what makes them
    return changes


async def _deployment(client: PrefectClient, wanted: Wanted, dry_run: bool) -> list[DeploymentChange]:
    what = f"deployment {wanted.full_name}"
    try:
        known = await client.read_deployment_by_name(wanted.full_name)
    except ObjectNotFound:
        if not dry_run:
            await _create(client, wanted)
        rules = tuple(f"schedule {slug.removeprefix(SLUG)}: {_shown(rule)}" for slug, rule in wanted.schedules.items())
        return [DeploymentChange("create", what, (f"work pool: {wanted.fields['work_pool_name']}", *rules))]
    if TAG not in known.tags:
        raise OrchestrationError(
            f"the server has a {what} that Braid did not make (it lacks the tag {TAG!r}); rename the pipeline, or "
            f"delete that deployment with `prefect deployment delete {wanted.full_name}`"
        )
    details = [*_field_changes(known, wanted), *_concurrency_change(known, wanted)]
    if details and not dry_run:
        await client.update_deployment(known.id, _update(known, wanted))
    details += await _schedules(client, known, wanted, dry_run)
    return [DeploymentChange("update", what, tuple(details))] if details else []


async def _create(client: PrefectClient, wanted: Wanted) -> None:
    limit, options = _concurrency(wanted)
    await client.create_deployment(
        await client.create_flow_from_name(wanted.name),
        wanted.name,
        **wanted.fields,
        schedules=[_as_prefect(slug, rule) for slug, rule in wanted.schedules.items()],
        concurrency_limit=limit,
        concurrency_options=options,
    )


def _update(known: DeploymentResponse, wanted: Wanted) -> DeploymentUpdate:
    limit, options = _concurrency(wanted)
    # Tags that others added stay.
    tags = [*wanted.fields["tags"], *(tag for tag in known.tags if tag not in wanted.fields["tags"])]
    return DeploymentUpdate(**{**wanted.fields, "tags": tags}, concurrency_limit=limit, concurrency_options=options)


def _concurrency(wanted: Wanted) -> tuple[int | None, ConcurrencyOptions | None]:
    if wanted.concurrency is None:
        return None, None
    limit, strategy = wanted.concurrency
    return limit, ConcurrencyOptions.model_validate({"collision_strategy": strategy})


def _field_changes(known: DeploymentResponse, wanted: Wanted) -> list[str]:
    present = known.model_dump(mode="json", include=set(_FIELDS))
    changes: list[str] = []
    for name in _FIELDS:
        before, after = present[name], wanted.fields[name]
        if before == after or (name == "tags" and set(after) <= set(before)):
            continue
        changes += (
            _form_changes(before or {}, after)
            if name == "parameter_openapi_schema"
            else [_step(name.removesuffix("_name").replace("_", " "), before, after)]
        )
    return changes


def _form_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    old, new = before.get("properties", {}), after.get("properties", {})
    told = [f"parameter {name}: new" for name in new if name not in old]
    told += [f"parameter {name}: gone" for name in old if name not in new]
    told += [f"parameter {name}: changed" for name in new if name in old and new[name] != old[name]]
    return told or ["parameters: changed"]


def _concurrency_change(known: DeploymentResponse, wanted: Wanted) -> list[str]:
    limit, options = known.global_concurrency_limit, known.concurrency_options
    before = (limit.limit, options.collision_strategy.value) if limit is not None and options is not None else None
    if before == wanted.concurrency and (limit is None) == (before is None):
        return []
    return [
        _step(
            "overlap",
            *(f"{pair[0]} at once, then {pair[1]}" if pair else "allow" for pair in (before, wanted.concurrency)),
        )
    ]


async def _schedules(client: PrefectClient, known: DeploymentResponse, wanted: Wanted, dry_run: bool) -> list[str]:
    present = {rule.slug: rule for rule in known.schedules if rule.slug is not None and rule.slug.startswith(SLUG)}
    told: list[str] = []
    for slug, rule in wanted.schedules.items():
        new, old = _as_prefect(slug, rule), present.get(slug)
        if old is None:
            told.append(f"schedule {slug.removeprefix(SLUG)}: {_shown(rule)}")
            if not dry_run:
                await client.create_deployment_schedules(known.id, [new])
            continue
        active = old.active if rule.active is None else rule.active
        if (_rule(old, rule), old.parameters, old.active) == (_rule(new, rule), new.parameters, active):
            continue
        told.append(f"schedule {slug.removeprefix(SLUG)}: changed to {_shown(rule)}")
        if not dry_run:
            await client.update_deployment_schedule(
                known.id, old.id, active=active, schedule=new.schedule, parameters=new.parameters
            )
    for slug, old in present.items():
        if slug not in wanted.schedules:
            told.append(f"schedule {slug.removeprefix(SLUG)}: removed")
            if not dry_run:
                await client.delete_deployment_schedule(known.id, old.id)
    return told


async def _prune(client: PrefectClient, pipelines: Iterable[str], dry_run: bool) -> list[DeploymentChange]:
    ours = await client.read_deployments(deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG])))
    gone = [one for one in ours if one.path == str(ROOT) and one.name not in pipelines]
    for one in gone if not dry_run else ():
        await client.delete_deployment(one.id)
    return [DeploymentChange("remove", f"deployment {one.name}/{one.name}") for one in gone]


def _as_prefect(slug: str, rule: ScheduleEntry) -> DeploymentScheduleCreate:
    return DeploymentScheduleCreate(
        schedule=rule.prefect(), slug=slug, parameters=rule.parameters, active=rule.active is not False
    )


def _rule(schedule: DeploymentSchedule | DeploymentScheduleCreate, declared: ScheduleEntry) -> dict[str, Any]:
    rule = schedule.schedule.model_dump(mode="json")
    # Prefect sets it to the time of deployment where the file has none.
    return {key: value for key, value in rule.items() if key != "anchor_date" or declared.anchor is not None}


def _shown(rule: ScheduleEntry) -> str:
    kinds = {"cron": rule.cron, "rrule": rule.rrule, "every": f"{rule.interval:g} s" if rule.interval else None}
    text = next(f"{kind} {value}" for kind, value in kinds.items() if value is not None)
    return f"{text} ({rule.timezone})" + ("" if rule.active is not False else ", off")


def _step(name: str, before: Any, after: Any) -> str:
    return f"{name}: {_short(before)} → {_short(after)}"


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
