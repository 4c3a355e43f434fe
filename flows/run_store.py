"""The run store: which run did what, step by step, with time and cost; written as it happens, read by `braid runs`.

SQLite by default, any database by its SQLAlchemy URL. Several processes may write to one SQLite file: every write is
a short transaction, and waits for the others.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import make_url

from flows.plan import Plan
from flows.results import Outcome, RunResult, now
from flows.run_state import Observer

metadata = sa.MetaData()
runs = sa.Table(
    "runs", metadata,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("pipeline", sa.String(200), nullable=False, index=True),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("index_name", sa.String(200), nullable=False),
    sa.Column("parameters", sa.JSON, nullable=False),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("started", sa.Float, nullable=False, index=True),
    sa.Column("seconds", sa.Float),
    sa.Column("busy_seconds", sa.Float),
    sa.Column("cost", sa.JSON),
)  # fmt: skip
outcomes = sa.Table(
    "outcomes", metadata,
    sa.Column("run_id", sa.String(64), sa.ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("path", sa.String(200), primary_key=True),
    sa.Column("step_id", sa.String(300), nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("status", sa.String(20), nullable=False, index=True),
    sa.Column("started", sa.Float),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("cost", sa.JSON, nullable=False),
    sa.Column("error", sa.JSON),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("failures", sa.JSON, nullable=False),
)  # fmt: skip


@dataclass(frozen=True)
class RunRecord:
    """One run as the store has it; `status` is `running` until it has ended."""

    run_id: str
    pipeline: str
    fingerprint: str
    index: str
    parameters: Mapping[str, Any]
    status: str
    started: float
    seconds: float | None = None
    busy_seconds: float | None = None
    cost: Mapping[str, float] | None = None


class RunStore:
    """Runs and outcomes in a database; safe under threads and processes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = open_database(url)
        metadata.create_all(self._engine)

    def start(self, record: RunRecord) -> None:
        """Note that a run has begun; one that goes on under the same id begins anew."""
        values = asdict(record)
        values["index_name"] = values.pop("index")
        with self._engine.begin() as connection:
            changed = connection.execute(sa.update(runs).where(runs.c.run_id == record.run_id).values(**values))
            if changed.rowcount == 0:
                connection.execute(sa.insert(runs).values(**values))

    def add(self, run_id: str, found: Sequence[Outcome]) -> None:
        """Note outcomes; one that is there already is replaced."""
        if not found:
            return
        rows = [_row(run_id, outcome) for outcome in found]
        with self._engine.begin() as connection:
            mine = outcomes.c.run_id == run_id
            connection.execute(sa.delete(outcomes).where(mine, outcomes.c.path.in_([row["path"] for row in rows])))
            connection.execute(sa.insert(outcomes), rows)

    def finish(self, result: RunResult) -> None:
        """Note how a run ended."""
        with self._engine.begin() as connection:
            connection.execute(
                sa.update(runs).where(runs.c.run_id == result.run_id).values(
                    status=result.status, seconds=result.seconds, busy_seconds=result.busy_seconds, cost=result.cost
                )
            )  # fmt: skip

    def stop(self, run_id: str, status: str, seconds: float) -> None:
        """Note that a run ended without a result: it was interrupted, or its process could not go on."""
        with self._engine.begin() as connection:
            connection.execute(
                sa.update(runs).where(runs.c.run_id == run_id).values(status=status, seconds=seconds)
            )  # fmt: skip

    def recent(self, *, pipeline: str | None = None, limit: int = 50) -> list[RunRecord]:
        """The newest runs first."""
        query = sa.select(runs).order_by(runs.c.started.desc(), runs.c.run_id.desc()).limit(limit)
        if pipeline is not None:
            query = query.where(runs.c.pipeline == pipeline)
        with self._engine.connect() as connection:
            return [_record(dict(row)) for row in connection.execute(query).mappings()]

    def get(self, run_id: str) -> RunRecord | None:
        """The run of that id, or the only one whose id begins so; None if there is none or several."""
        query = (
            sa.select(runs).where(runs.c.run_id.startswith(run_id, autoescape=True)).order_by(runs.c.run_id).limit(2)
        )
        with self._engine.connect() as connection:
            found = [_record(dict(row)) for row in connection.execute(query).mappings()]
        exact = [record for record in found if record.run_id == run_id]
        return (exact or found)[0] if len(exact or found) == 1 else None

    def outcomes(self, run_id: str) -> list[dict[str, Any]]:
        """The outcomes of a run as they were noted, unordered paths sorted by `flows.run_state.path_key`."""
        from flows.run_state import path_key

        query = sa.select(outcomes).where(outcomes.c.run_id == run_id)
        with self._engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
        return sorted(rows, key=lambda row: path_key(row["path"]))

    def close(self) -> None:
        self._engine.dispose()


class RecordingObserver(Observer):
    """Writes a run into the store while it goes on; outcomes are written in a thread of their own, in their order."""

    def __init__(self, store: RunStore, *, index: str, parameters: Mapping[str, Any]) -> None:
        self._store, self._index, self._parameters = store, index, dict(parameters)
        self._waiting: list[Outcome] = []
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._run_id, self._ended = "", False
        self._error: BaseException | None = None
        self._writer: threading.Thread | None = None

    def run_started(self, plan: Plan, run_id: str) -> None:
        self._run_id = run_id
        shown = json.loads(json.dumps(self._parameters, default=str))
        self._store.start(RunRecord(run_id, plan.pipeline.name, plan.fingerprint, self._index, shown, "running", now()))
        self._writer = threading.Thread(target=self._write, name=f"braid-run-store-{run_id}", daemon=True)
        self._writer.start()

    def finished(self, outcome: Outcome) -> None:
        with self._lock:
            self._waiting.append(outcome)
        self._wake.set()

    def close(self, result: RunResult | None = None) -> None:
        """Write what is still waiting, and how the run ended.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the store could not be written.
        """
        self._ended = True
        self._wake.set()
        if self._writer is not None:
            self._writer.join()
        if self._error is not None:
            raise self._error
        if result is not None:
            self._store.finish(result)

    def _write(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            with self._lock:
                batch, self._waiting = self._waiting, []
            try:
                self._store.add(self._run_id, batch)
            except Exception as error:
                self._error = error
                return
            if self._ended and not self._waiting:
                return


def open_database(url: str) -> sa.Engine:
    """An engine for `url`; a SQLite file gets its folder, waits for other writers, and lets readers go on."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return sa.create_engine(url, pool_pre_ping=True)
    if parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, connect_args={"timeout": 60})

    def prepare(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=60000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    event.listen(engine, "connect", prepare)
    return engine


def _row(run_id: str, outcome: Outcome) -> dict[str, Any]:
    return {
        "run_id": run_id, "path": outcome.path, "step_id": outcome.id, "kind": outcome.kind, "status": outcome.status,
        "started": outcome.started, "seconds": outcome.seconds, "attempts": outcome.attempts,
        "cost": dict(outcome.cost), "error": asdict(outcome.error) if outcome.error else None,
        "reason": outcome.reason, "failures": [asdict(failure) for failure in outcome.failures],
    }  # fmt: skip


def _record(row: Mapping[Any, Any]) -> RunRecord:
    return RunRecord(
        row["run_id"], row["pipeline"], row["fingerprint"], row["index_name"], row["parameters"], row["status"],
        row["started"], row["seconds"], row["busy_seconds"], row["cost"],
    )  # fmt: skip
