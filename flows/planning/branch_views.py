"""The context that a branch begins with: the context of the fork plus the changes of the branches it waits for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from flows.planning.dependencies import bits, waits_of_all

View = TypeVar("View")


@dataclass(frozen=True)
class _Growth:
    start: int | None
    """The branch whose final view is the starting point; None for the fork."""
    then: tuple[int, ...]
    """The branches whose changes are then added, in declared order."""


class BranchViews(Generic[View]):
    """The views of the branches of one group, each based on the view of an earlier branch where possible.

    So each change in a long chain of branches is applied only once. The result is the same as applying all changes to
    the fork in declared order. A view is dropped when no other view needs it.
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
        """Keep the view of a finished branch, which contains its changes, for the branches that need it."""
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
