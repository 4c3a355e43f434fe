"""Limits for one evaluation of a condition or template: steps, seconds, and the size of its values. They apply to the
values that an expression makes, not to data that handlers wrote.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from time import monotonic
from typing import Any, TypeVar, cast

MOST_LETTERS = 10_000_000
"""The most letters of a text that an expression makes."""
MOST_ITEMS = 1_000_000
"""The most items of a list that an expression makes, including those of nested lists."""
MOST_STEPS = 1_000_000
MOST_SECONDS = 2.0
MOST_LETTERS_IN_ALL = 5 * MOST_LETTERS
"""The most letters of all texts that one evaluation makes, including intermediate ones."""
_STEPS_PER_LOOK = 100
_ITEMS_PER_STEP = 5
"""How many items can be examined in the time of one step."""

Item = TypeVar("Item")


class TooMuch(Exception):
    """The evaluation would exceed a limit; the message names the limit."""


class Budget:
    """The steps and seconds that one evaluation has left."""

    def __init__(self) -> None:
        self._steps = self._letters = 0
        self._until = monotonic() + MOST_SECONDS

    def spend(self, steps: int = 1) -> None:
        """Count steps.

        Raises:
            TooMuch: there were too many, or the time is up.
        """
        before, self._steps = self._steps, self._steps + steps
        if self._steps > MOST_STEPS:
            raise TooMuch(f"it takes more than {MOST_STEPS} steps; compute it in a handler")
        if before // _STEPS_PER_LOOK != self._steps // _STEPS_PER_LOOK and monotonic() > self._until:
            raise TooMuch(f"it takes longer than {MOST_SECONDS:g} s; compute it in a handler")

    def write(self, letters: int) -> None:
        """Count letters of a text.

        Raises:
            TooMuch: there were too many.
        """
        self._letters += letters
        if self._letters > MOST_LETTERS_IN_ALL:
            raise TooMuch(f"it makes texts of more than {MOST_LETTERS_IN_ALL} letters; compute it in a handler")


BUDGET: ContextVar[Budget | None] = ContextVar("budget_of_an_evaluation", default=None)


def spend(steps: int = 1) -> None:
    """Count steps of the current evaluation."""
    budget = BUDGET.get()
    if budget is not None:
        budget.spend(steps)


def counted(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items, and count one step for each."""
    for item in items:
        spend()
        yield item


def check_letters(letters: int) -> None:
    """Refuse a text that would be too long.

    Raises:
        TooMuch: it would.
    """
    if letters > MOST_LETTERS:
        raise TooMuch(f"it makes a text of more than {MOST_LETTERS} letters; write it to a file in a handler")
    budget = BUDGET.get()
    if budget is not None:
        budget.write(letters)


def check_items(items: int) -> None:
    """Refuse a list that would be too long.

    Raises:
        TooMuch: it would.
    """
    if items > MOST_ITEMS:
        raise TooMuch(f"it makes a list of more than {MOST_ITEMS} items; make it in a handler")


def letters_of(value: Any) -> int:
    """A lower bound of the letters that a value has as text; counting stops at the limit.

    A list that contains another one twice counts it twice, because a few nested lists can expand to enormous texts.
    """
    letters = items = 0
    waiting: list[Any] = [value]
    while waiting:
        each = waiting.pop()
        items += 1
        if isinstance(each, (str, bytes, bytearray)):
            letters += len(each)
        elif isinstance(each, Mapping):
            waiting += [*cast("Mapping[Any, Any]", each).keys(), *cast("Mapping[Any, Any]", each).values()]
        elif isinstance(each, (list, tuple, set, frozenset)):
            waiting += cast("list[Any]", each)
        elif hasattr(each, "nbytes"):  # an array
            letters += int(each.nbytes)
        else:
            letters += 1
        if letters > MOST_LETTERS or len(waiting) > MOST_ITEMS or items > MOST_ITEMS:
            return MOST_LETTERS + 1
    spend(items // _ITEMS_PER_STEP)
    return letters


def made(value: Any) -> Any:
    """Return a list or mapping that an expression has just made, if its size is within the limits.

    Raises:
        TooMuch: including its contents, it is too large.
    """
    items, waiting = 0, [value]
    while waiting:
        each = waiting.pop()
        items += 1
        if isinstance(each, Mapping):
            waiting += cast("Mapping[Any, Any]", each).values()
        elif isinstance(each, (list, tuple, set, frozenset)):
            waiting += cast("list[Any]", each)
        check_items(items + len(waiting))
    spend(items // _ITEMS_PER_STEP + 1)
    return value
