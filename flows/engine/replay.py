"""Replay one step of an earlier run on its recorded inputs, to find out why it ended as it did."""

import asyncio
from dataclasses import dataclass

from flows.author import SUCCEEDED, Outcome, ending_of
from flows.calling import CallResult, LeafCall, LeafResult
from flows.engine.attempts import run_leaf
from flows.engine.engine import run_plan
from flows.engine.journal import Journal, take_over
from flows.engine.prepared import Prepared
from flows.errors import OrchestrationError, suggest
from flows.model import StepPath
from flows.planning import Plan
from flows.state import Context, Delta, fingerprint


@dataclass(frozen=True)
class StepReplay:
    """How a step ended in the replay, with its writes then and now; `recorded` is None if it failed then."""

    outcome: Outcome
    writes: Delta
    recorded: Delta | None

    @property
    def same(self) -> bool:
        """Whether it wrote the same values as in the earlier run."""
        return self.recorded is not None and _delta_fingerprint(self.recorded) == _delta_fingerprint(self.writes)


def _delta_fingerprint(delta: Delta) -> str:
    return fingerprint([(change.kind, change.path, change.value) for change in delta])


async def replay_step(plan: Plan, context: Context, journal: Journal, step: str) -> StepReplay:
    """Run the step with that id, path or handler (the first of them) on the inputs that it had in an earlier run.

    Earlier steps are taken from the journal, later steps do not run, and nothing is recorded. The outside
    effects of the handler happen again.

    Raises:
        OrchestrationError: there is no such step, or an earlier step did not succeed in that run.
    """
    replaying = _Replay(journal, step)
    result = await run_plan(Prepared(plan, context, journal=_KeysOnly()), run_leaf=replaying)
    if not replaying.path:
        names = [outcome.id for outcome in result.outcomes if outcome.is_leaf]
        if step in names or step in [outcome.path for outcome in result.outcomes]:
            missing = next((one.id for one in result.outcomes if one.is_leaf and one.status == "cancelled"), step)
            raise OrchestrationError(
                f"{step!r} cannot be replayed: {missing!r} before it did not succeed in that "
                "run, or its result is no longer kept"
            )
        raise OrchestrationError(f"no step {step!r} in that run{suggest(step, names)}")
    outcome = next(one for one in result.outcomes if one.path == replaying.path)
    return StepReplay(outcome, replaying.writes or (), replaying.recorded)


class _KeysOnly(Journal):
    """A journal that keeps nothing; it exists so that each call gets its key."""

    active = True


class _Replay:
    """Runs one leaf, takes those before it from the journal, and stops those after it."""

    def __init__(self, journal: Journal, step: str) -> None:
        self._journal, self._step = journal, step
        self.path = ""
        self.writes: Delta | None = None
        self.recorded: Delta | None = None

    async def __call__(self, leaf: LeafCall) -> LeafResult:
        kept = await self._journal.find(leaf.key.name) if leaf.key is not None else None
        if self._step in (leaf.id, leaf.path, leaf.node.spec.name) and not self.path:
            self.path, self.recorded = leaf.path, kept.result.delta if kept is not None else None
            ended = await run_leaf(leaf)
            self.writes = ended.result.delta if ended.result is not None else None
            return ended
        if kept is None and leaf.item is not None and StepPath(self._step).item:
            return LeafResult(SUCCEEDED, CallResult((), None))  # an item other than the requested one
        if kept is None or self.path:
            return LeafResult(ending_of(asyncio.CancelledError()))
        return take_over(leaf, kept)
