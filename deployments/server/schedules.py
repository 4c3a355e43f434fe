"""Install the schedules of a deployment on the server, and bring installed ones to what the file says."""

from collections.abc import Mapping
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse

from deployments.server.schedule_file import ScheduleEntry

SLUG = "braid-"
"""The names of our schedules on the server begin with it; others are not touched."""


def new_schedules(schedules: Mapping[str, ScheduleEntry]) -> list[DeploymentScheduleCreate]:
    """The schedules of a deployment that is about to be created."""
    return [_for_prefect(name, schedule) for name, schedule in schedules.items()]


def schedule_line(name: str, schedule: ScheduleEntry) -> str:
    return f"schedule {name}: {_rule_text(schedule)}"


async def update_schedules(
    client: PrefectClient, known: DeploymentResponse, schedules: Mapping[str, ScheduleEntry], *, dry_run: bool
) -> list[str]:
    """Bring the schedules of a deployment to what the file says; returns a line for each that differed.

    Without `active` in the file, a schedule that was switched off or on in the UI stays so.
    """
    installed = {
        each.slug.removeprefix(SLUG): each for each in known.schedules if each.slug and each.slug.startswith(SLUG)
    }
    changes: list[str] = []
    for name, schedule in schedules.items():
        new, old = _for_prefect(name, schedule), installed.get(name)
        if old is None:
            changes.append(schedule_line(name, schedule))
            if not dry_run:
                await client.create_deployment_schedules(known.id, [new])
            continue
        active = old.active if schedule.active is None else schedule.active
        if (_rule(old, schedule), old.parameters, old.active) == (_rule(new, schedule), new.parameters, active):
            continue
        changes.append(f"schedule {name}: changed to {_rule_text(schedule)}")
        if not dry_run:
            await client.update_deployment_schedule(
                known.id, old.id, active=active, schedule=new.schedule, parameters=new.parameters
            )
    for name, old in installed.items():
        if name not in schedules:
            changes.append(f"schedule {name}: removed")
            if not dry_run:
                await client.delete_deployment_schedule(known.id, old.id)
    return changes


def _for_prefect(name: str, schedule: ScheduleEntry) -> DeploymentScheduleCreate:
    return DeploymentScheduleCreate(
        schedule=schedule.prefect(),
        slug=SLUG + name,
        parameters=schedule.parameters,
        active=schedule.active is not False,
    )


def _rule(installed: DeploymentSchedule | DeploymentScheduleCreate, declared: ScheduleEntry) -> dict[str, Any]:
    rule = installed.schedule.model_dump(mode="json")
    # Prefect sets it to the time of deployment where the file has none.
    return {key: value for key, value in rule.items() if key != "anchor_date" or declared.anchor is not None}


def _rule_text(schedule: ScheduleEntry) -> str:
    every = f"{schedule.interval:g} s" if schedule.interval else None
    kinds = {"cron": schedule.cron, "rrule": schedule.rrule, "every": every}
    text = next(f"{kind} {value}" for kind, value in kinds.items() if value is not None)
    return f"{text} ({schedule.timezone})" + ("" if schedule.active is not False else ", off")
