"""Writes a run into the store while it goes on, in a thread of its own: in order, and several events a transaction."""

import asyncio
import contextvars
import json
import logging
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from flows.author import Attempt, Outcome, RunResult, now
from flows.engine import (
    AttemptFinished,
    Event,
    FinishedCall,
    Journal,
    RunFinished,
    RunStarted,
    StepFinished,
    StepProgressed,
    StepStarted,
    StepStuck,
)
from flows.errors import OrchestrationError
from flows.loaders import dump_pipeline
from flows.planning import Plan
from flows.run_store.records import HEARTBEAT_S, ProcessIdentity, RunningBranch, RunRecord
from flows.run_store.store import RunStore
from flows.run_store.stored_calls import StoredCall, pack

logger = logging.getLogger(__name__)
NOTED_S = 1.0
"""After which a step that goes on is noted at the latest."""


class RunStoreFailed(OrchestrationError):
    """The run went on to its end, but not everything of it could be written down."""


@dataclass
class _Waiting:
    """What is to be written next."""

    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    attempts: list[tuple[str, str, Attempt]] = field(default_factory=list[tuple[str, str, Attempt]])
    keep: dict[str, StoredCall | None] = field(default_factory=dict[str, StoredCall | None])
    going: dict[str, RunningBranch] = field(default_factory=dict[str, RunningBranch])
    written: list["Future[None]"] = field(default_factory=list["Future[None]"])


class Recorder(Journal):
    """The observer and the journal of one run; a finished call is in the database when `keep` returns."""

    active = True

    def __init__(
        self,
        store: RunStore,
        *,
        index: str = "default",
        parameters: Mapping[str, Any] | None = None,
        source: str | None = None,
        flow_run_id: str | None = None,
        resumes: RunRecord | None = None,
    ) -> None:
        self._store, self._index, self._parameters = store, index, dict(parameters or {})
        self._source, self._resumes = source, resumes
        self.flow_run_id = flow_run_id
        self._waiting = _Waiting()
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._run_id, self._began = "", 0.0
        self._lineage = resumes.chain if resumes is not None else ""
        self._known = {call.key for call in store.finished_calls(self._lineage)} if resumes is not None else set[str]()
        self._going: dict[str, RunningBranch] = {}
        self._ended = False
        self._error: Exception | None = None
        self._writer: threading.Thread | None = None

    def __call__(self, event: Event) -> None:
        """Note what happens in the run."""
        match event:
            case RunStarted():
                self._start(event.plan, event.run_id)
            case StepStarted():
                self._goes_on(RunningBranch(event.path, event.id, now()))
            case StepProgressed() if event.path in self._going:
                known = self._going[event.path]
                self._goes_on(replace(known, done=event.done, total=event.total, heard=now(), stuck=False))
            case StepStuck() if event.path in self._going:
                self._goes_on(replace(self._going[event.path], stuck=True))
            case AttemptFinished():
                with self._lock:
                    self._waiting.attempts.append((event.path, event.id, event.attempt))
                self._wake.set()
            case StepFinished():
                self._going.pop(event.outcome.path, None)
                with self._lock:
                    self._waiting.going.pop(event.outcome.path, None)
                    self._waiting.outcomes.append(event.outcome)
                self._wake.set()
            case RunFinished():
                self._finish(event.result)
            case _:
                pass

    def _start(self, plan: Plan, run_id: str) -> None:
        self._run_id, self._began = run_id, now()
        self._lineage = self._lineage or run_id
        shown = json.loads(json.dumps(self._parameters, default=str))
        self._store.start(
            RunRecord(
                run_id,
                plan.pipeline.name,
                plan.fingerprint,
                self._index,
                shown,
                "running",
                self._began,
                chain=self._lineage,
                resumed_from=self._resumes.run_id if self._resumes is not None else None,
                flow_run_id=self.flow_run_id,
                file=self._source,
                yaml=_definition(plan),
                heartbeat=self._began,
                **asdict(ProcessIdentity()),
            )
        )
        # In this context, so that what it logs goes where the run's log goes.
        write = contextvars.copy_context().run
        self._writer = threading.Thread(
            target=write, args=(self._write,), name=f"braid-run-store-{run_id}", daemon=True
        )
        self._writer.start()

    def _goes_on(self, step: RunningBranch) -> None:
        # Written with what comes next, or a little later: a step that soon ends costs no writing of its own.
        self._going[step.path] = step
        with self._lock:
            self._waiting.going[step.path] = step

    def _finish(self, result: RunResult | None) -> None:
        """Write what is still waiting, and how the run ended.

        Raises:
            RunStoreFailed: the store could not be written.
        """
        self._ended = True
        self._wake.set()
        if self._writer is not None:
            self._writer.join()
        try:
            if self._error is None and result is not None:
                self._store.finish(result)
            elif self._error is None and self._run_id:
                self._store.stop(self._run_id, "interrupted", now() - self._began)
        except Exception as error:
            self._error = error
        finally:
            self._store.close()
        if self._error is not None:
            raise RunStoreFailed(
                f"run {self._run_id}: the run store could not be written: {self._error}; what the run "
                "did is done, but it cannot be resumed in full"
            ) from self._error

    # What is kept of finished calls.

    async def find(self, key: str) -> FinishedCall | None:
        if key not in self._known:
            return None
        try:
            return await asyncio.to_thread(self._store.finished_call, self._lineage, key)
        except Exception as error:  # whatever unpickling raises
            logger.warning("%s: what was kept of it cannot be read (%s); it is done again", key, error)
            return None

    async def keep(self, key: str, kept: FinishedCall) -> None:
        try:
            packed = await asyncio.to_thread(pack, kept)
        except Exception as error:  # whatever pickling raises
            logger.warning("%s gives a value that cannot be stored (%s); a resumed run does it again", key, error)
            return
        self._known.add(key)
        await self._put(key, packed)

    async def drop(self, key: str) -> None:
        self._known.discard(key)
        await self._put(key, None)

    async def _put(self, key: str, packed: StoredCall | None) -> None:
        written: Future[None] = Future()
        with self._lock:
            self._waiting.keep[key] = packed
            self._waiting.written.append(written)
        self._wake.set()
        await asyncio.wrap_future(written)

    def _write(self) -> None:
        beaten = now()
        while True:
            self._wake.wait(timeout=NOTED_S)
            self._wake.clear()
            ended = self._ended
            with self._lock:
                batch, self._waiting = self._waiting, _Waiting()
            try:
                if self._error is None and (batch.outcomes or batch.attempts or batch.keep or batch.going):
                    self._store.write(
                        self._run_id,
                        self._lineage,
                        ended=batch.outcomes,
                        tried=batch.attempts,
                        running=list(batch.going.values()),
                        keep=batch.keep,
                        index=self._index,
                    )
                if now() - beaten >= HEARTBEAT_S:
                    beaten = now()
                    self._store.beat(self._run_id)
            except Exception as error:
                if self._error is None:
                    logger.error("run %s: the run store could not be written: %s", self._run_id, error)
                self._error = self._error or error
            finally:
                for written in batch.written:
                    written.set_result(None)
            if ended:
                return


def _definition(plan: Plan) -> str | None:
    try:
        return dump_pipeline(plan.pipeline)
    except ValueError:  # made in Python, with options that YAML cannot hold
        return None
