"""The report of a sharded ingestion: one line per shard and one for all, which add up to the balance of the source."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from deployments.screen import STATUS_STYLE, balance_table, plain_table
from deployments.shards.listing import SourceListing
from deployments.shards.tracks import Track
from deployments.shards.watch import ShardRun, ShardStatus
from flows.author import RunStatus, add_up, cost_text
from flows.model import Tolerance
from flows.state import chunked
from flows.storage import Storage
from handlers.ingestion import Balance, add_balances, balance_uri
from handlers.sources import read_manifest
from handlers.stores import FailedDocument, IndexStore


@dataclass(frozen=True)
class ShardReport:
    """The result of a shard, with the counts of its documents: each is processed, unchanged or failed."""

    number: int
    flow_run_id: str
    status: ShardStatus
    message: str
    documents: int
    processed: int
    unchanged: int
    failed: int
    """Documents that were set aside with a reason."""
    bytes: int
    seconds: float
    cost: Mapping[str, float]
    restarts: int


@dataclass(frozen=True)
class CombinedReport:
    """The combined result of all shards."""

    track: str
    index: str
    status: RunStatus
    shards: tuple[ShardReport, ...]
    seconds: float
    """Elapsed seconds of the command; the sum over the shards is larger."""
    balance: Balance

    def total(self, name: str) -> Any:
        return sum(getattr(shard, name) for shard in self.shards)

    @property
    def cost(self) -> dict[str, float]:
        return add_up(shard.cost for shard in self.shards)


def make_report(
    track: Track,
    runs: Sequence[ShardRun],
    listing: SourceListing,
    *,
    index: str,
    store: IndexStore,
    storage: Storage,
    tolerated: Tolerance,
    seconds: float,
) -> CombinedReport:
    """The report: `failed` if more shards failed than tolerated, `partial` if any shard or document did not succeed."""
    balances = [_balance(run, store, storage) for run in runs]
    shards = tuple(_shard(run, balance) for run, balance in zip(runs, balances, strict=True))
    failed = sum(1 for shard in shards if shard.status == "failed")
    status: RunStatus = "succeeded"
    if tolerated.exceeded(failed, len(shards)):
        status = "failed"
    elif any(shard.status != "succeeded" or shard.failed for shard in shards):
        status = "partial"
    seen = sum(listing.left_out.values())
    listed = Balance(listing.uri, listing.pattern, track.id, seen=seen, left_out=listing.left_out)
    balance = add_balances(listing.uri, listing.pattern, track.id, [listed, *balances])
    return CombinedReport(track.id, index, status, shards, seconds, balance)


def _balance(run: ShardRun, store: IndexStore, storage: Storage) -> Balance:
    """The balance that the run of a shard recorded; if it was lost, one made from the index."""
    uri = balance_uri(run.shard.source)
    if storage.exists(uri):
        return Balance.from_json(json.loads(storage.read(uri)))
    processed = set_aside = 0
    reason = f"was not ingested: shard {run.shard.number} ended before ({run.message or run.status})"
    for some in chunked(read_manifest(storage, run.shard.source)):
        known = store.known([each.document_id for each in some])
        lost: list[FailedDocument] = []
        for each in some:
            row = known.get(each.document_id)
            is_done = row is not None and row.status == "processed" and row.run_id in run.run_ids
            processed += is_done
            set_aside += not is_done
            if row is None or row.status == "pending":
                lost.append(FailedDocument(each.document_id, each.name, each.uri, reason))
        store.put_failures(lost, run_id=run.run_ids[-1] if run.run_ids else "")
    return Balance(run.shard.source, seen=run.shard.documents, processed=processed, set_aside=set_aside)


def _shard(run: ShardRun, balance: Balance) -> ShardReport:
    assert run.status is not None, "a report is made when all shards have ended"
    return ShardReport(
        number=run.shard.number,
        flow_run_id=run.flow_run_id,
        status=run.status,
        message=run.message if run.status == "failed" else "",
        documents=balance.seen,
        processed=balance.processed,
        unchanged=balance.unchanged,
        failed=balance.set_aside,
        bytes=run.shard.bytes,
        seconds=run.seconds,
        cost=dict(run.cost),
        restarts=run.restarts,
    )


def report_json(report: CombinedReport) -> dict[str, Any]:
    names = ("documents", "processed", "unchanged", "failed", "bytes", "restarts")
    return {
        "track": report.track,
        "index": report.index,
        "status": report.status,
        "seconds": report.seconds,
        **{name: report.total(name) for name in names},
        "busy_seconds": report.total("seconds"),
        "cost": report.cost,
        "balance": report.balance.to_json(),
        "shards": [asdict(shard) for shard in report.shards],
    }


def report_tables(report: CombinedReport) -> RenderableType:
    """A table with a row per shard and one for all, the messages of those that failed, and the balance."""
    numbers = ("documents", "processed", "unchanged", "failed", "restarts", "seconds")
    table = plain_table("shard", "ended", *numbers, "cost", right=numbers)
    for shard in report.shards:
        table.add_row(str(shard.number), Text(shard.status, STATUS_STYLE[shard.status]), *_cells(shard))
    everything = [str(report.total(name)) for name in numbers[:-1]]
    table.add_row(
        "all",
        Text(report.status, STATUS_STYLE[report.status]),
        *everything,
        f"{report.total('seconds'):.1f}",
        cost_text(report.cost),
    )
    head = Text.assemble(
        ("sharded ingestion ", "bold"),
        f"{report.track}: ",
        (report.status, STATUS_STYLE[report.status]),
        f" in {report.seconds:.1f} s",
    )
    causes = [Text(f"shard {shard.number}: {shard.message}", "red") for shard in report.shards if shard.message]
    return Group(head, table, *causes, balance_table([report.balance.to_json()]))


def _cells(shard: ShardReport) -> list[str]:
    counts = (shard.documents, shard.processed, shard.unchanged, shard.failed, shard.restarts)
    return [*map(str, counts), f"{shard.seconds:.1f}", cost_text(shard.cost)]
