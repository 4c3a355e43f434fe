"""One call of a handler: its input, the progress of its attempts, and its result."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from flows.author import Attempt, Call, Ending
from flows.calling.clusters import Cluster
from flows.calling.times import CallTimes
from flows.limits import RetryCount, RunLimits, Slot, Window
from flows.model import StepPath
from flows.planning import Leaf, StepFingerprint
from flows.state import Context, Delta


@dataclass(frozen=True)
class CallResult:
    """The result of a successful attempt."""

    delta: Delta
    value: Any
    """The function's return value. If it was written to a field, this is the object in the delta: do not change it."""
    quality: float | None = None


@dataclass(frozen=True)
class CallKey:
    """The name and fingerprint under which a result is kept: the same in every run of a pipeline on the same items."""

    name: str
    fingerprint: StepFingerprint
    published_by: "CallKey | None" = None
    """For a call that stages its result: the key of the call that publishes it."""


@dataclass
class CallProgress:
    """The state of one call after its attempts so far; used on the event loop only."""

    attempts: int = 0
    started: float | None = None
    seconds: float | None = None
    """For a call reused from an earlier run: the seconds that it worked in that run."""
    times: CallTimes = field(default_factory=CallTimes)
    """How long it worked, and how long it waited for each thing."""
    tries: list[Attempt] = field(default_factory=list[Attempt])
    """The attempts that have ended."""
    call: Call = field(default_factory=Call)
    """The handler's view of the last attempt."""
    costs: dict[str, float] = field(default_factory=dict[str, float])
    failure: Ending | None = None
    """How the last attempt failed."""
    is_trying: bool = False
    """Whether an attempt has been admitted and is running."""
    abandoned: bool = False
    """Whether the last attempt was stopped, but its thread still runs."""


def ignore_attempt(attempt: Attempt) -> None:
    """The default for a call whose attempts are not watched."""


@dataclass(frozen=True)
class LeafCall:
    """One handler call as the engine hands it to a runner; its attempts write into `progress`."""

    node: Leaf
    path: StepPath
    id: str
    context: Context
    """The branch's context, read-only; the call returns its changes as a delta."""
    deadline: float | None = None
    """When its time is up, on the event loop's clock."""
    slot: Slot | None = None
    """The slot of the branch or item around the call; held during each attempt."""
    windows: tuple[Window, ...] = ()
    """The concurrency windows of the sub-pipelines around the call, innermost first; held during each attempt."""
    limits: RunLimits = field(default_factory=RunLimits)
    key: CallKey | None = None
    """The key under which its result is kept; None if results are not kept."""
    undo_of: CallResult | None = None
    """If set, this call undoes an earlier one that had this result."""
    attempted: Callable[[Attempt], None] = ignore_attempt
    """Called after each attempt."""
    cluster: Cluster | None = None
    """The cluster that it runs on; None if it runs in this process."""
    progress: CallProgress = field(default_factory=CallProgress)

    @property
    def item(self) -> str | None:
        """The indices of the items around, as text: `[2][0]`."""
        return self.path.item or None

    def give_way(self) -> None:
        """Release the slot for another branch or item while this call waits for its next attempt.

        Call it only when the next attempt is certain; otherwise branches behind the slot would start too early.
        """
        if self.slot is not None:
            self.slot.let_go()

    def undoing(self, result: CallResult) -> "LeafCall":
        """The call that undoes this one, which had `result`; it has no deadline and no retry budget."""
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
    """Whether the result was reused from an earlier run."""


class RunLeaf(Protocol):
    """Runs a leaf with all its retries. Never raises; a cancelled call is a result too."""

    async def __call__(self, leaf: LeafCall) -> LeafResult: ...
