"""Long sequences in pieces: for statements, requests and transactions that take only so many items at once."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")


def chunked(items: Iterable[Item], size: int = 500) -> Iterator[list[Item]]:
    """The items in their order, in lists of `size` (the last may be shorter); they are taken as they are asked for.

    The default is short enough for the `IN (…)` of an SQL statement. `itertools.batched` needs Python 3.12.
    """
    remaining = iter(items)
    while chunk := list(islice(remaining, size)):
        yield chunk
