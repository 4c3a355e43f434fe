"""Deploy pipelines: bring work pool, limits, automation and deployments on a Prefect server to the desired state.

Parts that are already correct stay unchanged, so deploying twice changes nothing.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from deployments.catalog import Catalog
from deployments.runs import load_handlers, with_inputs
from deployments.server.automations import install_zombie_automation
from deployments.server.comparing import deployment_differences, value_change
from deployments.server.desired import (
    TAG,
    DesiredDeployment,
    deployment_description,
    deployment_fields,
    desired_deployment,
)
from deployments.server.named_sources import offering_sources
from deployments.server.notices import install_notices
from deployments.server.ownership import PROJECT_TAG, ForeignDeployment, Project
from deployments.server.schedule_file import DeploymentSchedules, load_schedules
from deployments.server.schedules import new_schedules, schedule_line, update_schedules
from deployments.server.source_automations import install_source_automations
from deployments.server.source_schedules import schedule_problems, with_sources
from deployments.server.worker_environment import needed_by
from deployments.settings import WORK_POOL, Settings
from deployments.source_file import load_sources
from flows.loaders import LoadedPipeline
from flows.translator import OVERLAP_TAG, PREFIX, PrefectSeats

SHARDS = "shards"
"""The tag of deployments for shards, and the suffix of their names."""


@dataclass(frozen=True)
class DeploymentChange:
    """A difference between the server and the desired state, which deploying removes."""

    action: Literal["create", "update", "remove"]
    what: str
    details: tuple[str, ...] = ()


def deploy(
    names: Sequence[str],
    *,
    catalog: Catalog,
    settings: Settings,
    work_pool: str | None = None,
    prune: bool = False,
    take_over: bool = False,
    with_folders: bool = False,
    dry_run: bool = False,
) -> list[DeploymentChange]:
    """Deploy the pipelines `names`, or all of the catalog, to the server that Prefect is connected to.

    New deployments use the work pool, by default `braid`; others stay in theirs unless one is given. With `prune`,
    deployments of this project whose pipeline is no longer in the catalog are removed. Deployments of another project
    are changed only with `take_over`. `with_folders` writes the folders of pipelines and the modules with handlers into
    the deployments, so that workers need not have them in their environment. With `dry_run`, nothing is changed.

    Raises:
        ForeignDeployment: deployments of these names are not ours; nothing was changed.
        OrchestrationError: a pipeline or the schedules are invalid.
    """
    named = load_sources(settings, schedule_problems)
    schedules = with_sources(load_schedules(settings.schedules, catalog), named)
    project = Project(settings.project)
    # A pipeline given as a file is deployed from the catalog too, since workers find only pipelines of the catalog.
    chosen = [catalog.find(name).pipeline.name for name in names] or list(catalog.loaded)
    load_handlers(settings)  # needed for the inputs of pipelines that cannot declare parameters
    found = [offering_sources(with_inputs(catalog.find(name), catalog.pipelines), settings) for name in chosen]
    desired = [
        desired_deployment(
            loaded,
            schedules.get(loaded.pipeline.name, DeploymentSchedules()),
            work_pool,
            description=deployment_description(loaded, catalog=catalog),
            tags=project.tags,
            variables=needed_by(found, settings).variables if with_folders else None,
        )
        for loaded in found
    ]

    async def bring() -> list[DeploymentChange]:
        async with get_client() as client:
            known = await _read_known(client, desired)
            foreign = [reason for one in known.values() if (reason := project.why_not(one))]
            if foreign and not (take_over and all(TAG in one.tags for one in known.values())):
                raise ForeignDeployment("\n".join(foreign))
            changes = await _bring_work_pool(client, work_pool or WORK_POOL, dry_run)
            changes += await _bring_limits(client, settings, dry_run)
            automation = await install_zombie_automation(client, tag=TAG, dry_run=dry_run)
            if automation is not None:
                changes.append(DeploymentChange(automation, "automation for runs whose process is gone"))
            if settings.notify is not None:
                for action, name in await install_notices(client, settings.notify, dry_run=dry_run):
                    changes.append(DeploymentChange(action, f"automation {name!r}"))
            if "ingest" in chosen:
                lines = await install_source_automations(client, named.values(), str(project), dry_run=dry_run)
                changes += [DeploymentChange("update", line) for line in lines]
            for one in desired:
                changes += await _bring_deployment(client, one, known.get(one.name), dry_run)
            if prune:
                kept = set(catalog.loaded) | {path.stem for path in catalog.broken}
                changes += await _prune(client, kept, project, dry_run)
            return changes

    return asyncio.run(bring())


async def deploy_for_shards(client: PrefectClient, loaded: LoadedPipeline, work_pool: str) -> UUID:
    """The id of a second deployment of a pipeline, created if missing: its runs may overlap, no schedule starts them.

    It lacks our tag, so that `braid deploy --prune` leaves it alone.
    """
    await _bring_work_pool(client, work_pool, dry_run=False)
    await install_zombie_automation(client, tag=TAG)
    flow_id = await client.create_flow_from_name(loaded.pipeline.name)
    fields = {**deployment_fields(loaded, work_pool), "tags": [SHARDS]}
    return await client.create_deployment(flow_id, f"{loaded.pipeline.name}-{SHARDS}", **fields)


async def _bring_work_pool(client: PrefectClient, name: str, dry_run: bool) -> list[DeploymentChange]:
    try:
        await client.read_work_pool(name)
    except ObjectNotFound:
        if not dry_run:
            from prefect.workers.process import ProcessWorker

            template = ProcessWorker.get_default_base_job_template()
            try:
                await client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))
            except ObjectAlreadyExists:  # a worker or another `deploy` has just created it
                return []
        return [DeploymentChange("create", f"work pool {name}", ("type: process",))]
    return []


async def _bring_limits(client: PrefectClient, settings: Settings, dry_run: bool) -> list[DeploymentChange]:
    """The global concurrency limits of the resources that all runs share."""
    changes: list[DeploymentChange] = []
    limits = {
        name: resource.concurrency
        for name, resource in settings.resources.items()
        if resource.shared is not False and resource.concurrency is not None
    }
    for name, limit in limits.items():
        what = f"limit {PREFIX}{name}"
        try:
            known = await client.read_global_concurrency_limit_by_name(PREFIX + name)
        except ObjectNotFound:
            changes.append(DeploymentChange("create", what, (f"limit: {limit}",)))
            continue
        if known.limit != limit or not known.active or known.slot_decay_per_second:
            changes.append(DeploymentChange("update", what, (value_change("limit", known.limit, limit),)))
    if changes and not dry_run:
        async with PrefectSeats(limits):
            pass  # entering the context creates them
    return changes


async def _read_known(client: PrefectClient, desired: Sequence[DesiredDeployment]) -> dict[str, DeploymentResponse]:
    """The deployments on the server that have these names."""
    known: dict[str, DeploymentResponse] = {}
    for one in desired:
        with contextlib.suppress(ObjectNotFound):
            known[one.name] = await client.read_deployment_by_name(one.full_name)
    return known


async def _bring_deployment(
    client: PrefectClient, desired: DesiredDeployment, known: DeploymentResponse | None, dry_run: bool
) -> list[DeploymentChange]:
    what = f"deployment {desired.full_name}"
    if known is None:
        pool = desired.fields["work_pool_name"] or WORK_POOL
        if not dry_run:
            await _create(client, desired, pool)
        rules = [schedule_line(name, schedule) for name, schedule in desired.schedules.items()]
        return [DeploymentChange("create", what, (f"work pool: {pool}", *rules))]
    details = deployment_differences(known, desired)
    if details and not dry_run:
        await client.update_deployment(known.id, _update(known, desired))
    details += await update_schedules(client, known, desired.schedules, dry_run=dry_run)
    return [DeploymentChange("update", what, tuple(details))] if details else []


async def _create(client: PrefectClient, desired: DesiredDeployment, pool: str) -> None:
    await client.create_deployment(
        await client.create_flow_from_name(desired.name),
        desired.name,
        **{**desired.fields, "work_pool_name": pool},
        job_variables=_job_variables(desired),
        schedules=new_schedules(desired.schedules),
    )


def _update(known: DeploymentResponse, desired: DesiredDeployment) -> DeploymentUpdate:
    # Tags added by other users stay; the tag of another project is removed when its deployment is taken over.
    ours = desired.fields["tags"]
    tags = [*ours, *(tag for tag in known.tags if tag not in ours and not tag.startswith((PROJECT_TAG, OVERLAP_TAG)))]
    pool = desired.fields["work_pool_name"] or known.work_pool_name
    variables = {**known.job_variables, **_job_variables(desired)}
    fields = {**desired.fields, "tags": tags, "work_pool_name": pool, "job_variables": variables}
    return DeploymentUpdate(**fields, concurrency_limit=None, concurrency_options=None)


def _job_variables(desired: DesiredDeployment) -> dict[str, Any]:
    return {} if desired.variables is None else {"env": dict(desired.variables)}


async def _prune(
    client: PrefectClient, pipelines: Iterable[str], project: Project, dry_run: bool
) -> list[DeploymentChange]:
    ours = await client.read_deployments(deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG])))
    gone = [one for one in ours if project.owns(one) and one.name not in pipelines]
    for one in gone if not dry_run else ():
        await client.delete_deployment(one.id)
    return [DeploymentChange("remove", f"deployment {one.name}/{one.name}") for one in gone]
