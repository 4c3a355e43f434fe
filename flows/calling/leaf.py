"""One call of a handler, as the engine hands it to what runs it, and what comes back."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from flows.author import Attempt, Call, Ending
from flows.calling.clusters import Cluster
from flows.limits import Admitted, Budget, Slot, Window
from flows.model import RetryCount, StepPath
from flows.planning import Leaf
from flows.state import Context, Delta


@dataclass(frozen=True)
class CallResult:
    """What a successful attempt gave."""

    delta: Delta
    value: Any
    quality: float | None = None


@dataclass
class LeafCall:
    """One handler call as the engine hands it to a runner, and what its attempts leave behind."""

    node: Leaf
    path: StepPath
    id: str
    context: Context
    """The branch's context; not to be written: what the call changes comes back as a delta."""
    deadline: float | None = None
    """On the event loop's clock."""
    windows: tuple[Window, ...] = ()
    """Held during each attempt."""
    slot: Slot | None = None
    item: str | None = None
    key: str = ""
    """Under which its result is kept: the same in every run of a pipeline on the same items."""
    chained_fingerprint: str = ""
    own_fingerprint: str = ""
    published: tuple[str, str] | None = None
    """For a call that stages: key and chained fingerprint of the call that publishes."""
    undo_of: CallResult | None = None
    """If set, the call undoes what an earlier one with this result did."""
    tried: "Callable[[Attempt], None]" = lambda attempt: None
    turn: "Callable[[], AbstractAsyncContextManager[Admitted]] | None" = None
    """Entered after the windows for each attempt: the limits of the resources it uses."""
    retries: RetryCount | None = None
    cluster: Cluster | None = None
    """Where it is called, if not in this process."""
    attempts: int = 0
    started: float | None = None
    seconds: float | None = None
    call: Call = field(default_factory=Call)
    abandoned: bool = False
    is_trying: bool = False
    """Whether an attempt is going on, and not only waiting for its turn."""
    costs: dict[str, float] = field(default_factory=dict[str, float])
    failure: Ending | None = None
    """How its last attempt failed."""
    meter: Budget = field(default_factory=Budget)

    def give_way(self) -> None:
        """Leave the place to another branch or item while this one waits to be tried again.

        Not before it is sure that it will be: what waits for the place must first know how this one ended.
        """
        if self.slot is not None:
            self.slot.let_go()

    def undoing(self, done: CallResult) -> "LeafCall":
        """The call that undoes this one, which gave `done`."""
        return LeafCall(
            self.node,
            self.path,
            f"undo {self.id}",
            self.context,
            windows=self.windows,
            item=self.item,
            meter=self.meter,
            undo_of=done,
            tried=self.tried,
            turn=self.turn,
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
