"""On a server with a worker: the automation marks flow runs whose process was killed."""

import asyncio
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from tests.support.killed_process import run_and_kill
from tests.support.operated import Operated

pytestmark = [
    # Prefect's own event and log clients leave sockets to the garbage collector when an event loop ends.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]


def test_the_automation_marks_a_flow_run_whose_process_was_killed(
    operated: Operated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect import get_client

    from deployments.server.automations import MESSAGE, install_zombie_automation
    from deployments.settings import load_settings
    from flows.run_store import RunStore

    async def install(tag: str, silent_s: float | None = None) -> None:
        async with get_client() as client:
            await install_zombie_automation(client, tag=tag, silent_s=silent_s)

    with operated.connected():
        asyncio.run(install("dying", 10))
        try:
            for name in ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"):
                monkeypatch.setenv(name, operated.server.environment[name])
            monkeypatch.setenv("BRAID_HOME", str(tmp_path / "home"))
            run_and_kill("prefect", tmp_path, tag="dying")
            with closing(RunStore(load_settings().run_store_url)) as store:
                (record,) = store.running()
            run = operated.wait(UUID(str(record.flow_run_id)))
        finally:
            asyncio.run(install("braid"))
    assert (run.state.name, run.state.message) == ("Crashed", MESSAGE)
