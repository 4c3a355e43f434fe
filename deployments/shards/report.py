"""The report of a sharded ingestion: one line per shard and one for all, counted in the index."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from deployments.screen import STATUS_STYLE, plain_table
from deployments.shards.tracks import Track
from deployments.shards.watch import ShardRun, ShardStatus
from flows.author import RunStatus, add_up, cost_text
from flows.model import Tolerance
from flows.state import chunked
from flows.storage import Storage
from handlers.sources import read_manifest
from handlers.stores import IndexReader


@dataclass(frozen=True)
class ShardReport:
    """How a shard ended, and where its documents stand in the index: each is processed, failed or missing."""

    number: int
    flow_run_id: str
    status: ShardStatus
    message: str
    documents: int
    processed: int
    failed: int
    """Set aside with a reason."""
    missing: int
    """Not, or not completely, in the index."""
    bytes: int
    seconds: float
    cost: Mapping[str, float]
    restarts: int


@dataclass(frozen=True)
class CombinedReport:
    """How all shards together ended."""

    track: str
    index: str
    status: RunStatus
    shards: tuple[ShardReport, ...]
    seconds: float
    """From the command's start to its end; the shards' own add up to more."""

    def total(self, name: str) -> Any:
        return sum(getattr(shard, name) for shard in self.shards)

    @property
    def cost(self) -> dict[str, float]:
        return add_up(shard.cost for shard in self.shards)


def make_report(
    track: Track,
    runs: Sequence[ShardRun],
    *,
    index: str,
    store: IndexReader,
    storage: Storage,
    tolerated: Tolerance,
    seconds: float,
) -> CombinedReport:
    """The report: `failed` if more shards failed than tolerated, `partial` if any shard or document did not succeed."""
    shards = tuple(_shard(run, store, storage) for run in runs)
    failed = sum(1 for shard in shards if shard.status == "failed")
    status: RunStatus = "succeeded"
    if tolerated.exceeded(failed, len(shards)):
        status = "failed"
    elif any(shard.status != "succeeded" or shard.failed or shard.missing for shard in shards):
        status = "partial"
    return CombinedReport(track.id, index, status, shards, seconds)


def _shard(run: ShardRun, store: IndexReader, storage: Storage) -> ShardReport:
    ids = [file.document_id for file in read_manifest(storage, run.shard.source)]
    states = Counter[str]()
    for some in chunked(ids):
        states.update(row.status for row in store.known(some).values())
    assert run.status is not None, "a report is made when all shards have ended"
    processed, failed = states["processed"], states["failed"]
    return ShardReport(
        number=run.shard.number,
        flow_run_id=run.flow_run_id,
        status=run.status,
        message=run.message if run.status == "failed" else "",
        documents=len(ids),
        processed=processed,
        failed=failed,
        missing=len(ids) - processed - failed,
        bytes=run.shard.bytes,
        seconds=run.seconds,
        cost=dict(run.cost),
        restarts=run.restarts,
    )


def report_json(report: CombinedReport) -> dict[str, Any]:
    names = ("documents", "processed", "failed", "missing", "bytes", "restarts")
    return {
        "track": report.track,
        "index": report.index,
        "status": report.status,
        "seconds": report.seconds,
        **{name: report.total(name) for name in names},
        "busy_seconds": report.total("seconds"),
        "cost": report.cost,
        "shards": [asdict(shard) for shard in report.shards],
    }


def report_tables(report: CombinedReport) -> RenderableType:
    """A table with a row per shard and one for all, and the messages of those that failed."""
    numbers = ("documents", "processed", "failed", "missing", "restarts", "seconds")
    table = plain_table("shard", "ended", *numbers, "cost", right=numbers)
    for shard in report.shards:
        table.add_row(str(shard.number), Text(shard.status, STATUS_STYLE[shard.status]), *_cells(shard))
    everything = [str(report.total(name)) for name in ("documents", "processed", "failed", "missing", "restarts")]
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
    return Group(head, table, *causes)


def _cells(shard: ShardReport) -> list[str]:
    counts = (shard.documents, shard.processed, shard.failed, shard.missing, shard.restarts)
    return [*map(str, counts), f"{shard.seconds:.1f}", cost_text(shard.cost)]
