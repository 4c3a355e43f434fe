"""A handler's view of its own call: logger, services, cancellation, and what it reports (cost, progress, bad items)."""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flows.context import Identity
from flows.errors import StepCancelled
from flows.services import Services


@dataclass(frozen=True)
class ItemFailure:
    """One item that a handler set aside with its reason while the others went on."""

    item: str
    error: str
    step_id: str = ""


@dataclass
class Call:
    """Declare a keyword-only parameter `call: Call` to receive it; safe to use from the handler's own threads."""

    step_id: str = "step"
    attempt: int = 1
    identity: Identity = field(default_factory=Identity)
    item: str | None = None
    costs: dict[str, float] = field(default_factory=dict[str, float])
    failures: list[ItemFailure] = field(default_factory=list[ItemFailure])
    done: int = 0
    total: int | None = None
    _cancelled: threading.Event = field(default_factory=threading.Event)
    _lock: Any = field(default_factory=threading.Lock)

    @property
    def index(self) -> str:
        return self.identity.index

    @property
    def run_id(self) -> str:
        return self.identity.run_id

    @property
    def services(self) -> Services:
        return self.identity.services

    @property
    def logger(self) -> logging.Logger:
        return logging.getLogger(f"handlers.{self.step_id}")

    @property
    def cancelled(self) -> bool:
        """Whether the result is no longer wanted: the step timed out, a sibling failed, or the run was stopped."""
        return self._cancelled.is_set()

    def check_cancelled(self) -> None:
        """Stop here if the result is no longer wanted.

        Raises:
            StepCancelled: it is not; let it pass through.
        """
        if self._cancelled.is_set():
            raise StepCancelled(f"{self.step_id}: the result is no longer wanted")

    def cancel(self) -> None:
        self._cancelled.set()

    def report_cost(self, **units: float) -> None:
        """Add to the cost of this call, for example `tokens=812, usd=0.0004`; counted also when the call fails."""
        with self._lock:
            for unit, amount in units.items():
                self.costs[unit] = self.costs.get(unit, 0.0) + amount

    def report_progress(self, done: int, total: int | None = None) -> None:
        """Say how far the call is: items done of `total`."""
        with self._lock:
            self.done, self.total = done, total

    def fail_item(self, item: str, error: BaseException | str) -> None:
        """Set one item aside with its reason; the call goes on and the run ends `partial`."""
        text = error if isinstance(error, str) else (str(error) or type(error).__name__)
        with self._lock:
            self.failures.append(ItemFailure(item, text, self.step_id))

    def __getstate__(self) -> Mapping[str, Any]:
        kept = ("step_id", "attempt", "identity", "item", "costs", "failures", "done", "total")
        return {name: getattr(self, name) for name in kept}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state, _cancelled=threading.Event(), _lock=threading.Lock())
