"""The run store: written during a run, by several processes at once, without losses."""

import asyncio
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from flows.author import Call, Registry, handler
from flows.calling import CallResult
from flows.engine import FinishedCall, Prepared, choose_batch_size, item_seconds, run_plan
from flows.errors import FatalError
from flows.model import Pipeline
from flows.planning import make_plan
from flows.run_store import (
    NewerRunStore,
    Recorder,
    RunRecord,
    RunStore,
    RunStoreFailed,
    StoredCall,
    database,
    open_database,
    pack,
)
from flows.run_store.database import HEAD
from flows.run_store.tables import metadata
from flows.running import run
from flows.state import Context, Identity

WRITERS = """
import os
import sys
from flows.calling import CallResult
from flows.engine import FinishedCall
from flows.author import Outcome
from flows.model import StepPath
from flows.run_store import RunRecord, RunStore, pack


def write(run_id):
    store = RunStore(sys.argv[1])
    store.start(RunRecord(run_id, "p", "f", "default", {}, "running", 1.0))
    for number in range(25):
        kept = pack(FinishedCall("chained", "own", CallResult((), number)))
        outcome = Outcome(
            path=StepPath(f"{number}"), id=f"{number}.step", kind="step", status="succeeded",
            started=1.0, seconds=0.5, attempts=1,
        )
        store.write(run_id, run_id, ended=[outcome], keep={f"{number}.step": kept})


for number in range(20):
    if os.fork() == 0:
        write(f"run-{number}")
        os._exit(0)
for _ in range(20):
    assert os.wait()[1] == 0
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
    recorder = Recorder(store, index="docs", parameters={"source": Path("x")})
    context = Context(identity=Identity("p", "run-1", "docs"))
    asyncio.run(run_plan(Prepared(plan, context, observer=recorder, journal=recorder)))
    store = RunStore(url)
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
    assert rows[0]["failures"] == [{"item": "a.pdf", "error": "no text", "step_id": "0.good", "transient": False}]
    assert rows[2]["error"]["message"] == "broken"
    tried = [(row["step_id"], row["number"], row["status"], row["cost"]) for row in store.attempts("run-1")]
    assert tried == [("0.good", 1, "succeeded", {"tokens": 7.0}), ("1.0.bad", 1, "failed", {})]
    assert [call.key for call in store.finished_calls("run-1")] == ["0.good"]
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


@pytest.mark.slow
def test_twenty_processes_on_one_file_lose_nothing(url: str) -> None:
    # None of them finds a database: whoever is first makes it, and the others wait.
    subprocess.run([sys.executable, "-c", WRITERS, url], check=True, timeout=200)
    store = RunStore(url)
    assert len(store.recent()) == 20
    assert {len(store.outcomes(record.run_id)) for record in store.recent()} == {25}
    assert {len(store.finished_calls(record.run_id)) for record in store.recent()} == {25}
    kept = store.finished_call("run-7", "24.step")
    assert kept is not None
    assert kept.result.value == 24
    store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def any_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'runs.db'}"
    return request.getfixturevalue("postgres_url")


def test_migrations_lead_to_the_tables_and_back(any_url: str) -> None:
    RunStore(any_url).close()
    engine = open_database(any_url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        assert sa.inspect(connection).get_table_names() == ["alembic_version"]
    engine.dispose()
    RunStore(any_url).close()


def test_a_new_database_has_the_tables_that_the_migrations_make(any_url: str) -> None:
    RunStore(any_url).close()
    engine = open_database(any_url)
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    made = _tables(engine)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        command.upgrade(config, "head")
    assert _tables(engine) == made
    engine.dispose()


def _tables(engine: sa.Engine) -> dict[str, Any]:
    found = sa.inspect(engine)

    def columns(table: str) -> dict[str, Any]:
        return {
            each["name"]: (str(each["type"]), each["nullable"], each["default"]) for each in found.get_columns(table)
        }

    def keys(table: str) -> list[Any]:
        foreign = [(each["constrained_columns"], each.get("options")) for each in found.get_foreign_keys(table)]
        indexes = sorted((str(each["name"]), each["column_names"]) for each in found.get_indexes(table))
        return [found.get_pk_constraint(table)["constrained_columns"], foreign, indexes]

    return {table: (columns(table), keys(table)) for table in found.get_table_names()}


def test_a_database_from_before_there_were_migrations_keeps_its_runs(any_url: str) -> None:
    engine = open_database(any_url)
    with engine.begin() as connection:
        # As the first version made it, without alembic.
        connection.exec_driver_sql(
            "CREATE TABLE runs (run_id VARCHAR(64) PRIMARY KEY, pipeline VARCHAR(200) NOT NULL, fingerprint VARCHAR(64)"
            " NOT NULL, index_name VARCHAR(200) NOT NULL, parameters JSON NOT NULL, status VARCHAR(20) NOT NULL,"
            " started FLOAT NOT NULL, seconds FLOAT, busy_seconds FLOAT, cost JSON)"
        )
        connection.exec_driver_sql(
            "CREATE TABLE outcomes (run_id VARCHAR(64), path VARCHAR(200), step_id VARCHAR(300) NOT NULL, kind"
            " VARCHAR(20) NOT NULL, status VARCHAR(20) NOT NULL, started FLOAT, seconds FLOAT NOT NULL, attempts"
            " INTEGER NOT NULL, cost JSON NOT NULL, error JSON, reason TEXT NOT NULL, failures JSON NOT NULL,"
            " PRIMARY KEY (run_id, path))"
        )
        connection.exec_driver_sql(
            "INSERT INTO runs VALUES ('old', 'p', 'f', 'docs', '{\"source\": \"x\"}', 'failed', 1.0, 2.0, 3.0, '{}')"
        )
    engine.dispose()
    store = RunStore(any_url)
    record = store.get("old")
    assert record is not None
    assert (record.status, record.parameters, record.chain) == ("failed", {"source": "x"}, "old")
    store.close()


def test_a_database_of_a_newer_braid_is_left_alone(url: str) -> None:
    RunStore(url).close()
    engine = open_database(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    with pytest.raises(NewerRunStore, match=r"has schema version 9999, but this Braid supports only .*; update Braid"):
        RunStore(url)


def test_a_store_that_cannot_be_written_does_not_stop_the_run_but_is_said(url: str) -> None:
    registry, calls = Registry(), list[int]()

    @handler(registry=registry)
    def step(*, number: int) -> None:
        calls.append(number)
        if number == 1:
            engine = open_database(url)
            with engine.begin() as connection:
                connection.exec_driver_sql("DROP TABLE kept")
            engine.dispose()

    steps = [{"handler": "step", "options": {"number": number}} for number in range(4)]
    plan = make_plan(Pipeline.model_validate({"name": "p", "steps": steps}), registry=registry)
    recorder = Recorder(RunStore(url))
    with pytest.raises(RunStoreFailed, match="the run store could not be written: .*kept"):
        asyncio.run(run_plan(Prepared(plan, Context(), observer=recorder, journal=recorder)))
    assert calls == [0, 1, 2, 3]


@pytest.mark.parametrize("packed", [True, False])
def test_what_large_calls_gave_takes_less_room_and_comes_back(url: str, packed: bool) -> None:
    store, call = RunStore(url), FinishedCall("chained", "own", CallResult((), "storm over the river " * 5000))
    plain = pickle.dumps(call)
    # Stored by a Braid that did not pack, it must still be there.
    stored = pack(call) if packed else StoredCall(call, plain)
    assert len(stored.content) < len(plain) / 3 if packed else stored.content == plain
    store.write("r", "r", keep={"step": stored})
    assert store.finished_call("r", "step") == call
    store.close()


def test_the_sizes_of_batches_are_kept_and_measured(url: str) -> None:
    registry = Registry()

    @handler(registry=registry, writes="length")
    def measure(batch: list[int]) -> int:
        return len(batch)

    loop = {"for_each": "numbers", "as": "batch", "batch_size": "auto", "max_concurrency": 2, "steps": ["measure"]}
    pipeline = Pipeline.model_validate({"name": "lengths", "steps": [loop]})
    expected = 5  # a batch for each slot, since nothing is known
    for _ in range(2):
        result = run(pipeline, numbers=list(range(10)), registry=registry, store=url)
        assert result.status == "succeeded"
        store = RunStore(url)
        assert store.batch_sizes(result.run_id) == {"0": expected}
        took = item_seconds(store.step_statistics("lengths"))
        store.close()
        expected = choose_batch_size(10, at_once=2, item_s=took["0"]).items
