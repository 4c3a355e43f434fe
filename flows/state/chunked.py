"""Splits long sequences for statements, requests and transactions with a limited number of items."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")


def chunked(items: Iterable[Item], size: int = 500) -> Iterator[list[Item]]:
    """Yield the items in lists of `size` (the last may be shorter), reading `items` lazily.

    The default is short enough for the `IN (…)` of an SQL statement. `itertools.batched` needs Python 3.12.
    """
    remaining = iter(items)
    while chunk := list(islice(remaining, size)):
        yield chunk
