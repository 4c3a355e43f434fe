"""The events at the end of an ingestion, for automations; and the index as a Prefect asset of its sources."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deployments.freshness import freshness_of
from deployments.runs.request import Request
from deployments.settings import Settings
from deployments.source_file import NamedSource, load_sources
from flows.author import RunResult
from flows.engine import Notice
from flows.errors import OrchestrationError
from flows.limits import Share

FINISHED, FAILED, SET_ASIDE = "braid.ingestion.finished", "braid.ingestion.failed", "braid.ingestion.set-aside"
DOCUMENT_FAILED, STALE = "braid.document.failed", "braid.source.stale"
INGESTIONS = ("ingest", "ingest_shards")
"""The pipelines that ingest a source."""
_NAMED = 100
"""The most documents that an event names."""
_NOT_IN_KEYS = re.compile(r"[\s#?&%\"'<>\[\]{}|\\^`]")


def ingestion_notices(
    request: Request, values: Mapping[str, Any], settings: Settings
) -> Callable[[RunResult], Sequence[Notice]]:
    """The events of a run of this request; those of other pipelines have none."""
    if request.pipeline.name not in INGESTIONS:
        return lambda result: ()
    source = named_source(values, request.index, settings)
    place = str(values.get("source") or "")

    def notices(result: RunResult) -> Sequence[Notice]:
        return _notices(source, place, request.index, result)

    return notices


def freshness_facts(request: Request, values: Mapping[str, Any], settings: Settings) -> list[str]:
    """The freshness of an ingestion's named source, for the first page of its run."""
    if request.pipeline.name not in INGESTIONS:
        return []
    source = named_source(values, request.index, settings)
    try:
        found = freshness_of(settings, [source] if source is not None else [])
    except OrchestrationError as error:  # an unreadable index must not fail the page
        return [f"The age of its source is unknown: {error}."]
    return [f"Source **{each.name}** is {each.text}." for each in found]


def share_of_ingestion(request: Request, values: Mapping[str, Any], settings: Settings) -> Share:
    """The tenant and priority of a run: each source is a separate tenant, with its priority from sources.yaml."""
    if request.pipeline.name not in INGESTIONS:
        return Share()
    source = named_source(values, request.index, settings)
    if source is not None:
        return Share(source.name, source.entry.priority)
    return Share(f"{request.index} {values.get('source')}")


def named_source(values: Mapping[str, Any], index: str, settings: Settings) -> NamedSource | None:
    """The named source that these parameters ingest; None if the source has no name."""
    from handlers.sources import canonical_place

    try:
        root = canonical_place(str(values.get("source") or ""))
        pattern = values.get("pattern") or "**/*"
        return next(
            (
                each
                for each in load_sources(settings).values()
                if (each.root, each.index, each.entry.pattern or "**/*") == (root, index, pattern)
            ),
            None,
        )
    except OrchestrationError:
        return None


def resource_of(source: str) -> str:
    """The Prefect resource id of a source: by its name, or else by its place."""
    return f"braid.source.{source}"


def _notices(source: NamedSource | None, place: str, index: str, result: RunResult) -> Sequence[Notice]:
    balance: Mapping[str, Any] = result.context.data.get("balance") or {}
    root = str(balance.get("source") or place)
    resource = {
        "prefect.resource.id": resource_of(source.name if source is not None else root),
        "prefect.resource.name": source.name if source is not None else root,
        "braid.index": index,
    }
    counts = {name: balance.get(name, 0) for name in ("seen", "processed", "unchanged", "set_aside")}
    left_out = sum(balance.get("left_out", {}).values())
    payload = {**counts, "left_out": left_out, "index": index, "run_id": result.run_id, "status": result.status}
    ended = FAILED if result.status == "failed" else FINISHED
    found = [Notice(ended, resource, payload)]
    if result.failures:
        named = [{"name": each.item, "reason": each.error} for each in result.failures[:_NAMED]]
        found.append(Notice(DOCUMENT_FAILED, resource, {**payload, "count": len(result.failures), "documents": named}))
    most = source.entry.max_set_aside_share if source is not None else None
    if most is not None and counts["set_aside"] > most * max(1, counts["seen"]):
        found.append(Notice(SET_ASIDE, resource, {**payload, "max_set_aside_share": most}))
    if counts["processed"] or ended == FAILED:
        state = "failed" if ended == FAILED else "succeeded"
        asset = {"prefect.resource.id": asset_key(f"braid://index/{index}"), "prefect.resource.name": index}
        upstream = {"prefect.resource.id": asset_key(root), "prefect.resource.role": "asset"}
        found.append(Notice("prefect.asset.referenced", {"prefect.resource.id": asset_key(root)}))
        found.append(Notice(f"prefect.asset.materialization.{state}", asset, payload, [upstream]))
    return found


def asset_key(uri: str) -> str:
    """A URI as the key of a Prefect asset, which has fewer characters and at most 512 of them."""
    return _NOT_IN_KEYS.sub("-", uri)[:512]
