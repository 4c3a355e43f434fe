"""`ingest --shards`: list once, split the list into shards, run them on a work pool, and report."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from deployments.runs import Request, load_handlers, make_services, making_by, open_run_store
from deployments.setting_values import index_name
from deployments.settings import WORK_POOL, Settings
from deployments.shards.flow_runs import ConnectShards
from deployments.shards.listing import list_documents, read_listing
from deployments.shards.report import CombinedReport, make_report
from deployments.shards.tracks import Track, Tracks
from deployments.shards.watch import Announce, run_shards
from flows.author import Call
from flows.model import InvalidParameters, Tolerance, check_parameters
from flows.state import Identity, Services
from flows.storage import Storage
from handlers.ingestion import note_balance, note_making
from handlers.sources import STRICT, canonical_place
from handlers.stores import IndexStore

PIPELINE = "ingest"
_OF_THE_LISTING = ("source", "pattern", "exclude", "tags", "strict")
"""Parameters that only affect the listing, so they are not passed to the shards."""
_NEEDS_ALL = ("prune", "max_prune_share")


@dataclass(frozen=True)
class Sharding:
    """The number of shards, their work pool, and how many may fail."""

    shards: int
    work_pool: str = WORK_POOL
    tolerated: Tolerance = field(default_factory=lambda: Tolerance(count=0))


async def ingest_in_shards(
    request: Request,
    sharding: Sharding,
    *,
    settings: Settings,
    connect: ConnectShards,
    announce: Announce = lambda line: None,
) -> CombinedReport:
    """The report of an ingestion in at most `sharding.shards` runs, each with the ceiling and budget of the request.

    A sharded ingestion with the same source, index, parameters and number of shards that has not ended is continued.

    Raises:
        InvalidParameters: they do not fit the pipeline, or need all documents in one run.
        FatalError: there is nothing to ingest.
    """
    began = time.monotonic()
    load_handlers(settings)
    values = check_parameters(request.pipeline, request.parameters)
    refused = [name for name in _NEEDS_ALL if request.parameters.get(name) not in (None, False)]
    if refused:
        raise InvalidParameters(
            f"{', '.join(refused)} needs to see all documents at once, and a shard does not; ingest with shards first, "
            "then once without them and with prune: unchanged documents are not processed again"
        )
    services = make_services(settings, request.index)
    try:
        storage: Storage = services["storage"]
        track = _find_or_begin(request, sharding.shards, values, settings, services, announce)
        async with connect(_shared_by_shards(request), sharding.work_pool) as server:
            with open_run_store(settings) as store:
                runs = await run_shards(server, track, store=store, announce=announce)
        index_store: IndexStore = services["index_store"]
        report = make_report(
            track,
            runs,
            read_listing(values, index_store),
            index=request.index,
            store=index_store,
            storage=storage,
            tolerated=sharding.tolerated,
            seconds=time.monotonic() - began,
        )
        note_balance(report.balance, index_store)
        note_making(index_store, making_by(request.pipeline, values), source=report.balance.source)
        track.finish(storage)
        if values.get("strict") and report.status == "succeeded" and any(map(report.balance.left_out.get, STRICT)):
            return replace(report, status="partial")
        return report
    finally:
        services.close()


def _find_or_begin(
    request: Request,
    shards: int,
    values: Mapping[str, Any],
    settings: Settings,
    services: Services,
    announce: Announce,
) -> Track:
    """The unfinished track of the same command, else a new one."""
    storage: Storage = services["storage"]
    root = Storage.join(settings.artifacts_root, index_name(request.index))
    command = {**values, "source": canonical_place(values["source"])}
    tracks = Tracks(storage, root, {"parameters": command, "shards": shards, "index": request.index})
    track = tracks.unfinished()
    if track is not None:
        announce(f"continuing {track.id}: {len(track.shards)} shards")
        return track
    call = Call("list", identity=Identity(PIPELINE, "", request.index, services))
    track = tracks.begin(list_documents(values, call), shards)
    documents = sum(shard.documents for shard in track.shards)
    announce(f"{track.id}: {documents} documents in {len(track.shards)} shards")
    return track


def _shared_by_shards(request: Request) -> Request:
    """The common request of all shards; each shard only has a different source."""
    dropped = (*_OF_THE_LISTING, *_NEEDS_ALL)
    kept = {name: value for name, value in request.parameters.items() if name not in dropped}
    return replace(request, parameters=kept)


def read_tolerance(text: str | None) -> Tolerance:
    """`2` or `10%` as a tolerance; without a text, no shard may fail.

    Raises:
        InvalidParameters: it is neither.
    """
    value: Any = int(text) if text is not None and text.strip().isdigit() else text
    try:
        return Tolerance.model_validate(0 if value is None else value)
    except ValueError:
        raise InvalidParameters(
            f"tolerated failure: write a number of shards or a share such as 10%, not {text!r}"
        ) from None
