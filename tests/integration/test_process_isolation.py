"""`isolation: process` under Prefect: hanging calls are killed at a timeout or a stop, and the states show it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.author import Registry, handler, spec_of
from flows.calling.processes import stop_processes
from flows.errors import FatalError
from tests.integration.test_translator import flow_state, run, task_states
from tests.support import process_handlers
from tests.unit.flows.calling.test_processes import lives, until

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own event and log clients leave sockets to the garbage collector when an event loop ends.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]


@pytest.fixture
def registry() -> Iterator[Registry]:
    own = (process_handlers.tell_pid, process_handlers.stuck)
    stop_processes()
    yield Registry({spec.name: spec for spec in map(spec_of, own) if spec is not None})
    stop_processes()


def test_what_hangs_is_killed_and_the_next_calls_work(registry: Registry, tmp_path: Path) -> None:
    @handler(registry=registry)
    async def breaks_when_the_other_hangs() -> None:
        while not list(others.iterdir()):
            await asyncio.sleep(0.02)
        raise FatalError("broken")

    def tell(name: str) -> dict[str, Any]:
        return {"handler": "tell_pid", "id": name, "writes": {"worker_pid": name}}

    def hang(name: str, folder: Path, **rest: Any) -> dict[str, Any]:
        return {"handler": "stuck", "id": name, "options": {"how": "gil", "folder": str(folder)}, **rest}

    mine, others = tmp_path / "mine", tmp_path / "others"
    mine.mkdir()
    others.mkdir()
    steps = [
        # The worker of the first step serves the second, so it is that one which is killed.
        tell("first"),
        {"parallel": [hang("hangs", mine, timeout_s=1.5)], "policy": "best_effort"},
        tell("second"),
        {
            "parallel": [hang("stopped", others), {"handler": "breaks_when_the_other_hangs", "id": "breaks"}],
            "policy": {"on_branch_failure": "cancel", "success_when": "always"},
        },
        tell("third"),
    ]
    result, name = run(steps, registry, {"text": "hello"})
    assert {key: state for key, (state, _) in task_states(name, expect=6).items()} == {
        "first": "Completed",
        "hangs": "TimedOut",
        "second": "Completed",
        "stopped": "Cancelled",
        "breaks": "Failed",
        "third": "Completed",
    }
    assert (result.status, flow_state(name).name) == ("partial", "PartialSuccess")
    ended = {outcome.id: outcome.status for outcome in result.outcomes if outcome.is_leaf}
    assert (ended["hangs"], ended["stopped"]) == ("timed_out", "cancelled")
    pids = [result.context.data[step] for step in ("first", "second", "third")]
    assert len(set(pids)) == 3
    until(lambda: not any(lives(pid) for pid in pids[:2]), "what hung goes on")
