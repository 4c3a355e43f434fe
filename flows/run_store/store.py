"""The run store: runs, outcomes, attempts and finished calls in a database, for reading and for resuming runs.

The database is SQLite by default, or any other by its SQLAlchemy URL. Several processes may write to one SQLite file:
every write is a short transaction that waits for the others.
"""

import weakref
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, Literal

import sqlalchemy as sa

from flows.author import Attempt, Outcome, OutputRecord, RunResult, add_up, now
from flows.engine import FinishedCall
from flows.errors import OrchestrationError, UnknownName
from flows.limits import SECONDS
from flows.model import StepPath
from flows.run_store import documents
from flows.run_store.database import durable_transaction, migrate, open_database
from flows.run_store.documents import DocumentRecord
from flows.run_store.records import RunningBranch, RunRecord
from flows.run_store.row_statements import RowStatement
from flows.run_store.signing import SigningKey
from flows.run_store.stored_calls import CallSummary, StoredCall, unpack
from flows.run_store.tables import attempts, batch_sizes, finished_calls, outcomes, outputs, running_branches, runs

_STATISTICS_RUNS, _STATISTICS_ROWS = 20, 20_000
"""The most runs, and the most rows of steps, from which statistics are computed."""


class _Statements:
    """The statements of `RunStore.write`."""

    def __init__(self) -> None:
        of_run: sa.BindParameter[str] = sa.bindparam("of_run")
        of_chain: sa.BindParameter[str] = sa.bindparam("of_chain")
        at: sa.BindParameter[str] = sa.bindparam("at")

        def drop(table: sa.Table, *conditions: "sa.ColumnElement[bool]") -> RowStatement:
            return RowStatement(sa.delete(table).where(*conditions))

        self.drop_running = drop(running_branches, running_branches.c.run_id == of_run, running_branches.c.path == at)
        self.drop_outcome = drop(outcomes, outcomes.c.run_id == of_run, outcomes.c.path == at)
        self.drop_call = drop(finished_calls, finished_calls.c.chain == of_chain, finished_calls.c.key == at)
        self.drop_size = drop(batch_sizes, batch_sizes.c.chain == of_chain, batch_sizes.c.path == at)
        self.add_running = RowStatement(sa.insert(running_branches))
        self.add_outcome = RowStatement(sa.insert(outcomes))
        self.add_attempt = RowStatement(sa.insert(attempts))
        self.add_call = RowStatement(sa.insert(finished_calls))
        self.add_size = RowStatement(sa.insert(batch_sizes))


class AmbiguousRun(OrchestrationError):
    """The beginning of a run's id fits several runs."""

    def __init__(self, run_id: str, found: Sequence[RunRecord]) -> None:
        listed = ", ".join(f"{one.run_id} ({one.pipeline}, {one.status})" for one in found)
        super().__init__(f"{run_id!r} matches several runs; give more of the id: {listed}")


class RunStore:
    """The runs in one database; safe under threads and processes.

    `key` signs the kept results of finished calls, and only results that it signed are read; by default, it is in a
    file beside the database.
    """

    def __init__(self, url: str, *, key: SigningKey | None = None) -> None:
        self.url = url
        self.key = key or SigningKey.of_store(url)
        self._engine = open_database(url)
        self._statements = _Statements()
        # A store that was not closed, or could not be migrated, closes its connections when it is garbage-collected.
        weakref.finalize(self, self._engine.dispose)
        migrate(self._engine)

    # Writing while a run is running.

    def start(self, record: RunRecord) -> None:
        """Record the start of a run; when this returns, it survives a power cut."""
        with durable_transaction(self._engine) as connection:
            connection.execute(sa.insert(runs).values(asdict(record) | {"chain": record.chain or record.run_id}))

    def write(
        self,
        run_id: str,
        chain: str,
        *,
        ended: Sequence[Outcome] = (),
        tried: Sequence[tuple[str, str, Attempt]] = (),
        running: Sequence[RunningBranch] = (),
        gone: Sequence[str] = (),
        keep: Mapping[str, StoredCall | None] | None = None,
        sizes: Mapping[str, int] | None = None,
        index: str = "default",
    ) -> None:
        """Record, in one transaction, steps that ended, attempts that were made and steps that are running.

        `tried` are (path, step id, attempt). `gone` are paths of steps that were recorded as running and have ended.
        `keep` are finished calls by key; None drops a call. `sizes` are the sizes of batches that loops chose, by path.
        All but attempts replace those with the same path or key. The statuses of documents in the outcomes are
        recorded for `index`.
        """
        outcome_rows = [_outcome_row(run_id, outcome) for outcome in {each.path: each for each in ended}.values()]
        attempt_rows = [_attempt_row(run_id, path, step_id, attempt) for path, step_id, attempt in tried]
        running_rows = [{"run_id": run_id, **vars(step)} for step in running]
        changed = [*gone, *(step.path for step in running)]
        call_rows = [
            self._finished_call_row(run_id, chain, key, call) for key, call in (keep or {}).items() if call is not None
        ]
        size_rows = [{"chain": chain, "path": path, "items": items} for path, items in (sizes or {}).items()]
        statements = self._statements
        with self._engine.begin() as connection:
            statements.drop_running.execute(connection, [{"of_run": run_id, "at": path} for path in changed])
            statements.add_running.execute(connection, running_rows)
            statements.drop_outcome.execute(connection, [{"of_run": run_id, "at": row["path"]} for row in outcome_rows])
            statements.add_outcome.execute(connection, outcome_rows)
            if statuses := documents.document_records(ended, run_id):
                documents.write(connection, index, statuses)
            statements.add_attempt.execute(connection, attempt_rows)
            statements.drop_size.execute(connection, [{"of_chain": chain, "at": path} for path in sizes or ()])
            statements.add_size.execute(connection, size_rows)
            statements.drop_call.execute(connection, [{"of_chain": chain, "at": key} for key in keep or ()])
            statements.add_call.execute(connection, call_rows)

    def beat(self, run_id: str) -> None:
        """Record that a run is alive."""
        self._update(run_id, heartbeat=now())

    def finish(self, result: RunResult) -> None:
        """Record the end of a run, and its outputs; when this returns, all of the run survives a power cut."""
        ending = {
            "status": result.status,
            "seconds": result.seconds,
            "busy_seconds": result.busy_seconds,
            "cost": result.cost,
        }
        rows = [
            {"run_id": result.run_id, "position": position, **asdict(output)}
            for position, output in enumerate(result.output_records)
        ]
        with durable_transaction(self._engine) as connection:
            connection.execute(sa.update(runs).where(runs.c.run_id == result.run_id).values(**ending))
            connection.execute(sa.delete(outputs).where(outputs.c.run_id == result.run_id))
            if rows:
                connection.execute(sa.insert(outputs), rows)

    def crash(self, run_id: str) -> bool:
        """Record that the process of a run is gone and return True; return False if the run has ended already."""
        update = sa.update(runs).where(runs.c.run_id == run_id, runs.c.status == "running")
        with self._engine.begin() as connection:
            return connection.execute(update.values(status="crashed")).rowcount > 0

    def stop(self, run_id: str, status: Literal["cancelled", "crashed"], seconds: float | None = None) -> None:
        """Record that a run ended without a result, because it was stopped or its process is gone."""
        self._update(run_id, status=status, **({} if seconds is None else {"seconds": seconds}))

    def forget(self, *, older_than: float) -> int:
        """Drop the finished calls kept before a time (seconds since the epoch), and return how many were dropped.

        The records of their runs stay, but those runs can no longer be resumed or replayed.
        """
        with self._engine.begin() as connection:
            return connection.execute(sa.delete(finished_calls).where(finished_calls.c.kept_at < older_than)).rowcount

    def output_files(self, *, older_than: float) -> dict[str, list[str]]:
        """The URIs of the files with whole outputs, by run that ended before a time (seconds since the epoch)."""
        ended = runs.c.started + sa.func.coalesce(runs.c.seconds, 0.0)
        query = sa.select(outputs.c.run_id, outputs.c.uri).join(runs, runs.c.run_id == outputs.c.run_id)
        found: dict[str, list[str]] = {}
        with self._engine.connect() as connection:
            for run_id, uri in connection.execute(query.where(outputs.c.uri.is_not(None), ended < older_than)):
                found.setdefault(run_id, []).append(uri)
        return found

    def forget_output_files(self, run_id: str) -> None:
        """Record that the files with the whole outputs of a run are gone; the shortened outputs stay."""
        with self._engine.begin() as connection:
            connection.execute(sa.update(outputs).where(outputs.c.run_id == run_id).values(uri=None))

    # Reading.

    def recent(
        self, *, pipeline: str | None = None, status: str | None = None, since: float | None = None, limit: int = 50
    ) -> list[RunRecord]:
        """The newest runs, newest first; `since` is in seconds since the epoch."""
        query = sa.select(runs).order_by(runs.c.started.desc(), runs.c.run_id.desc()).limit(limit)
        if pipeline is not None:
            query = query.where(runs.c.pipeline == pipeline)
        if status is not None:
            query = query.where(runs.c.status == status)
        if since is not None:
            query = query.where(runs.c.started >= since)
        return self._records(query)

    def beginning_with(self, run_id: str, *, limit: int = 10) -> list[RunRecord]:
        """The runs whose ids begin with `run_id`, newest first; an exact match is returned alone."""
        query = sa.select(runs).where(runs.c.run_id.startswith(run_id, autoescape=True))
        found = self._records(query.order_by(runs.c.started.desc(), runs.c.run_id.desc()).limit(limit))
        exact = self._records(sa.select(runs).where(runs.c.run_id == run_id))
        return exact or found

    def find(self, run_id: str) -> RunRecord:
        """The run with that id, or the only one whose id begins with it.

        Raises:
            AmbiguousRun: several ids begin with it; the message has them.
            UnknownName: there is no such run; the message suggests the nearest.
        """
        found = self.beginning_with(run_id)
        if not found:
            raise UnknownName("run", run_id, [known.run_id for known in self.recent(limit=200)])
        if len(found) > 1:
            raise AmbiguousRun(run_id, found)
        return found[0]

    def get(self, run_id: str) -> RunRecord | None:
        """The run with that id, or the only one whose id begins with it; None if there is none, or more than one."""
        query = (
            sa.select(runs).where(runs.c.run_id.startswith(run_id, autoescape=True)).order_by(runs.c.run_id).limit(2)
        )
        found = self._records(query)
        exact = [record for record in found if record.run_id == run_id]
        return (exact or found)[0] if len(exact or found) == 1 else None

    def running(self) -> list[RunRecord]:
        """The runs whose end is not recorded; they may have died."""
        return self._records(sa.select(runs).where(runs.c.status == "running").order_by(runs.c.started))

    def chain(self, chain: str) -> list[RunRecord]:
        """The runs that resume each other, in the order in which they started."""
        return self._records(sa.select(runs).where(runs.c.chain == chain).order_by(runs.c.started, runs.c.run_id))

    def of_flow_run(self, flow_run_id: str) -> RunRecord | None:
        """The newest run of a Prefect flow run."""
        return next(iter(self.executions(flow_run_id)), None)

    def executions(self, flow_run_id: str) -> list[RunRecord]:
        """The runs of a Prefect flow run, newest first: more than one if it was retried."""
        return self._records(sa.select(runs).where(runs.c.flow_run_id == flow_run_id).order_by(runs.c.started.desc()))

    def outcomes(self, run_id: str) -> list[dict[str, Any]]:
        """The outcomes of a run as rows, in declared order."""
        query = sa.select(outcomes).where(outcomes.c.run_id == run_id)
        with self._engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
        return sorted(rows, key=lambda row: StepPath(row["path"]).sort_key)

    def outputs(self, run_id: str) -> list[OutputRecord]:
        """The outputs of a run that has ended, in declared order."""
        columns = [outputs.c[field.name] for field in fields(OutputRecord)]
        query = sa.select(*columns).where(outputs.c.run_id == run_id).order_by(outputs.c.position)
        with self._engine.connect() as connection:
            return [OutputRecord(**row) for row in connection.execute(query).mappings()]

    def step_statistics(self, pipeline: str) -> list[dict[str, Any]]:
        """`run_id`, `path`, `seconds`, `cost` of steps that succeeded in the last finished runs of a pipeline.

        Rows also have `batch_size` if the innermost loop around the step chose its batch size.
        """
        chosen = (
            sa.select(runs.c.run_id, runs.c.chain)
            .where(runs.c.pipeline == pipeline, runs.c.status.in_(("succeeded", "partial")))
            .order_by(runs.c.started.desc())
            .limit(_STATISTICS_RUNS)
        )
        with self._engine.connect() as connection:
            chains = {row.run_id: row.chain for row in connection.execute(chosen)}
            if not chains:
                return []
            query = (
                sa.select(outcomes.c.run_id, outcomes.c.path, outcomes.c.seconds, outcomes.c.cost)
                .where(
                    outcomes.c.run_id.in_(list(chains)),
                    outcomes.c.kind == "step",
                    outcomes.c.status == "succeeded",
                    ~outcomes.c.reused,
                )
                .limit(_STATISTICS_ROWS)
            )
            rows = [dict(row) for row in connection.execute(query).mappings()]
            chose = sa.select(batch_sizes).where(batch_sizes.c.chain.in_(set(chains.values())))
            sizes = {(chain, path): items for chain, path, items in connection.execute(chose)}
        for row in rows if sizes else ():
            size = sizes.get((chains[row["run_id"]], StepPath(row["path"]).loop))
            if size is not None:
                row["batch_size"] = size
        return rows

    def spent(self, record: RunRecord) -> dict[str, float]:
        """The cost of a run by unit; for a run that was killed or is running, the cost of its recorded attempts.

        An attempt is recorded before, or together with, the finished call.
        """
        if record.cost is not None:
            return dict(record.cost)
        query = sa.select(attempts.c.cost).where(attempts.c.run_id == record.run_id)
        with self._engine.connect() as connection:
            return add_up(connection.execute(query).scalars())

    def spent_before(self, record: RunRecord) -> dict[str, float]:
        """The budget that a run and the runs that it resumed have used, by unit, including `seconds`."""
        earlier = self.chain(record.chain)
        return add_up([*map(self.spent, earlier), *({SECONDS: run.lasted} for run in earlier)])

    def running_branches(self, run_id: str) -> list[RunningBranch]:
        """The steps that have started but not ended, in declared order; also of a run that was killed."""
        columns = [running_branches.c[field.name] for field in fields(RunningBranch)]
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(*columns).where(running_branches.c.run_id == run_id)).mappings()
            return sorted((RunningBranch(**row) for row in rows), key=lambda step: StepPath(step.path).sort_key)

    def attempts(self, run_id: str) -> list[dict[str, Any]]:
        """The attempts of a run in the order in which they ended."""
        query = sa.select(attempts).where(attempts.c.run_id == run_id).order_by(attempts.c.id)
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def batch_sizes(self, chain: str) -> dict[str, int]:
        """The sizes of batches that the runs in a chain chose, by path of the loop."""
        query = sa.select(batch_sizes.c.path, batch_sizes.c["items"]).where(batch_sizes.c.chain == chain)
        with self._engine.connect() as connection:
            return {str(row.path): int(row[1]) for row in connection.execute(query)}

    def finished_calls(self, chain: str) -> list[CallSummary]:
        """The finished calls of the runs in a chain, in the order of their keys."""
        columns = [finished_calls.c[field.name] for field in fields(CallSummary)]
        query = sa.select(*columns).where(finished_calls.c.chain == chain).order_by(finished_calls.c.key)
        with self._engine.connect() as connection:
            return [CallSummary(*row) for row in connection.execute(query)]

    def finished_call(self, chain: str, key: str) -> FinishedCall | None:
        """One finished call with its result; None if it is not kept.

        Raises:
            UnsignedResult: the key of this store has not signed it.
            Exception: any error that unpickling raises, for example for a class that no longer exists.
        """
        query = sa.select(finished_calls.c.content).where(finished_calls.c.chain == chain, finished_calls.c.key == key)
        with self._engine.connect() as connection:
            content: bytes | None = connection.execute(query).scalar()
        return unpack(self.key.checked(content, chain, key)) if content is not None else None

    def documents(
        self,
        index: str,
        *,
        names: Collection[str] | None = None,
        status: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[DocumentRecord]:
        """The last recorded states of the documents of an index, by name."""
        with self._engine.connect() as connection:
            return documents.read(connection, index, names=names, status=status, limit=limit, offset=offset)

    def count_documents(self, index: str) -> dict[str, int]:
        """How many documents of an index have each status."""
        with self._engine.connect() as connection:
            return documents.count(connection, index)

    def forget_documents(self, index: str, names: Sequence[str]) -> None:
        """Drop the records of documents that no longer exist."""
        with self._engine.begin() as connection:
            documents.forget(connection, index, names)

    def close(self) -> None:
        self._engine.dispose()

    def _update(self, run_id: str, **values: Any) -> None:
        with self._engine.begin() as connection:
            connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(**values))

    def _finished_call_row(self, run_id: str, chain: str, key: str, stored: StoredCall) -> dict[str, Any]:
        call = stored.call
        return {
            "chain": chain,
            "key": key,
            "run_id": run_id,
            "step_id": call.step_id,
            "chained_fingerprint": call.chained_fingerprint,
            "own_fingerprint": call.own_fingerprint,
            "undoing": call.undoing,
            "kept_at": now(),
            "content": self.key.sign(stored.content, chain, key),
        }

    def _records(self, query: "sa.Select[Any]") -> list[RunRecord]:
        with self._engine.connect() as connection:
            return [_run_record(row) for row in connection.execute(query).mappings()]


def _outcome_row(run_id: str, outcome: Outcome) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "path": outcome.path,
        "step_id": outcome.id,
        "kind": outcome.kind,
        "status": outcome.status,
        "started": outcome.started,
        "seconds": outcome.seconds,
        "waited_s": outcome.waited_s,
        "waits": dict(outcome.waits),
        "asked": outcome.asked,
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


def _run_record(row: sa.RowMapping) -> RunRecord:
    return RunRecord(**{field.name: row[runs.c[field.name]] for field in fields(RunRecord)})
