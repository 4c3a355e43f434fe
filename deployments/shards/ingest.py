"""`ingest --shards`: list once, part the listing, run the shards on the work pool, report."""

import logging
import time
from collections.abc import Mapping
from typing import Any

from deployments.catalog import Catalog, load_catalog
from deployments.runs import InvalidParameters, check_parameters, load_handlers, make_services
from deployments.settings import Settings, index_name
from deployments.shards.report import Report, make_report, report_json
from deployments.shards.tracks import Track, Tracks
from deployments.shards.watch import Told, run_shards
from flows.author import Call
from flows.model import Tolerance
from flows.state import Identity, Services
from flows.storage import Storage
from handlers.sources import list_sources

logger = logging.getLogger("handlers.ingestion.sharding")
PIPELINE = "ingest"
_OF_THE_LISTING = ("source", "pattern", "exclude", "tags")
"""Parameters that are used up when the documents are listed."""
_NEEDS_ALL = ("prune", "max_prune_share")


async def ingest_in_shards(
    given: Mapping[str, Any],
    shards: int,
    *,
    settings: Settings,
    catalog: Catalog,
    index: str = "default",
    work_pool: str | None = None,
    tolerated: Tolerance | None = None,
    max_workers: int | None = None,
    budget: Mapping[str, float] | None = None,
    told: Told = lambda line: None,
) -> Report:
    """Ingest with the pipeline `ingest` in at most `shards` runs on the server that Prefect is connected to.

    What the same call began and did not end is continued. `max_workers` and `budget` are those of each shard.

    Raises:
        InvalidParameters: they do not fit the pipeline, or need to see all documents at once.
        FatalError: there is nothing to ingest.
    """
    from prefect import get_client

    from deployments.server.deploying import POOL, deploy_for_shards
    from flows.run_store import RunStore

    began = time.monotonic()
    load_handlers(settings)
    loaded = catalog.find(PIPELINE)
    values = check_parameters(loaded.pipeline, given)
    refused = [name for name in _NEEDS_ALL if given.get(name) not in (None, False)]
    if refused:
        raise InvalidParameters(
            f"{', '.join(refused)} needs to see all documents at once, which no shard does; ingest with shards first, "
            "then once without them and with prune: that processes nothing again"
        )
    services = make_services(settings, index)
    store = RunStore(settings.run_store_url)
    try:
        storage: Storage = services["storage"]
        root = Storage.join(settings.artifacts_root, index_name(index))
        command = {**values, "source": Storage.join(values["source"])}
        tracks = Tracks(storage, root, {"parameters": command, "shards": shards, "index": index})
        track = tracks.unfinished()
        if track is not None:
            told(f"continuing {track.id}: {len(track.shards)} shards")
        else:
            track = _begin(tracks, values, shards, index, services)
            documents = sum(shard.documents for shard in track.shards)
            told(f"{track.id}: {documents} documents in {len(track.shards)} shards")
        parameters = _of_a_shard(given, index, max_workers, budget or {})
        async with get_client() as client:
            deployment_id = await deploy_for_shards(client, loaded, catalog, work_pool or POOL)
            runs = await run_shards(
                client, track, deployment_id=deployment_id, parameters=parameters, store=store, told=told
            )
        report = make_report(
            track,
            runs,
            index=index,
            store=services["index_store"],
            storage=storage,
            tolerated=tolerated or Tolerance(count=0),
            seconds=time.monotonic() - began,
        )
        track.finish(storage)
        return report
    finally:
        store.close()
        services.close()


def _begin(tracks: Tracks, values: Mapping[str, Any], shards: int, index: str, services: Services) -> Track:
    call = Call("list", identity=Identity(PIPELINE, "", index, services))
    listed = {name: values[name] for name in ("pattern", "exclude", "tags") if values.get(name) is not None}
    return tracks.begin(list_sources(values["source"], **listed, call=call), shards)


def _of_a_shard(
    given: Mapping[str, Any], index: str, max_workers: int | None, budget: Mapping[str, float]
) -> dict[str, Any]:
    from deployments.server.deployed import BUDGETS

    known = [control.name.removeprefix("budget_") for control in BUDGETS]
    unknown = [unit for unit in budget if unit not in known]
    if unknown:
        raise InvalidParameters(f"a shard's budget cannot be in {', '.join(unknown)}, only in {', '.join(known)}")
    kept = {name: value for name, value in given.items() if name not in (*_OF_THE_LISTING, *_NEEDS_ALL)}
    ceiling = {} if max_workers is None else {"max_concurrency": max_workers}
    return {**kept, "index": index, **ceiling, **{f"budget_{unit}": amount for unit, amount in budget.items()}}


class ShardedIngestion:
    """The service of the handler `ingest_in_shards`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def __call__(
        self, parameters: Mapping[str, Any], shards: int, *, index: str, work_pool: str, tolerated_failure: str
    ) -> dict[str, Any]:
        tolerated = read_tolerance(tolerated_failure)
        report = await ingest_in_shards(
            parameters,
            shards,
            settings=self._settings,
            catalog=load_catalog(self._settings),
            index=index,
            work_pool=work_pool,
            tolerated=tolerated,
            told=lambda line: logger.info("%s", line),
        )
        return report_json(report)


def read_tolerance(text: str | None) -> Tolerance:
    """`2` or `10%` as a tolerance; none if nothing is said.

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
