"""One call of a handler: the input that the engine hands to a runner, what its attempts leave, and how it ended."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from flows.author import Attempt, Call, Ending
from flows.calling.clusters import Cluster
from flows.limits import RetryCount, RunLimits, Slot
from flows.model import StepPath
from flows.planning import Leaf, StepFingerprint
from flows.state import Context, Delta


@dataclass(frozen=True)
class CallResult:
    """What a successful attempt gave."""

    delta: Delta
    value: Any
    quality: float | None = None


@dataclass(frozen=True)
class CallKey:
    """Under which name and fingerprint a result is kept: the same in every run of a pipeline on the same items."""

    name: str
    fingerprint: StepFingerprint
    published_by: "CallKey | None" = None
    """Of a call that stages: the key of the one that makes it lasting."""


@dataclass
class CallProgress:
    """What the attempts at one call have left so far; used on the event loop only."""

    attempts: int = 0
    started: float | None = None
    seconds: float | None = None
    """Of a call that was taken over: those that it took in its run."""
    call: Call = field(default_factory=Call)
    """The handler's view of the last attempt."""
    costs: dict[str, float] = field(default_factory=dict[str, float])
    failure: Ending | None = None
    """How the last attempt that was made failed."""
    is_trying: bool = False
    """Whether an attempt is going on, and not only waiting for its turn."""
    abandoned: bool = False
    """Whether the last attempt was stopped and its thread goes on."""


def ignore_attempt(attempt: Attempt) -> None:
    """What is called with the attempts at a call that nobody watches."""


@dataclass(frozen=True)
class LeafCall:
    """One handler call as the engine hands it to a runner; what comes of its attempts is in `progress`."""

    node: Leaf
    path: StepPath
    id: str
    context: Context
    """The branch's context; not to be written: what the call changes comes back as a delta."""
    deadline: float | None = None
    """On the event loop's clock."""
    slot: Slot | None = None
    """Of the branch or item that it is in; held during each attempt."""
    limits: RunLimits = field(default_factory=RunLimits)
    key: CallKey | None = None
    """Where its result is kept; None if no results are."""
    undo_of: CallResult | None = None
    """If set, the call undoes what an earlier one with this result did."""
    attempted: Callable[[Attempt], None] = ignore_attempt
    """Called after each attempt."""
    cluster: Cluster | None = None
    """Where it is called, if not in this process."""
    progress: CallProgress = field(default_factory=CallProgress)

    @property
    def item(self) -> str | None:
        """The indices of the items around, as text: `[2][0]`."""
        return self.path.item or None

    def give_way(self) -> None:
        """Leave the slot to another branch or item while this one waits to be tried again.

        Not before it is sure that it will be: what waits for the slot must first know how this one ended.
        """
        if self.slot is not None:
            self.slot.let_go()

    def undoing(self, result: CallResult) -> "LeafCall":
        """The call that undoes this one, which gave `result`; neither its time nor the budget of retries bounds it."""
        return replace(
            self,
            id=f"undo {self.id}",
            deadline=None,
            slot=None,
            limits=replace(self.limits, retries=RetryCount()),
            undo_of=result,
            progress=CallProgress(),
        )


@dataclass(frozen=True)
class LeafResult:
    """How a call ended, and its result if it succeeded."""

    ending: Ending
    result: CallResult | None = None
    reused: bool = False
    """Taken over from an earlier run."""


class RunLeaf(Protocol):
    """How a leaf is run; all retries included. Never raises; a cancelled call is a result too."""

    async def __call__(self, leaf: LeafCall) -> LeafResult: ...
