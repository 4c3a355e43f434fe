"""`ingest_in_shards`: an ingestion in several deployment runs, as one step of a run that waits for them."""

from typing import Any, Protocol

from flows.author import Call, handler
from flows.errors import FatalError


class ShardedIngestionService(Protocol):
    """The service `sharded_ingestion`."""

    async def __call__(
        self, parameters: dict[str, Any], shards: int, *, index: str, work_pool: str, tolerated_failure: str
    ) -> dict[str, Any]:
        """Run the shards and return the report as JSON; an unfinished ingestion is continued."""
        ...


@handler(writes="report", effects=("index.documents", "index.vectors", "index.terms", "index.graph"))
async def ingest_in_shards(
    source: str,
    shards: int = 4,
    *,
    pattern: str = "**/*",
    work_pool: str = "braid",
    tolerated_failure: str = "0",
    call: Call,
) -> dict[str, Any]:
    """Ingest `source` in at most `shards` runs on a work pool, and return one report; repeating the call is safe.

    The report contains the cost of the shards, which is not part of the cost of this call.

    Raises:
        FatalError: more shards failed than tolerated.
    """
    ingest: ShardedIngestionService = call.services["sharded_ingestion"]
    report = await ingest(
        {"source": source, "pattern": pattern},
        shards,
        index=call.index,
        work_pool=work_pool,
        tolerated_failure=tolerated_failure,
    )
    failed = [shard for shard in report["shards"] if shard["status"] == "failed"]
    if report["status"] == "failed":
        first = f"; first: shard {failed[0]['number']}: {failed[0]['message']}" if failed else ""
        raise FatalError(f"{len(failed)} of {len(report['shards'])} shards failed{first}")
    for shard in report["shards"]:
        if shard["status"] != "succeeded":
            aside = f"{shard['failed']} of {shard['documents']} documents set aside"
            call.fail_item(f"shard {shard['number']}", shard["message"] or aside)
    return report
