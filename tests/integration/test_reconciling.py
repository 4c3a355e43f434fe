"""Flow runs that a crash left Running get the state of the execution that they were in, not that of an earlier one."""

import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from deployments.settings import Settings
from flows.run_store import RunRecord, RunStore

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own event and log clients leave sockets to the garbage collector when an event loop ends.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]

WAITS, RUNS = "waits", "runs"
CASES = {
    "waited for its turn, then ran": (True, [WAITS, RUNS], ["failed"], "Failed"),
    "waited twice, then ran": (True, [WAITS, WAITS, RUNS], ["failed"], "Failed"),
    "ran, and was killed when retried, before it had begun": (True, [RUNS, RUNS], ["failed"], "Crashed"),
    "waited, ran, and was killed when retried": (True, [WAITS, RUNS, RUNS], ["failed"], "Crashed"),
    "waited, ran, was retried and ran": (True, [WAITS, RUNS, RUNS], ["failed", "succeeded"], "Completed"),
    "takes no turns and was killed when retried": (False, [RUNS, RUNS], ["failed"], "Crashed"),
    "ran": (False, [RUNS], ["succeeded"], "Completed"),
}
"""Whether it takes turns; what its processes did, the last of which is gone; its records; the state it should read."""


def record(run_id: str, flow_run_id: str, status: str, started: float) -> RunRecord:
    """The record of an execution whose process is gone: its last heartbeat was long ago."""
    return RunRecord(
        run_id=run_id,
        pipeline="night",
        fingerprint="",
        index="manuals",
        parameters={},
        status=status,
        started=started,
        seconds=1.0,
        flow_run_id=flow_run_id,
        host="elsewhere",
        heartbeat=started,
    )


@pytest.mark.parametrize("case", CASES)
async def test_the_state_is_that_of_the_current_execution(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect import flow, get_client
    from prefect.states import Pending, Running, Scheduled

    from deployments.server import reconciling
    from flows.translator import WAITING, Overlap

    monkeypatch.setattr(reconciling, "GRACE_S", 0.0)

    takes_turns, processes, statuses, expected = CASES[case]

    @flow(name=f"night-{uuid4().hex[:8]}")
    def night() -> None: ...

    settings = Settings(home=tmp_path / "home")
    tags = ["braid", *([Overlap("enqueue", 1).tag] if takes_turns else [])]
    async with get_client() as client:
        flow_id = await client.create_flow(night)
        deployment = await client.create_deployment(flow_id, "night", tags=tags, entrypoint="x.py:x")
        made = await client.create_flow_run_from_deployment(deployment)

        async def reach(state: Any) -> None:
            await client.set_flow_run_state(made.id, state, force=True)

        for did in processes:
            await reach(Pending())
            await reach(Running())
            if did == WAITS:
                await reach(Scheduled(name=WAITING))
        store = RunStore(settings.run_store_url)
        for number, status in enumerate(statuses):
            store.start(record(f"run-{number}", str(made.id), status, started=time.time() - 200 + number))
        store.close()
        found = await reconciling.reconcile(client, settings, repair=True, local=True)
        state = (await client.read_flow_run(made.id)).state
    assert state is not None
    assert state.name == expected
    assert [one.text.rpartition(" was ")[2] for one in found if made.name in one.text] == [
        f"Running and is {expected} now"
    ]
