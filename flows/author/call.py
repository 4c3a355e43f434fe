"""A handler's view of its own call: logger, services, cancellation, and reports of cost, progress and bad items."""

import json
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flows.author.prices import PriceOf, checked_amounts, money_for, with_tokens
from flows.author.side_by_side import map_side_by_side
from flows.errors import StepCancelled
from flows.model import hide_secrets
from flows.state import Identity, Services

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True)
class ItemFailure:
    """One item that a handler set aside, with the reason, while it went on with the others."""

    item: str
    error: str
    step_id: str = ""
    transient: bool = False
    """Whether trying the item again may help, although nothing about it has changed."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "error", hide_secrets(self.error))


@dataclass(frozen=True)
class ItemStatus:
    """The status of one item (a document) as a handler reports it, for example `processing` or `processed`."""

    item: str
    status: str


@dataclass
class Call:
    """One call of a handler, received by a keyword-only parameter `call: Call`. Safe in threads of the handler."""

    step_id: str = "step"
    attempt: int = 1
    identity: Identity = field(default_factory=Identity)
    item: str | None = None
    aside: Mapping[str, ItemFailure] = field(default_factory=dict[str, ItemFailure])
    """The items that earlier steps of this branch set aside, each with its first failure."""
    costs: dict[str, float] = field(default_factory=dict[str, float])
    failures: list[ItemFailure] = field(default_factory=list[ItemFailure])
    items: list[ItemStatus] = field(default_factory=list[ItemStatus])
    done: int = 0
    total: int | None = None
    reports: int = 0
    """How many times progress was reported."""
    price: PriceOf | None = None
    """The handler's own price."""
    on_cost: Callable[[Mapping[str, float]], None] | None = None
    """Called immediately with each reported cost, even if the engine has given the call up."""
    ceiling: int | None = None
    """How many calls the run allows at the same time."""
    ledger: str | None = None
    """In a worker process: the file that keeps the reports if the process dies."""
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
        """Whether the result is no longer needed: the step timed out, a sibling failed, or the run was stopped."""
        return self._cancelled.is_set()

    def check_cancelled(self) -> None:
        """Stop here if the result is no longer needed.

        Raises:
            StepCancelled: the result is not wanted; do not catch it.
        """
        if self._cancelled.is_set():
            raise StepCancelled(f"{self.step_id}: the result is no longer needed")

    def each(self, function: Callable[[Item], Made], items: Iterable[Item], *, at_once: int = 8) -> list[Made]:
        """Apply `function` to each item, several at a time in threads; return the results in the order of the items.

        At most `at_once` run at the same time, and no more than the run allows calls at once. After a cancellation or a
        failed item, no further item begins; the error of the first failed item is raised. The limits of a resource
        count the whole handler call as one call, so choose `at_once` accordingly.

        Raises:
            StepCancelled: the result is not wanted; do not catch it.
        """
        most = at_once if self.ceiling is None else min(at_once, self.ceiling)
        return map_side_by_side(function, items, at_once=most, check=self.check_cancelled)

    def cancel(self) -> None:
        self._cancelled.set()

    def report_cost(self, model: str | None = None, /, **units: float) -> None:
        """Add to the cost of this call, for example `report_cost("openai/gpt-x", input_tokens=812)`.

        The cost counts even if the call fails, is cancelled or is given up. Unless money is reported, it is computed by
        the handler's own price, or by the settings' price table if that has the `model` (or resource) and the unit.

        Raises:
            FatalError: an amount is negative or not a number.
        """
        amounts = checked_amounts(units)
        self.add_cost(with_tokens(amounts))
        prices = self.services["prices"] if "prices" in self.services else None  # noqa: SIM401  (no mapping)
        money = money_for(amounts, model=model, own=self.price, prices=prices)
        if money:
            self.add_cost(money)

    def add_cost(self, units: Mapping[str, float]) -> None:
        """Add to the cost of this call without computing money."""
        with self._lock:
            for unit, amount in units.items():
                self.costs[unit] = self.costs.get(unit, 0.0) + amount
            self._add_to_ledger({"cost": dict(units)})
        if self.on_cost is not None:
            self.on_cost(units)

    def report_progress(self, done: int, total: int | None = None) -> None:
        """Report how many items of `total` are done."""
        with self._lock:
            self.done, self.total = done, total
            self.reports += 1

    def fail_item(self, item: str, error: BaseException | str, *, transient: bool = False) -> None:
        """Set one item aside with its reason; the call goes on, and the run ends as `partial`.

        If the call succeeds, the steps after it find the item in `aside`. With `transient`, the item may succeed next
        time: an ingestion tries such a document again, although it has not changed.
        """
        text = error if isinstance(error, str) else (str(error) or type(error).__name__)
        with self._lock:
            self.failures.append(ItemFailure(item, text, self.step_id, transient))
            self._add_to_ledger({"item": item, "error": text, "transient": transient})

    def done_items(self, items: Iterable[str], status: str = "processed") -> None:
        """Report the status of items; if the call succeeds, the run store keeps it for every item."""
        done = [ItemStatus(item, status) for item in items]
        with self._lock:
            self.items.extend(done)
            self._add_to_ledger({"done": [each.item for each in done], "status": status})

    def read_ledger(self, path: str) -> None:
        """Take over the reports of a worker process, however it ended."""
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                if not line.endswith("\n"):  # the worker was killed while it wrote this line
                    break
                entry: dict[str, Any] = json.loads(line)
                if "cost" in entry:
                    self.add_cost(entry["cost"])
                elif "done" in entry:
                    self.items.extend(ItemStatus(item, entry["status"]) for item in entry["done"])
                else:
                    self.failures.append(ItemFailure(entry["item"], entry["error"], self.step_id, entry["transient"]))

    def _add_to_ledger(self, entry: Mapping[str, Any]) -> None:
        if self.ledger is not None:
            with open(self.ledger, "a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")

    def __getstate__(self) -> Mapping[str, Any]:
        kept = (
            "step_id",
            "attempt",
            "identity",
            "item",
            "aside",
            "costs",
            "failures",
            "items",
            "done",
            "total",
            "ceiling",
            "ledger",
        )
        return {name: getattr(self, name) for name in kept}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state, price=None, on_cost=None, _cancelled=threading.Event(), _lock=threading.Lock())
