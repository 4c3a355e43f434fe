"""An automation on the Prefect server that marks our flow runs as crashed whose process gives no sign of life."""

from datetime import timedelta
from typing import Any, Literal

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.settings import get_current_settings

NAME = "Braid: mark runs whose process is gone"
MESSAGE = (
    "The run's process gives no sign of life. What had been finished is kept: go on with Retry here, or with "
    "`braid resume RUN`; `braid doctor` lists such runs, with their ids."
)
MISSED = 3
"""Signs of life that may be missing."""
USUAL_S = 180.0
"""Between two of them, where the settings say nothing."""


async def install_zombie_automation(
    client: PrefectClient, *, tag: str = "braid", silent_s: float | None = None, dry_run: bool = False
) -> Literal["create", "update"] | None:
    """Make the automation, or bring it to what it should be; found by its name. Returns what had to be done.

    It acts on flow runs with the tag that have sent `prefect.flow-run.heartbeat` and then nothing for `silent_s`:
    three times Prefect's PREFECT_FLOWS_HEARTBEAT_FREQUENCY by default. If somebody has switched it off, it stays off.
    """
    known = await client.read_automations_by_name(NAME)
    wanted = _automation(tag, silent_s or _silent_s(), enabled=known[0].enabled if known else True)
    if not known:
        if not dry_run:
            await client.create_automation(wanted)
        return "create"
    for surplus in known[1:] if not dry_run else ():
        await client.delete_automation(surplus.id)
    if _shown(known[0]) == _shown(wanted) and len(known) == 1:
        return None
    if not dry_run:
        await client.update_automation(known[0].id, wanted)
    return "update"


def _automation(tag: str, silent_s: float, *, enabled: bool) -> AutomationCore:
    beat = "prefect.flow-run.heartbeat"
    trigger: Any = EventTrigger.model_validate(
        {
            "match": {"prefect.resource.id": "prefect.flow-run.*"},
            "match_related": {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{tag}"},
            "for_each": {"prefect.resource.id"},
            "after": {beat},
            # Any event of the run will do: its states may have names of their own, as PartialSuccess.
            "expect": {"prefect.flow-run.*"},
            "posture": Posture.Proactive,
            "threshold": 1,
            "within": timedelta(seconds=silent_s),
        }
    )
    return AutomationCore(
        name=NAME,
        description="Made by `braid deploy`.",
        enabled=enabled,
        trigger=trigger,
        actions=[ChangeFlowRunState(name=None, state=StateType.CRASHED, message=MESSAGE, force=False)],
    )


def _silent_s() -> float:
    return MISSED * float(get_current_settings().flows.heartbeat_frequency or USUAL_S)


def _shown(automation: AutomationCore | Automation) -> dict[str, Any]:
    """What the server keeps of it, without what it adds."""
    shown = automation.model_dump(mode="json", include={"name", "description", "trigger", "actions"})
    trigger = shown["trigger"]
    for name in ("after", "expect", "for_each"):
        trigger[name] = sorted(trigger[name])
    trigger.pop("id", None)
    return shown
