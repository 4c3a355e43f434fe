"""Runs, outcomes, attempts and finished calls in a database: which run did what, and what another can go on from.

SQLite by default, any database by its SQLAlchemy URL. Several processes may write to one SQLite file: every write is
a short transaction, and waits for the others.
"""

import pickle
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import cloudpickle  # pyright: ignore[reportMissingTypeStubs]
import sqlalchemy as sa

from flows.author import Attempt, Outcome, RunResult, add_up, now
from flows.engine import FinishedCall
from flows.model import StepPath
from flows.run_store import documents
from flows.run_store.database import migrate, open_database
from flows.run_store.documents import DocumentRecord
from flows.run_store.records import RunningBranch, RunRecord
from flows.run_store.tables import attempts, going, kept, outcomes, runs

_WORTH_PACKING = 4_000


@dataclass(frozen=True)
class KeptCall:
    """What is kept of a finished call, without what it gave."""

    key: str
    step_id: str
    definition: str
    own: str
    run_id: str


@dataclass(frozen=True)
class StoredCall:
    """A finished call as it is stored."""

    call: FinishedCall
    content: bytes


def pack(call: FinishedCall) -> StoredCall:
    """A finished call, ready to be stored.

    Raises:
        Exception: whatever the pickling of a value raises that cannot be pickled.
    """
    content = cloudpickle.dumps(call)  # pyright: ignore[reportUnknownMemberType]
    # Texts and term counts shrink to a third, and what is written takes longer than this.
    return StoredCall(call, zlib.compress(content, level=1) if len(content) >= _WORTH_PACKING else content)


def unpack(content: bytes) -> FinishedCall:
    """A finished call as it was stored."""
    # A pickle never begins as a zlib stream does.
    return pickle.loads(content if content[:1] == b"\x80" else zlib.decompress(content))


class RunStore:
    """Safe under threads and processes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = open_database(url)
        migrate(self._engine)

    # Written while a run goes on.

    def start(self, record: RunRecord) -> None:
        """Note that a run has begun."""
        values = asdict(record)
        values["index_name"] = values.pop("index")
        values["lineage"] = record.lineage or record.run_id
        with self._engine.begin() as connection:
            connection.execute(sa.insert(runs).values(**values))

    def write(
        self,
        run_id: str,
        lineage: str,
        *,
        outcomes_: Sequence[Outcome] = (),
        attempts_: Sequence[tuple[str, str, Attempt]] = (),
        keep: Mapping[str, StoredCall | None] | None = None,
        going_: Sequence[RunningBranch] = (),
        index: str = "default",
    ) -> None:
        """Note what happened, in one transaction; an outcome or a kept call of the same name is replaced.

        `attempts_` are (path, step id, attempt); a kept call that is None is forgotten, and the step of any
        other has ended. What the outcomes say of documents is noted for `index`.
        """
        rows = [_outcome_row(run_id, outcome) for outcome in {o.path: o for o in outcomes_}.values()]
        tried = [_attempt_row(run_id, path, step_id, attempt) for path, step_id, attempt in attempts_]
        keys = list(keep or {})
        calls = [_kept_row(run_id, lineage, key, call) for key, call in (keep or {}).items() if call is not None]
        done = {call.call.step_id for call in (keep or {}).values() if call is not None}
        running = [{"run_id": run_id, **asdict(step)} for step in going_ if step.step_id not in done]
        changed = [row["path"] for row in (*rows, *running)]
        with self._engine.begin() as connection:
            if changed or done:
                over = going.c.path.in_(changed) | going.c.step_id.in_(done)
                connection.execute(sa.delete(going).where(going.c.run_id == run_id, over))
            if running:
                connection.execute(sa.insert(going), running)
            if rows:
                mine = outcomes.c.run_id == run_id
                connection.execute(sa.delete(outcomes).where(mine, outcomes.c.path.in_([row["path"] for row in rows])))
                connection.execute(sa.insert(outcomes), rows)
            if said := documents.said_of(outcomes_, run_id):
                documents.write(connection, index, said)
            if tried:
                connection.execute(sa.insert(attempts), tried)
            if keys:
                connection.execute(sa.delete(kept).where(kept.c.lineage == lineage, kept.c.key.in_(keys)))
            if calls:
                connection.execute(sa.insert(kept), calls)

    def beat(self, run_id: str) -> None:
        """Note that a run is alive."""
        self._update(run_id, heartbeat=now())

    def finish(self, result: RunResult) -> None:
        """Note how a run ended."""
        self._update(
            result.run_id,
            status=result.status,
            seconds=result.seconds,
            busy_seconds=result.busy_seconds,
            cost=result.cost,
        )

    def interrupt(self, run_id: str) -> bool:
        """Note that a run was interrupted, unless it has ended meanwhile; whether that was so."""
        mine = sa.update(runs).where(runs.c.run_id == run_id, runs.c.status == "running")
        with self._engine.begin() as connection:
            return connection.execute(mine.values(status="interrupted")).rowcount > 0

    def stop(self, run_id: str, status: str, seconds: float | None = None) -> None:
        """Note that a run ended without a result: it was interrupted, or its process is gone."""
        self._update(run_id, status=status, **({} if seconds is None else {"seconds": seconds}))

    def forget(self, *, older_than: float) -> int:
        """Drop the finished calls that were kept before a time (seconds since the epoch); how many they were.

        The runs stay; they can no longer be resumed or replayed.
        """
        with self._engine.begin() as connection:
            return connection.execute(sa.delete(kept).where(kept.c.kept_at < older_than)).rowcount

    # Read.

    def recent(self, *, pipeline: str | None = None, limit: int = 50) -> list[RunRecord]:
        """The newest runs first."""
        query = sa.select(runs).order_by(runs.c.started.desc(), runs.c.run_id.desc()).limit(limit)
        if pipeline is not None:
            query = query.where(runs.c.pipeline == pipeline)
        return self._records(query)

    def get(self, run_id: str) -> RunRecord | None:
        """The run of that id, or the only one whose id begins so; None if there is none or several."""
        query = (
            sa.select(runs).where(runs.c.run_id.startswith(run_id, autoescape=True)).order_by(runs.c.run_id).limit(2)
        )
        found = self._records(query)
        exact = [record for record in found if record.run_id == run_id]
        return (exact or found)[0] if len(exact or found) == 1 else None

    def running(self) -> list[RunRecord]:
        """The runs that have not ended, as far as they could say."""
        return self._records(sa.select(runs).where(runs.c.status == "running").order_by(runs.c.started))

    def lineage(self, lineage: str) -> list[RunRecord]:
        """The runs that go on from each other, the first one first."""
        return self._records(sa.select(runs).where(runs.c.lineage == lineage).order_by(runs.c.started, runs.c.run_id))

    def of_flow_run(self, flow_run_id: str) -> RunRecord | None:
        """The newest run that was this flow run of Prefect."""
        query = sa.select(runs).where(runs.c.flow_run_id == flow_run_id).order_by(runs.c.started.desc()).limit(1)
        return next(iter(self._records(query)), None)

    def outcomes(self, run_id: str) -> list[dict[str, Any]]:
        """The outcomes of a run as they were noted, in declared order."""
        query = sa.select(outcomes).where(outcomes.c.run_id == run_id)
        with self._engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
        return sorted(rows, key=lambda row: StepPath(row["path"]).sort_key)

    def step_statistics(self, pipeline: str, *, last: int = 20, most: int = 20_000) -> list[dict[str, Any]]:
        """`run_id`, `path`, `seconds` and `cost` of steps that succeeded in the last finished runs of a pipeline."""
        chosen = (
            sa.select(runs.c.run_id)
            .where(runs.c.pipeline == pipeline, runs.c.status.in_(("succeeded", "partial")))
            .order_by(runs.c.started.desc())
            .limit(last)
        )
        with self._engine.connect() as connection:
            ids = list(connection.execute(chosen).scalars())
            query = (
                sa.select(outcomes.c.run_id, outcomes.c.path, outcomes.c.seconds, outcomes.c.cost)
                .where(
                    outcomes.c.run_id.in_(ids),
                    outcomes.c.kind == "step",
                    outcomes.c.status == "succeeded",
                    ~outcomes.c.reused,
                )
                .limit(most)
            )
            return [dict(row) for row in connection.execute(query).mappings()]

    def spent(self, record: RunRecord) -> dict[str, float]:
        """What a run cost, by unit; of one that was killed, or goes on, what is written down of its attempts.

        An attempt is written down at the latest with what is kept of its call.
        """
        if record.cost is not None:
            return dict(record.cost)
        query = sa.select(attempts.c.cost).where(attempts.c.run_id == record.run_id)
        with self._engine.connect() as connection:
            return add_up(connection.execute(query).scalars())

    def going(self, run_id: str) -> list[RunningBranch]:
        """The steps that have begun and not ended, in declared order; of a run that was killed, where it was."""
        columns = [going.c[field.name] for field in fields(RunningBranch)]
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(*columns).where(going.c.run_id == run_id)).mappings()
            return sorted((RunningBranch(**row) for row in rows), key=lambda step: StepPath(step.path).sort_key)

    def attempts(self, run_id: str) -> list[dict[str, Any]]:
        """The attempts of a run in the order in which they ended."""
        query = sa.select(attempts).where(attempts.c.run_id == run_id).order_by(attempts.c.id)
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def kept_calls(self, lineage: str) -> list[KeptCall]:
        """The finished calls of a run and of those it goes on from, in the order of their keys."""
        columns = [kept.c[field.name] for field in fields(KeptCall)]
        query = sa.select(*columns).where(kept.c.lineage == lineage).order_by(kept.c.key)
        with self._engine.connect() as connection:
            return [KeptCall(**row) for row in connection.execute(query).mappings()]

    def kept(self, lineage: str, key: str) -> FinishedCall | None:
        """What was kept of one call.

        Raises:
            Exception: whatever the loading of a value raises whose class is no longer there.
        """
        query = sa.select(kept.c.content, kept.c.undoing).where(kept.c.lineage == lineage, kept.c.key == key)
        with self._engine.connect() as connection:
            found = connection.execute(query).first()
        return unpack(found.content) if found is not None else None

    def documents(
        self,
        index: str,
        *,
        names: Collection[str] | None = None,
        status: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[DocumentRecord]:
        """How far those documents of an index have come, by name."""
        with self._engine.connect() as connection:
            return documents.read(connection, index, names=names, status=status, limit=limit, offset=offset)

    def count_documents(self, index: str) -> dict[str, int]:
        """How many documents of an index there are of each status."""
        with self._engine.connect() as connection:
            return documents.count(connection, index)

    def forget_documents(self, index: str, names: Sequence[str]) -> None:
        """Drop what is known of documents that are gone."""
        with self._engine.begin() as connection:
            documents.forget(connection, index, names)

    def close(self) -> None:
        self._engine.dispose()

    def _update(self, run_id: str, **values: Any) -> None:
        with self._engine.begin() as connection:
            connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(**values))

    def _records(self, query: "sa.Select[Any]") -> list[RunRecord]:
        with self._engine.connect() as connection:
            return [_record(dict(row)) for row in connection.execute(query).mappings()]


def _outcome_row(run_id: str, outcome: Outcome) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "path": outcome.path,
        "step_id": outcome.id,
        "kind": outcome.kind,
        "status": outcome.status,
        "started": outcome.started,
        "seconds": outcome.seconds,
        "attempts": outcome.attempts,
        "cost": dict(outcome.cost),
        "error": asdict(outcome.error) if outcome.error else None,
        "reason": outcome.reason,
        "failures": [asdict(failure) for failure in outcome.failures],
        "reused": outcome.reused,
    }


def _attempt_row(run_id: str, path: str, step_id: str, attempt: Attempt) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "path": path,
        "step_id": step_id,
        "number": attempt.number,
        "status": attempt.status,
        "started": attempt.started,
        "seconds": attempt.seconds,
        "cost": dict(attempt.cost),
        "error": asdict(attempt.error) if attempt.error else None,
    }


def _kept_row(run_id: str, lineage: str, key: str, packed: StoredCall) -> dict[str, Any]:
    call = packed.call
    return {
        "lineage": lineage,
        "key": key,
        "run_id": run_id,
        "step_id": call.step_id,
        "definition": call.chained,
        "own": call.own,
        "undoing": call.undoing,
        "kept_at": now(),
        "content": packed.content,
    }


def _record(row: Mapping[Any, Any]) -> RunRecord:
    values = {**row, "index": row["index_name"]}
    return RunRecord(**{field.name: values[field.name] for field in fields(RunRecord)})
