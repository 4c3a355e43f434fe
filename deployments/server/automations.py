"""Automations on the Prefect server; one marks our flow runs as crashed when their heartbeats stop."""

from datetime import timedelta
from typing import Any, Literal

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.settings import get_current_settings

NAME = "Braid: mark runs whose process is gone"
MESSAGE = (
    "The process of the run sends no heartbeat any more. Finished steps are kept: go on with Retry here, or with "
    "`braid resume RUN`; `braid doctor` lists such runs with their ids."
)
MISSED = 3
"""How many heartbeats may be missing."""
USUAL_S = 180.0
"""The seconds between two heartbeats, if Prefect's settings have no other value."""


async def install_zombie_automation(
    client: PrefectClient, *, tag: str = "braid", silent_s: float | None = None, dry_run: bool = False
) -> Literal["create", "update"] | None:
    """Create the automation, or update the one with that name; return which was needed, or None.

    It acts on flow runs with the tag that have sent `prefect.flow-run.heartbeat` and then nothing for `silent_s`; the
    default is three times PREFECT_FLOWS_HEARTBEAT_FREQUENCY. An automation that was switched off stays off.
    """
    return await bring_automation(client, _automation(tag, silent_s or _silent_s()), dry_run=dry_run)


async def bring_automation(
    client: PrefectClient, wanted: AutomationCore, *, dry_run: bool
) -> Literal["create", "update"] | None:
    """Create an automation, or update the one of that name; returns which was needed, or None.

    An automation that was switched off stays off.
    """
    known = await client.read_automations_by_name(wanted.name)
    if known:
        wanted = wanted.model_copy(update={"enabled": known[0].enabled})
    if not known:
        if not dry_run:
            await client.create_automation(wanted)
        return "create"
    for surplus in known[1:] if not dry_run else ():
        await client.delete_automation(surplus.id)
    if _comparable(known[0]) == _comparable(wanted) and len(known) == 1:
        return None
    if not dry_run:
        await client.update_automation(known[0].id, wanted)
    return "update"


def _automation(tag: str, silent_s: float) -> AutomationCore:
    beat = "prefect.flow-run.heartbeat"
    trigger: Any = EventTrigger.model_validate(
        {
            "match": {"prefect.resource.id": "prefect.flow-run.*"},
            "match_related": {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{tag}"},
            "for_each": {"prefect.resource.id"},
            "after": {beat},
            # Any later event of the run counts, since its states may have custom names such as PartialSuccess.
            "expect": {"prefect.flow-run.*"},
            "posture": Posture.Proactive,
            "threshold": 1,
            "within": timedelta(seconds=silent_s),
        }
    )
    return AutomationCore(
        name=NAME,
        description="Made by `braid deploy`.",
        enabled=True,
        trigger=trigger,
        actions=[ChangeFlowRunState(name=None, state=StateType.CRASHED, message=MESSAGE, force=False)],
    )


def _silent_s() -> float:
    return MISSED * float(get_current_settings().flows.heartbeat_frequency or USUAL_S)


def _comparable(automation: AutomationCore | Automation) -> dict[str, Any]:
    """The parts of an automation that Braid sets, in a fixed order for comparison."""
    parts = automation.model_dump(mode="json", include={"name", "description", "trigger", "actions"})
    trigger = parts["trigger"]
    for name in ("after", "expect", "for_each"):
        trigger[name] = sorted(trigger[name] or ())
    trigger.pop("id", None)
    return parts
