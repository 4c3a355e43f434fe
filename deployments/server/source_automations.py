"""An automation per named source: it fires when the source is stale, or when its ingestion failed."""

import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import BlockDocument
from prefect.events.actions import CallWebhook, DoNothing, SendNotification
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from deployments.runs import FAILED, FINISHED, SET_ASIDE, resource_of
from deployments.server.notices import WEBHOOK
from deployments.source_file import NamedSource
from flows.errors import OrchestrationError

_EVENT_VALUES = {
    "event": "event.event",
    "seen": "event.payload.seen",
    "processed": "event.payload.processed",
    "set_aside": "event.payload.set_aside",
    "run_id": "event.payload.run_id",
}
"""The values of an ingestion in a notification, by name, as Prefect templates."""
_STALE = "is older than promised"
_WRONG = "was not ingested successfully"


async def install_source_automations(
    client: PrefectClient, sources: Iterable[NamedSource], project: str, *, dry_run: bool = False
) -> list[str]:
    """Update the automations of sources to match `sources.yaml`; return a line for each that differed. An automation
    that was switched off stays off. Automations of sources that are no longer named are removed.

    Raises:
        OrchestrationError: a source names a notification block that the server does not have.
    """
    prefix = f"Braid, {project}: source "
    wanted: dict[str, AutomationCore] = {}
    for source in sources:
        for automation in await _automations(client, source, prefix):
            wanted[automation.name] = automation
    known = {each.name: each for each in await client.read_automations() if each.name.startswith(prefix)}
    changes: list[str] = []
    for name, automation in wanted.items():
        old = known.get(name)
        if old is None:
            changes.append(f"automation {name!r}")
            if not dry_run:
                await client.create_automation(automation)
        elif _comparable(old) != _comparable(automation):
            changes.append(f"automation {name!r}: changed")
            if not dry_run:
                await client.update_automation(old.id, automation.model_copy(update={"enabled": old.enabled}))
    for name, old in known.items():
        if name not in wanted:
            changes.append(f"automation {name!r}: removed")
            if not dry_run:
                await client.delete_automation(old.id)
    return changes


async def _automations(client: PrefectClient, source: NamedSource, prefix: str) -> list[AutomationCore]:
    entry = source.entry
    block = await _read_block(client, source)
    found: list[AutomationCore] = []
    match = {"prefect.resource.id": resource_of(source.name)}
    if entry.fresh_within is not None:
        # The automation waits for the next good ingestion after each one; `braid sources` shows sources that were never
        # ingested.
        name, when = f"{prefix}{source.name} {_STALE}", _trigger({FINISHED}, entry.fresh_within)
        found.append(_automation(name, source, _action(source, block, _STALE, {}), match, when))
    if entry.notify is not None or entry.max_set_aside_share is not None:
        name, when = f"{prefix}{source.name} {_WRONG}", _trigger({FAILED, SET_ASIDE})
        found.append(_automation(name, source, _action(source, block, _WRONG, _EVENT_VALUES), match, when))
    return found


def _trigger(expected: set[str], within_s: float | None = None) -> dict[str, Any]:
    """Fires at one of these events; with `within_s`, fires if none has come for so many seconds after the last one."""
    proactive = within_s is not None
    return {
        "after": expected if proactive else set(),
        "expect": expected,
        "posture": Posture.Proactive if proactive else Posture.Reactive,
        "within": timedelta(seconds=within_s or 0),
    }


def _automation(
    name: str, source: NamedSource, action: Any, match: dict[str, str], when: dict[str, Any]
) -> AutomationCore:
    fields = {"match": match, "for_each": {"prefect.resource.id"}, "threshold": 1, **when}
    trigger: Any = EventTrigger.model_validate(fields)
    return AutomationCore(
        name=name,
        description=f"Made by `braid deploy` from sources.yaml, for the index {source.index!r}.",
        enabled=True,
        trigger=trigger,
        actions=[action],
    )


async def _read_block(client: PrefectClient, source: NamedSource) -> BlockDocument | None:
    if source.entry.notify is None:
        return None
    kind, _, name = source.entry.notify.partition("/")
    try:
        return await client.read_block_document_by_name(name, kind)
    except ObjectNotFound as error:
        raise OrchestrationError(
            f"the source {source.name!r} names the notification block {source.entry.notify!r}, which the Prefect "
            "server does not have; create it there (Blocks), as TYPE/NAME, for example slack-webhook/alerts"
        ) from error


def _action(source: NamedSource, block: BlockDocument | None, what: str, event_values: Mapping[str, str]) -> Any:
    """The notification through the source's block; `event_values` are values of the event, if it has any."""
    if block is None:
        return DoNothing()
    if block.block_type is not None and block.block_type.slug == WEBHOOK:
        fixed = json.dumps({"source": source.name, "index": source.index, "what": what})[:-1]
        values = "".join(f', "{name}": {{{{ {value}|tojson }}}}' for name, value in event_values.items())
        return CallWebhook(block_document_id=block.id, payload=f"{fixed}{values}}}")
    values = "".join(f" {name.capitalize()}: {{{{ {value} }}}}." for name, value in event_values.items())
    body = f"Source {source.name} of the index {source.index} {what}.{values}"
    return SendNotification(block_document_id=block.id, subject=f"Braid: source {source.name} {what}", body=body)


def _comparable(automation: AutomationCore | Automation) -> dict[str, Any]:
    """The parts of an automation that Braid sets, in a fixed order for comparison."""
    parts = automation.model_dump(mode="json", include={"name", "description", "trigger", "actions"})
    trigger = parts["trigger"]
    for name in ("after", "expect", "for_each"):
        trigger[name] = sorted(trigger[name])
    trigger.pop("id", None)
    return parts
