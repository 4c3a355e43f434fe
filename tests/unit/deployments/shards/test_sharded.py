"""`--shards`: requests that are refused, and a server that fails or refuses while shards are watched."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Completed

from deployments.catalog import load_catalog
from deployments.runs import Request
from deployments.server.shard_runs import PrefectShards
from deployments.settings import Settings
from deployments.shards import Sharding, ingest_in_shards, read_tolerance
from deployments.shards.tracks import Shard, Track
from deployments.shards.watch import ShardRun, run_shards
from flows.errors import OrchestrationError
from flows.model import InvalidParameters, Tolerance


@pytest.mark.parametrize(
    ("text", "tolerance"), [(None, Tolerance(count=0)), ("2", Tolerance(count=2)), ("10%", Tolerance(ratio=0.1))]
)
def test_a_tolerance_is_a_number_or_a_share(text: str | None, tolerance: Tolerance) -> None:
    assert read_tolerance(text) == tolerance


@pytest.mark.parametrize("text", ["few", "-1", "200%", "x%", "1.5"])
def test_another_tolerance_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameters, match="tolerated failure: write a number of shards or a share such as 10%"):
        read_tolerance(text)


async def test_pruning_is_refused_with_the_way_to_do_it(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    request = Request(load_catalog(settings).find("ingest"), {"source": str(tmp_path), "prune": True})

    def connect(request: Request, work_pool: str) -> Any:
        raise AssertionError("nothing is started")

    with pytest.raises(InvalidParameters, match="prune needs to see all documents at once.*then once without them"):
        await ingest_in_shards(request, Sharding(2), settings=settings, connect=connect)


class ServerOfShards:
    """A client of Prefect whose server answers with the status codes `answers`; every flow run has completed."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers = list(answers)
        self.keys: list[str] = []
        self._known: dict[str, FlowRun] = {}

    def _answer(self) -> None:
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        httpx.Response(answer, request=httpx.Request("POST", "http://127.0.0.1/api")).raise_for_status()

    async def create_flow_run_from_deployment(self, _: object, *, idempotency_key: str, **more: object) -> FlowRun:
        self._answer()
        self.keys.append(idempotency_key)
        return self._known.setdefault(idempotency_key, FlowRun(flow_id=uuid.uuid4(), state=Completed()))

    async def read_flow_runs(self, **_: object) -> list[FlowRun]:
        self._answer()
        return list(self._known.values())


class NoRecords:
    def of_flow_run(self, _: str) -> None:
        return None


async def watch_two(server: ServerOfShards, announce: Callable[[str], None] = lambda line: None) -> list[ShardRun]:
    track = Track("t", tuple(Shard(n, f"manifest:{n}", 1, 1) for n in (1, 2)), "memory://t")
    shards = PrefectShards(server, uuid.uuid4(), {})  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deployments.shards.watch.EVERY_S", 0.0)
        return await run_shards(shards, track, store=NoRecords(), announce=announce)  # type: ignore[arg-type]


async def test_a_server_that_fails_for_a_while_is_asked_again_and_no_shard_is_started_twice() -> None:
    lines: list[str] = []
    server = ServerOfShards(500, 200, 503, 200, httpx.ReadTimeout(""), 502)
    runs = await watch_two(server, lines.append)
    assert [run.status for run in runs] == ["succeeded", "succeeded"]
    assert server.keys == ["braid-t-1", "braid-t-2"]
    assert server.answers == []
    assert sum("does not answer" in line for line in lines) == 1  # all in one stretch


async def test_a_server_that_refuses_is_not_asked_again() -> None:
    with pytest.raises(OrchestrationError, match=r"404.*the shards go on: repeat the command to watch them"):
        await watch_two(ServerOfShards(200, 404))
