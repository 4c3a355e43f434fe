"""The run store: written as a run goes on, by several processes at once, and nothing lost."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from flows.calls import Call
from flows.context import Context, Identity
from flows.engine import run_plan
from flows.errors import FatalError
from flows.planner import make_plan
from flows.registry import Registry, handler
from flows.run_store import RecordingObserver, RunRecord, RunStore
from flows.steps import Pipeline

WRITER = """
import sys
from flows.results import Outcome
from flows.run_store import RunRecord, RunStore
store, run_id = RunStore(sys.argv[1]), sys.argv[2]
store.start(RunRecord(run_id, "p", "f", "default", {}, "running", 1.0))
for number in range(25):
    store.add(run_id, [Outcome(f"{number}", f"{number}.step", "step", "succeeded", 1.0, 0.5, 1)])
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'state' / 'runs.db'}"


def test_a_run_is_there_with_its_outcomes_costs_and_errors(url: str) -> None:
    registry = Registry()

    @handler(registry=registry)
    def good(*, call: Call) -> None:
        call.report_cost(tokens=7)
        call.fail_item("a.pdf", "no text")

    @handler(registry=registry)
    def bad() -> None:
        raise FatalError("broken")

    pipeline = Pipeline.model_validate({"name": "p", "steps": ["good", {"parallel": ["bad"], "policy": "best_effort"}]})
    plan = make_plan(pipeline, registry=registry)
    store = RunStore(url)
    observer = RecordingObserver(store, index="docs", parameters={"source": Path("x")})
    result = asyncio.run(run_plan(plan, Context(identity=Identity("p", "run-1", "docs")), observer=observer))
    assert store.recent()[0].status == "running"
    observer.close(result)
    record = store.get("run-")
    assert record is not None
    assert (record.status, record.index, record.parameters, record.cost) == (
        "partial",
        "docs",
        {"source": "x"},
        {"tokens": 7},
    )
    rows = store.outcomes("run-1")
    assert [(row["path"], row["status"]) for row in rows] == [("0", "succeeded"), ("1", "succeeded"), ("1.0", "failed")]
    assert rows[0]["failures"] == [{"item": "a.pdf", "error": "no text", "step_id": "0.good"}]
    assert rows[2]["error"]["message"] == "broken"
    store.close()


def test_an_ambiguous_beginning_of_an_id_finds_nothing(url: str) -> None:
    store = RunStore(url)
    for run_id in ("ab1", "ab2", "a"):
        store.start(RunRecord(run_id, "p", "f", "default", {}, "running", 1.0))
    assert store.get("ab") is None
    exact = store.get("a")
    assert exact is not None
    assert exact.run_id == "a"
    assert store.get("nothing") is None
    store.close()


def test_twenty_processes_on_one_file_lose_nothing(url: str) -> None:
    RunStore(url).close()
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, url, f"run-{number}"]) for number in range(20)]
    assert [writer.wait(timeout=200) for writer in writers] == [0] * 20
    store = RunStore(url)
    assert len(store.recent()) == 20
    assert {len(store.outcomes(record.run_id)) for record in store.recent()} == {25}
    store.close()
