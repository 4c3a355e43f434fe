"""The journal of finished calls: a resumed run reuses them, so that successful calls are not repeated."""

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field

from flows.author import SUCCEEDED, ItemFailure, ending_of
from flows.calling import BOOKKEEPING, RUN_STORE, CallKey, CallResult, LeafCall, LeafResult, RunLeaf

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FinishedCall:
    """A finished call: its result, the fingerprints of its step, and its time and cost."""

    chained_fingerprint: str
    """See `flows.planning.fingerprints`."""
    own_fingerprint: str
    result: CallResult
    step_id: str = ""
    started: float | None = None
    seconds: float = 0.0
    attempts: int = 1
    cost: Mapping[str, float] = field(default_factory=dict[str, float])
    failures: tuple[ItemFailure, ...] = ()
    undoing: bool = False
    """Whether its undo has begun. Its effects may be partly undone, so the call must be undone completely and repeated.
    """


class Journal:
    """Keeps finished calls by key; this base class keeps nothing."""

    active: bool = False
    """Whether the journal keeps calls; if not, keys and fingerprints need not be computed."""

    def __init__(self) -> None:
        self.batch_sizes: dict[str, int] = {}
        """The sizes of batches that this run, or the one that it resumes, has chosen, by path of the loop: a resumed
        run knows its finished calls by their batches."""

    async def find(self, key: str) -> FinishedCall | None:
        """The call that this run, or the one that it resumes, kept under `key`."""
        return None

    def keep(self, key: str, kept: FinishedCall) -> Awaitable[None]:
        """Keep a finished call; when the coroutine returns, the call survives the end of the process."""
        return asyncio.sleep(0)

    async def drop(self, key: str) -> None:
        """Forget a call: it has been undone."""


class MemoryJournal(Journal):
    """Keeps finished calls in memory, for tests and for trying things out."""

    active = True

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, FinishedCall] = {}

    async def find(self, key: str) -> FinishedCall | None:
        return self.kept.get(key)

    async def keep(self, key: str, kept: FinishedCall) -> None:
        self.kept[key] = kept

    async def drop(self, key: str) -> None:
        self.kept.pop(key, None)


def keep_in_journal(run_leaf: RunLeaf, journal: Journal) -> RunLeaf:
    """A `run_leaf` that reuses the calls in the journal and adds the calls that succeed."""
    if not journal.active:
        return run_leaf

    async def run(leaf: LeafCall) -> LeafResult:
        if leaf.undo_of is not None:
            return await run_leaf(leaf)
        key, times = leaf.key, leaf.progress.times
        assert key is not None, f"{leaf.id}: a call without a key cannot be kept"
        times.wait_for(RUN_STORE)
        try:
            kept = await journal.find(key.name)
            if kept is not None and leaf.node.spec.stages and not await _is_published(key, journal):
                kept = None
        except asyncio.CancelledError as error:
            return LeafResult(ending_of(error))
        if kept is not None and kept.chained_fingerprint == key.fingerprint.chained and not kept.undoing:
            return take_over(leaf, kept)
        if kept is not None and kept.undoing and leaf.node.spec.undo is not None:
            undone = await run_leaf(leaf.undoing(kept.result))
            if not undone.ending.succeeded:
                return undone
            await journal.drop(key.name)
        times.wait_for(BOOKKEEPING)
        ended = await run_leaf(leaf)
        if ended.result is None:
            return ended
        times.wait_for(RUN_STORE)
        record = FinishedCall(
            chained_fingerprint=key.fingerprint.chained,
            own_fingerprint=key.fingerprint.own,
            result=ended.result,
            step_id=leaf.id,
            started=leaf.progress.started,
            seconds=times.work_s,
            attempts=leaf.progress.attempts,
            cost=dict(leaf.progress.costs),
            failures=tuple(leaf.progress.call.failures),
        )
        keeping = asyncio.ensure_future(journal.keep(key.name, record))
        try:
            await asyncio.shield(keeping)
        except asyncio.CancelledError as error:
            # The call has succeeded and stays in the journal, although this run was cancelled.
            await asyncio.wait([keeping])
            return LeafResult(ending_of(error))
        return ended

    return run


def take_over(leaf: LeafCall, kept: FinishedCall) -> LeafResult:
    """Return the result of a call that an earlier run finished, and set the progress of the call from that run."""
    progress = leaf.progress
    progress.attempts, progress.started, progress.seconds = kept.attempts, kept.started, kept.seconds
    progress.costs = dict(kept.cost)
    progress.call.failures.extend(kept.failures)
    return LeafResult(SUCCEEDED, kept.result, reused=True)


async def _is_published(key: CallKey, journal: Journal) -> bool:
    """Whether the staged effects of a call have been published; if not, they may have been removed since."""
    if key.published_by is None:
        return False
    kept = await journal.find(key.published_by.name)
    return kept is not None and kept.chained_fingerprint == key.published_by.fingerprint.chained
