"""The context that a branch begins with: that of the fork, and the changes of branches it waits for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from flows.planning.dependencies import bits, waits_of_all

View = TypeVar("View")


@dataclass(frozen=True)
class _Growth:
    start: int | None
    """The branch whose view comes first, with its own changes; None for the fork."""
    then: tuple[int, ...]
    """The branches whose changes come after that, in declared order."""


class BranchViews(Generic[View]):
    """The views of the branches of one group, each made from that of a branch before it, where that can be.

    So every change in a long chain of branches is applied once. The changes in a view are in declared order, as if all
    of them had been applied to the fork. A view is dropped when no other one needs it.
    """

    def __init__(
        self,
        after: Sequence[frozenset[int]],
        count: int,
        *,
        fork: Callable[[], View],
        copy: Callable[[View], View],
        add: Callable[[View, int], None],
    ) -> None:
        """`add` makes the changes of a branch in a view."""
        self._fork, self._copy, self._add = fork, copy, add
        self._growths = _growths(after, count)
        self._needed = [0] * count
        """How many branches that have not begun start from the view of each."""
        for growth in self._growths:
            if growth.start is not None:
                self._needed[growth.start] += 1
        self._left: dict[int, View] = {}

    def begin(self, position: int) -> View:
        """The view of a branch; those that it waits for have ended."""
        growth = self._growths[position]
        if growth.start is None:
            view = self._fork()
        else:
            view = self._copy(self._left[growth.start])
            self._needed[growth.start] -= 1
            if not self._needed[growth.start]:
                del self._left[growth.start]
        for earlier in growth.then:
            self._add(view, earlier)
        return view

    def end(self, position: int, view: View) -> None:
        """Keep the view of a branch that has ended for others; its changes are made in it."""
        if self._needed[position]:
            self._add(view, position)
            self._left[position] = view


def _growths(after: Sequence[frozenset[int]], count: int) -> list[_Growth]:
    if not after:
        return [_Growth(None, ())] * count
    before = waits_of_all(after, count)
    found: list[_Growth] = []
    for index in range(count):
        for one in sorted(after[index], reverse=True):
            rest = before[index] & ~(before[one] | 1 << one)
            if not rest & ((1 << one) - 1):  # none of these changes comes before those of `one`
                found.append(_Growth(one, tuple(bits(rest))))
                break
        else:
            found.append(_Growth(None, tuple(bits(before[index]))))
    return found
