"""What `--shards` refuses before anything is started."""

import asyncio
import uuid
from pathlib import Path

import pytest

from deployments.catalog import load_catalog
from deployments.runs import InvalidParameters
from deployments.settings import Settings
from deployments.shards.ingest import ingest_in_shards, read_tolerance
from flows.model import Tolerance


@pytest.mark.parametrize(
    ("text", "tolerance"), [(None, Tolerance(count=0)), ("2", Tolerance(count=2)), ("10%", Tolerance(ratio=0.1))]
)
def test_a_tolerance_is_a_number_or_a_share(text: str | None, tolerance: Tolerance) -> None:
    assert read_tolerance(text) == tolerance


@pytest.mark.parametrize("text", ["few", "-1", "200%", "x%", "1.5"])
def test_another_tolerance_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameters, match="tolerated failure: write a number of shards or a share such as 10%"):
        read_tolerance(text)


def test_pruning_is_refused_with_the_way_to_do_it(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    given = {"source": str(tmp_path), "prune": True}
    with pytest.raises(InvalidParameters, match="prune needs to see all documents at once.*then once without them"):
        asyncio.run(ingest_in_shards(given, 2, settings=settings, catalog=load_catalog(settings)))


async def test_a_server_that_fails_for_a_while_is_asked_again_and_no_shard_is_started_twice() -> None:
    import httpx
    from prefect.client.schemas.objects import FlowRun
    from prefect.states import Completed

    import deployments.shards.watch as sharding
    from deployments.shards.tracks import Shard, Track

    answers = [500, 200, 503, 200, 502]
    keys: list[str] = []
    known: dict[str, FlowRun] = {}

    class Server:
        """Answers as Prefect's client does, or fails as it does."""

        def _answer(self) -> None:
            code = answers.pop(0) if answers else 200
            request = httpx.Request("POST", "http://127.0.0.1/api")
            httpx.Response(code, request=request).raise_for_status()

        async def create_flow_run_from_deployment(self, _: object, *, idempotency_key: str, **more: object) -> FlowRun:
            self._answer()
            keys.append(idempotency_key)
            return known.setdefault(idempotency_key, FlowRun(flow_id=uuid.uuid4(), state=Completed()))

        async def read_flow_runs(self, **_: object) -> list[FlowRun]:
            self._answer()
            return list(known.values())

    class NoRecords:
        def of_flow_run(self, _: str) -> None:
            return None

    told: list[str] = []
    track = Track("t", tuple(Shard(n, f"manifest:{n}", 1, 1) for n in (1, 2)), "memory://t")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "EVERY_S", 0.0)
        runs = await sharding.run_shards(
            Server(),  # type: ignore[arg-type]
            track,
            deployment_id=uuid.uuid4(),
            parameters={},
            store=NoRecords(),  # type: ignore[arg-type]
            told=told.append,
        )
    assert [run.status for run in runs] == ["succeeded", "succeeded"]
    assert keys == ["braid-t-1", "braid-t-2"]
    assert answers == []
    assert sum("does not answer" in line for line in told) == 1  # all in one stretch
