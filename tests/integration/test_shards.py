"""Ingestion in shards on real workers: one worker and the coordinator are killed, and no document is lost or stored twice."""

import asyncio
import os
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own event and log clients leave sockets to the garbage collector when an event loop ends.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]


@pytest.mark.slow
def test_a_killed_worker_and_a_killed_coordinator_leave_every_document_in_one_state(
    tmp_path: Path, postgres_url: str
) -> None:
    from prefect import get_client
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME

    from bench.shards import INDEX, ingest_with_deaths

    environment = {
        **os.environ,
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PREFECT_HOME": str(PREFECT_HOME.value()),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "BRAID_HOME": str(tmp_path / "home"),
        "BRAID_EMBEDDING_MODEL": "hashing",
        "BRAID_DATABASE_URL": postgres_url,
        "BRAID_INDEX_URL": postgres_url,
    }
    ended = ingest_with_deaths(
        tmp_path, environment, documents=100, workers=2, shards=2, kill_coordinator=True, within_s=240
    )
    assert ended.states == {"processed": 98, "failed": 2}
    assert ended.wrong == ()
    assert ended.report["index"] == INDEX
    assert (ended.report["status"], len(ended.report["shards"])) == ("partial", 2)
    counted = [ended.report[name] for name in ("documents", "processed", "unchanged", "failed")]
    assert counted == [100, 98, 0, 2]
    assert ended.report["balance"] | {"run_id": "", "source": "", "details": {}} == {
        "source": "",
        "pattern": "**/*",
        "run_id": "",
        "seen": 100,
        "processed": 98,
        "unchanged": 0,
        "set_aside": 2,
        "left_out": {},
        "details": {},
        "exact": True,
    }
    assert ended.report["restarts"] == 1
    # A passage a document, and not many of them twice: what had been finished was not done again.
    assert 98 <= ended.report["cost"]["chunks"] < 98 + 50

    async def runs() -> list[str]:
        async with get_client() as client:
            only_shards = DeploymentFilter(name=DeploymentFilterName(any_=["ingest-shards"]))
            return [str(run.id) for run in await client.read_flow_runs(deployment_filter=only_shards)]

    # The second coordinator found the runs that the first one had started.
    assert sorted(asyncio.run(runs())) == sorted(shard["flow_run_id"] for shard in ended.report["shards"])
