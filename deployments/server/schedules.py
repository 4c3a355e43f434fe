"""Install the schedules of a deployment on the server, and update installed ones to match the file."""

from collections.abc import Mapping
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse

from deployments.server.comparing import mapping_changes, value_change
from deployments.server.schedule_file import ScheduleEntry
from deployments.setting_values import duration_text

SLUG = "braid-"
"""The prefix of the names of Braid's schedules on the server; schedules without it stay unchanged.

The UI shows the name instead of the time, so the name includes the time: `braid-nightly: 0 2 * * * (Europe/Berlin)`.
"""


def new_schedules(schedules: Mapping[str, ScheduleEntry]) -> list[DeploymentScheduleCreate]:
    """The schedules of a deployment that is about to be created."""
    return [_for_prefect(name, schedule) for name, schedule in schedules.items()]


def schedule_line(name: str, schedule: ScheduleEntry) -> str:
    return f"schedule {name}: {_rule_text(schedule)}"


async def update_schedules(
    client: PrefectClient, known: DeploymentResponse, schedules: Mapping[str, ScheduleEntry], *, dry_run: bool
) -> list[str]:
    """Update the schedules of a deployment to match the file; return a line for each that differed.

    Without `active` in the file, switching a schedule on or off in the UI has lasting effect.
    """
    installed = {_name(each.slug): each for each in known.schedules if each.slug and each.slug.startswith(SLUG)}
    changes: list[str] = []
    for name, schedule in schedules.items():
        new, old = _for_prefect(name, schedule), installed.get(name)
        if old is None:
            changes.append(schedule_line(name, schedule))
            if not dry_run:
                await client.create_deployment_schedules(known.id, [new])
            continue
        active = old.active if schedule.active is None else schedule.active
        differences = _differences(old, new, schedule, active=active)
        changes += [f"schedule {name}: {line}" for line in differences]
        if differences and not dry_run:
            await client.update_deployment_schedule(
                known.id, old.id, active=active, schedule=new.schedule, parameters=new.parameters, slug=new.slug
            )
    for name, old in installed.items():
        if name not in schedules:
            changes.append(f"schedule {name}: removed")
            if not dry_run:
                await client.delete_deployment_schedule(known.id, old.id)
    return changes


def _differences(
    old: DeploymentSchedule, new: DeploymentScheduleCreate, schedule: ScheduleEntry, *, active: bool
) -> list[str]:
    """A line per difference, with the old and the new value."""
    lines = mapping_changes("its", _rule(old, schedule), _rule(new, schedule))
    lines = [line.removeprefix("its ") for line in lines]
    lines += mapping_changes("parameter", old.parameters or {}, new.parameters or {})
    if old.active != active:
        lines.append(value_change("active", _on(old.active), _on(active)))
    if not lines and old.slug != new.slug:
        lines.append(value_change("name in the UI", old.slug, new.slug))
    return lines


def _on(active: bool) -> str:
    return "on" if active else "off"


def _name(slug: str) -> str:
    """The name in the file."""
    return slug.removeprefix(SLUG).partition(": ")[0]


def _for_prefect(name: str, schedule: ScheduleEntry) -> DeploymentScheduleCreate:
    return DeploymentScheduleCreate(
        schedule=schedule.prefect(),
        slug=f"{SLUG}{name}: {_when(schedule)}",
        parameters=schedule.parameters,
        active=schedule.active is not False,
    )


def _rule(installed: DeploymentSchedule | DeploymentScheduleCreate, declared: ScheduleEntry) -> dict[str, Any]:
    rule = installed.schedule.model_dump(mode="json")
    # Prefect sets it to the time of deployment if the file has none.
    return {key: value for key, value in rule.items() if key != "anchor_date" or declared.anchor is not None}


def _when(schedule: ScheduleEntry) -> str:
    every = f"every {duration_text(schedule.interval)}" if schedule.interval else None
    return f"{schedule.cron or schedule.rrule or every} ({schedule.timezone})"


def _rule_text(schedule: ScheduleEntry) -> str:
    kind = "" if schedule.kind == "interval" else f"{schedule.kind} "
    return f"{kind}{_when(schedule)}" + ("" if schedule.active is not False else ", off")
