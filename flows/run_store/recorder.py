"""Records a run in the store while it runs, in a separate thread: in order, several events per transaction."""

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any, cast

from flows.author import Attempt, Outcome, RunResult, now
from flows.calling import CallResult
from flows.engine import (
    AttemptFinished,
    Event,
    FinishedCall,
    Journal,
    LoopStarted,
    RunFinished,
    RunStarted,
    StepFinished,
    StepProgressed,
    StepStarted,
    StepStuck,
)
from flows.errors import OrchestrationError
from flows.loaders import pack_pipeline
from flows.model import hide_secrets
from flows.planning import Plan
from flows.run_store.records import HEARTBEAT_S, ProcessIdentity, RunningBranch, RunRecord
from flows.run_store.store import RunStore
from flows.run_store.stored_calls import StoredCall, pack

logger = logging.getLogger(__name__)
SECRET_LEFT_OUT = "# A secret was left out of this pipeline."
"""The first line of a recorded pipeline that cannot be run, because YAML cannot hold some of its values."""
MAX_DELAY_S = 1.0
"""The longest time in seconds until a running step is recorded."""
RUNNING_DELAY_S = 0.02
"""The seconds after which a running step is recorded; a step that ends sooner needs no such row."""
GATHER_S = 0.001
"""How long a finished call waits for others that end at the same time, to share their transaction."""
OUTCOME_DELAY_S = 0.005
"""How long an outcome waits for the next finished call, to share its transaction."""
SMALL_ITEMS, SMALL_LETTERS = 100, 10_000
"""Results up to this size are packed on the event loop, since a thread would cost more than the packing."""


class RunStoreFailed(OrchestrationError):
    """The run ended, but could not be recorded completely."""


@dataclass
class _Batch:
    """The changes that are written next, in one transaction."""

    ended: list[Outcome] = field(default_factory=list[Outcome])
    tried: list[tuple[str, str, Attempt]] = field(default_factory=list[tuple[str, str, Attempt]])
    running: dict[str, RunningBranch] = field(default_factory=dict[str, RunningBranch])
    keep: dict[str, StoredCall | None] = field(default_factory=dict[str, StoredCall | None])
    sizes: dict[str, int] = field(default_factory=dict[str, int])
    gone: list[str] = field(default_factory=list[str])
    """Paths of steps that were recorded as running and have ended."""
    written: "list[asyncio.Future[None]]" = field(default_factory=list["asyncio.Future[None]"])
    """Futures of the callers that wait until the batch is written."""


class Recorder(Journal):
    """The observer and the journal of one run; a finished call is in the database when `keep` returns."""

    active = True

    def __init__(
        self,
        store: RunStore,
        *,
        index: str = "default",
        parameters: Mapping[str, Any] | None = None,
        file: str | None = None,
        flow_run_id: str | None = None,
        resumes: RunRecord | None = None,
    ) -> None:
        super().__init__()
        self._store, self._index, self._parameters = store, index, dict(parameters or {})
        self._file, self._resumes = file, resumes
        self.flow_run_id = flow_run_id
        self._batch = _Batch()
        self._lock, self._wake, self._hurry = threading.Lock(), threading.Event(), threading.Event()
        self._run_id, self._began = "", 0.0
        self._chain = resumes.chain if resumes is not None else ""
        self._known = {call.key for call in store.finished_calls(self._chain)} if resumes is not None else set[str]()
        if resumes is not None:
            self.batch_sizes.update(store.batch_sizes(self._chain))
        self._running: dict[str, RunningBranch] = {}
        self._shown: dict[str, str] = {}
        """The step ids, by path, of those that the store shows as running."""
        self._ended = False
        self._error: Exception | None = None
        self._writer: threading.Thread | None = None

    def __call__(self, event: Event) -> None:
        """Record an event of the run."""
        match event:
            case RunStarted():
                self._start(event.plan, event.run_id)
            case StepStarted():
                self._note_running(RunningBranch(event.path, event.id, now()))
            case StepProgressed() if event.path in self._running:
                known = self._running[event.path]
                self._note_running(replace(known, done=event.done, total=event.total, heard=now(), stuck=False))
            case StepStuck() if event.path in self._running:
                self._note_running(replace(self._running[event.path], stuck=True))
            case LoopStarted() if event.chosen and event.batch_size is not None:
                with self._lock:
                    self._batch.sizes[event.path] = event.batch_size
            case AttemptFinished():
                with self._lock:
                    self._batch.tried.append((event.path, event.id, event.attempt))
                if event.attempt.status != "succeeded":  # otherwise the finished call follows immediately
                    self._write_soon(hurry=True)
            case StepFinished():
                self._running.pop(event.outcome.path, None)
                with self._lock:
                    self._batch.running.pop(event.outcome.path, None)
                    if self._shown.pop(event.outcome.path, None) is not None:
                        self._batch.gone.append(event.outcome.path)
                    self._batch.ended.append(event.outcome)
                self._write_soon()
            case RunFinished():
                self._finish_run(event.result)
            case _:
                pass

    def _start(self, plan: Plan, run_id: str) -> None:
        self._run_id, self._began = run_id, now()
        self._chain = self._chain or run_id
        self._store.start(
            RunRecord(
                run_id,
                plan.pipeline.name,
                plan.fingerprint,
                self._index,
                self._parameters,
                "running",
                self._began,
                chain=self._chain,
                resumed_from=self._resumes.run_id if self._resumes is not None else None,
                flow_run_id=self.flow_run_id,
                file=self._file,
                yaml=_yaml(plan),
                heartbeat=self._began,
                **asdict(ProcessIdentity()),
            )
        )
        # In this context, so that its log records go to the log of the run.
        write = contextvars.copy_context().run
        self._writer = threading.Thread(
            target=write, args=(self._write_batches,), name=f"braid-run-store-{run_id}", daemon=True
        )
        self._writer.start()

    def _note_running(self, step: RunningBranch) -> None:
        # Without waking the writer, so that a step that ends soon needs no transaction of its own.
        self._running[step.path] = step
        with self._lock:
            self._batch.running[step.path] = step

    def _finish_run(self, result: RunResult | None) -> None:
        """Write the last batch and the end of the run.

        Raises:
            RunStoreFailed: the store could not be written.
        """
        self._ended = True
        self._write_soon(hurry=True)
        if self._writer is not None:
            self._writer.join()
        try:
            if self._error is None and result is not None:
                self._store.finish(result)
            elif self._error is None and self._run_id:
                self._store.stop(self._run_id, "cancelled", now() - self._began)
        except Exception as error:
            self._error = error
        finally:
            self._store.close()
        if self._error is not None:
            raise RunStoreFailed(
                f"run {self._run_id}: the run store could not be written: {self._error}; the run itself "
                "is not affected, but some of its steps cannot be resumed"
            ) from self._error

    # The journal of finished calls.

    async def find(self, key: str) -> FinishedCall | None:
        if key not in self._known:
            return None
        try:
            return await asyncio.to_thread(self._store.finished_call, self._chain, key)
        except Exception as error:  # the result was not signed here, or unpickling failed
            logger.warning("%s: its kept result cannot be read: %s; the step runs again", key, error)
            return None

    def keep(self, key: str, kept: FinishedCall) -> Awaitable[None]:
        if not _is_small(kept.result):
            return self._keep_large(key, kept)
        stored = _packed(key, kept)
        return self._queue_call(key, stored) if stored is not None else asyncio.sleep(0)

    async def _keep_large(self, key: str, kept: FinishedCall) -> None:
        stored = await asyncio.to_thread(_packed, key, kept)
        if stored is not None:
            await self._queue_call(key, stored)

    async def drop(self, key: str) -> None:
        await self._queue_call(key, None)

    def _queue_call(self, key: str, stored: StoredCall | None) -> "asyncio.Future[None]":
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._known.discard if stored is None else self._known.add)(key)
        with self._lock:
            self._batch.keep[key] = stored
            self._batch.written.append(written)
        self._write_soon(hurry=True)
        return written

    def _write_soon(self, *, hurry: bool = False) -> None:
        """Wake the writer; `hurry`: a caller waits for the write."""
        # The writer clears the events before it takes the changes, so an event that is set need not be set again.
        if hurry and not self._hurry.is_set():
            self._hurry.set()
        if not self._wake.is_set():
            self._wake.set()

    def _gather(self) -> None:
        """Wait a moment for more changes that can share the transaction."""
        if not self._hurry.wait(timeout=OUTCOME_DELAY_S) or self._ended:
            return
        # A step that runs alone has nothing to wait for.
        if len(self._running) > len(self._batch.written):
            time.sleep(GATHER_S)

    def _write_batches(self) -> None:
        beaten = now()
        while True:
            if self._wake.wait(timeout=RUNNING_DELAY_S if self._batch.running else MAX_DELAY_S):
                self._gather()
            self._wake.clear()
            self._hurry.clear()
            ended = self._ended
            batch = self._take_batch()
            try:
                if self._error is None and (batch.ended or batch.tried or batch.keep or batch.running or batch.sizes):
                    self._store.write(
                        self._run_id,
                        self._chain,
                        ended=batch.ended,
                        tried=batch.tried,
                        running=list(batch.running.values()),
                        gone=batch.gone,
                        keep=batch.keep,
                        sizes=batch.sizes,
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
                _wake_all(batch.written)
            if ended:
                return

    def _take_batch(self) -> _Batch:
        """Take the changes that are written now; steps that have just begun are left for later."""
        with self._lock:
            batch, self._batch = self._batch, _Batch()
            kept = {stored.call.step_id for stored in batch.keep.values() if stored is not None}
            for path in [path for path, step_id in self._shown.items() if step_id in kept]:
                del self._shown[path]
                batch.gone.append(path)
            begun = now() - RUNNING_DELAY_S
            for path, step in list(batch.running.items()):
                if step.step_id in kept:
                    del batch.running[path]
                elif step.started > begun and path not in self._shown:
                    self._batch.running[path] = batch.running.pop(path)
            self._shown.update((path, step.step_id) for path, step in batch.running.items())
        return batch


def _wake_all(futures: "Sequence[asyncio.Future[None]]") -> None:
    """Finish futures that wait for the same write, with one message per event loop."""

    def finish(those: "list[asyncio.Future[None]]") -> None:
        for each in those:
            if not each.done():
                each.set_result(None)

    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for future in futures:
        by_loop.setdefault(future.get_loop(), []).append(future)
    for loop, those in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            loop.call_soon_threadsafe(finish, those)


def _packed(key: str, kept: FinishedCall) -> StoredCall | None:
    try:
        return pack(kept)
    except Exception as error:  # any error of pickling
        logger.warning("%s: its result cannot be stored (%s); a resumed run repeats the step", key, error)
        return None


def _is_small(result: CallResult) -> bool:
    """Whether a result is certainly fast to pack: a few numbers and short texts."""
    left, pending = SMALL_ITEMS, [result.value, *(change.value for change in result.delta)]
    while pending and left > 0:
        value, left = pending.pop(), left - 1
        match value:
            case str() | bytes() if len(value) > SMALL_LETTERS:
                return False
            case None | str() | bytes() | int() | float():
                pass
            case list() | tuple() | dict() if len(cast("list[Any]", value)) <= left:
                pending += value.values() if isinstance(value, dict) else value  # pyright: ignore[reportUnknownMemberType]
            case _:
                return False
    return not pending


def _yaml(plan: Plan) -> str | None:
    try:
        text = pack_pipeline(plan.pipeline)
    except ValueError:  # built in Python, with options that YAML cannot hold
        return None
    shown = hide_secrets(text)
    return text if shown == text else f"{SECRET_LEFT_OUT}\n{shown}"
