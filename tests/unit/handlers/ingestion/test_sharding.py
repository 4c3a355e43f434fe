"""The step that ingests in shards: the effect of the report on the run."""

from typing import Any

import pytest

from flows.author import Call
from flows.errors import FatalError
from flows.state import Identity, Services
from handlers.ingestion.sharding import ingest_in_shards


def shard(number: int, status: str = "succeeded", message: str = "", failed: int = 0) -> dict[str, Any]:
    return {"number": number, "status": status, "message": message, "documents": 5, "failed": failed}


def call_with(status: str, *shards: dict[str, Any]) -> Call:
    async def ingestion(parameters: dict[str, Any], shards_: int, **more: Any) -> dict[str, Any]:
        assert (parameters, shards_) == ({"source": "d", "pattern": "*.md"}, 3)
        assert more == {"index": "docs", "work_pool": "big", "tolerated_failure": "1"}
        return {"status": status, "shards": list(shards)}

    return Call(identity=Identity(index="docs", services=Services({"sharded_ingestion": lambda: ingestion})))


async def run(call: Call) -> dict[str, Any]:
    return await ingest_in_shards("d", 3, pattern="*.md", work_pool="big", tolerated_failure="1", call=call)


async def test_shards_that_did_not_succeed_are_set_aside_with_their_reason() -> None:
    call = call_with("partial", shard(1), shard(2, "partial", failed=2), shard(3, "failed", "its process is gone"))
    assert (await run(call))["status"] == "partial"
    assert [(one.item, one.error) for one in call.failures] == [
        ("shard 2", "2 of 5 documents set aside"),
        ("shard 3", "its process is gone"),
    ]


async def test_more_failed_shards_than_tolerated_fail_the_step() -> None:
    call = call_with("failed", shard(1, "failed", "no place left"), shard(2, "failed", "no place left"), shard(3))
    with pytest.raises(FatalError, match="2 of 3 shards failed; first: shard 1: no place left"):
        await run(call)
