"""Automations that send a notification: a run failed, was partial, is late, crashed, or has used its budget.
`BRAID_NOTIFY` names the notification block of Prefect, for example `slack-webhook/ops`; `braid deploy` creates and
updates the automations. An automation that was switched off in the UI stays off.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import BlockDocument
from prefect.events.actions import CallWebhook, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from deployments.server.automations import bring_automation
from deployments.server.desired import TAG
from deployments.setting_values import InvalidSettings
from flows.translator import BUDGET_USED

NAME = "Braid: tell when a run"
_STATE = "prefect.flow-run."
NOTICES: dict[str, tuple[str, ...]] = {
    "failed": (f"{_STATE}Failed", f"{_STATE}TimedOut"),
    "was partial": (f"{_STATE}PartialSuccess",),
    "is late": (f"{_STATE}Late",),
    "crashed": (f"{_STATE}Crashed",),
    "used its budget": (BUDGET_USED,),
}
"""The events of each automation; events of states have the names of the states."""
WEBHOOK = "webhook"
"""The type of the blocks that receive JSON."""
_TEXT = (
    "{{{{ flow_run.name }}}} {what}: {{{{ event.payload.reason or flow_run.state.message or '' }}}}\n"
    "{{{{ flow_run|ui_url }}}}"
)
_PAYLOAD = (
    '{{"what": "{what}", "event": "{{{{ event.event }}}}", "flow_run": "{{{{ flow_run.id }}}}", '
    '"pipeline": {{{{ (flow.name or "")|tojson }}}}, "name": {{{{ flow_run.name|tojson }}}}, '
    '"state": {{{{ flow_run.state.name|tojson }}}}, '
    '"message": {{{{ (event.payload.reason or flow_run.state.message or "")|tojson }}}}, '
    '"url": "{{{{ flow_run|ui_url }}}}"}}'
)


async def install_notices(
    client: PrefectClient, block: str, *, tag: str = TAG, dry_run: bool = False
) -> list[tuple[Literal["create", "update"], str]]:
    """Create or update the automations that notify a block, given as `TYPE/NAME`; return the changes by name.

    Raises:
        InvalidSettings: the server has no such block.
    """
    document = await _read_block(client, block)
    found: list[tuple[Literal["create", "update"], str]] = []
    for what, events in NOTICES.items():
        wanted = _automation(what, events, tag, document)
        needed = await bring_automation(client, wanted, dry_run=dry_run)
        if needed is not None:
            found.append((needed, wanted.name))
    return found


async def _read_block(client: PrefectClient, block: str) -> BlockDocument:
    kind, _, name = block.partition("/")
    try:
        return await client.read_block_document_by_name(name, kind)
    except ObjectNotFound as error:
        raise InvalidSettings(
            f"BRAID_NOTIFY names the block {block}, which the Prefect server does not have; create it in the UI "
            "(Blocks), or as in docs/notifications.md"
        ) from error


def _automation(what: str, events: Sequence[str], tag: str, block: BlockDocument) -> AutomationCore:
    trigger: Any = EventTrigger.model_validate(
        {
            "match": {"prefect.resource.id": f"{_STATE}*"},
            "match_related": {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{tag}"},
            "for_each": {"prefect.resource.id"},
            "expect": set(events),
            "posture": Posture.Reactive,
            "threshold": 1,
            "within": timedelta(0),
        }
    )
    kind = block.block_type.slug if block.block_type is not None else ""
    action: Any
    if kind == WEBHOOK:
        action = CallWebhook(block_document_id=block.id, payload=_PAYLOAD.format(what=what))
    else:
        action = SendNotification(
            block_document_id=block.id,
            subject=f"Braid: a run of {{{{ flow.name }}}} {what}",
            body=_TEXT.format(what=what),
        )
    return AutomationCore(
        name=f"{NAME} {what}", description="Made by `braid deploy`.", enabled=True, trigger=trigger, actions=[action]
    )
