"""Which passages came and went with each change of an index in SQL, for processes that search it while it grows.

Every change of answers raises the counter `data` by one and leaves a row of that number in `changes`. Whoever has read
the index at one number applies the rows since; if some are no longer kept, everything is read again.
"""

from collections.abc import Collection, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import Connection, delete, func, insert, select

from flows.state import chunked
from handlers.stores.sql import schema
from handlers.stores.sql.dialects import among, upsert

MOST_CHANGES = 1000
"""Rows that are kept."""

passages_, changes_, counters_ = schema.passages, schema.changes, schema.counters


@dataclass(frozen=True)
class Changes:
    """What the changes since some time come to: keys of passages, ascending, and the difference in numbers.

    A passage whose terms or vector were replaced is in both `went` and `came`. What came and went meanwhile is in
    `went` only.
    """

    came: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    went: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    passages: int = 0
    terms: int = 0


@contextmanager
def noting_changes(connection: Connection, documents: Collection[int]) -> Generator[set[int]]:
    """Note as one change which visible passages of these documents (keys) come and go within the block.

    The block adds to the set the keys of visible passages whose terms or vectors it replaces.
    """
    before = _visible_lengths(connection, documents)
    remade = set[int]()
    yield remade
    after = _visible_lengths(connection, documents)
    stayed = before.keys() & after.keys() - remade
    _note(
        connection,
        came=after.keys() - stayed,
        went=before.keys() - stayed,
        passages=len(after) - len(before),
        terms=sum(after.values()) - sum(before.values()),
    )


def note_change(connection: Connection) -> None:
    """Note a change of answers in which no passage comes or goes, such as that of a tag."""
    _note(connection)


def changes_number(connection: Connection) -> int:
    """The number of the last change; 0 in an index without any."""
    return connection.execute(select(counters_.c.value).where(counters_.c.name == "data")).scalar() or 0


def changes_between(connection: Connection, after: int, last: int) -> Changes | None:
    """What the changes after one number up to another come to; `None` if some of them are no longer kept."""
    rows = connection.execute(
        select(changes_).where(changes_.c.number > after, changes_.c.number <= last).order_by(changes_.c.number)
    ).all()
    if len(rows) != last - after:
        return None
    came, went = set[int](), set[int]()
    for row in rows:
        gone = _unpacked(row.went)
        came.difference_update(gone)
        went.update(gone)
        came.update(_unpacked(row.came))
    return Changes(
        np.array(sorted(came), dtype=np.int64),
        np.array(sorted(went), dtype=np.int64),
        sum(row.passages for row in rows),
        sum(row.terms for row in rows),
    )


def _note(
    connection: Connection, came: Iterable[int] = (), went: Iterable[int] = (), *, passages: int = 0, terms: int = 0
) -> None:
    connection.execute(
        upsert(connection, counters_)
        .values(name="data", value=1)
        .on_conflict_do_update(index_elements=["name"], set_={"value": counters_.c.value + 1})
    )
    number = changes_number(connection)
    connection.execute(delete(changes_).where(changes_.c.number <= number - MOST_CHANGES))
    connection.execute(
        insert(changes_).values(number=number, came=_packed(came), went=_packed(went), passages=passages, terms=terms)
    )


def _visible_lengths(connection: Connection, documents: Collection[int]) -> Mapping[int, int]:
    """How many terms the visible passages of documents have, by passage key."""
    lengths: dict[int, int] = {}
    for some in chunked(documents):
        rows = connection.execute(
            select(passages_.c.key, func.coalesce(passages_.c.length, 0)).where(
                among(connection, passages_.c.document, some), schema.found_visible
            )
        )
        lengths.update((key, length) for key, length in rows)
    return lengths


def _packed(keys: Iterable[int]) -> bytes:
    """Keys as pairs of first and last of their ranges: those of a document follow each other."""
    ascending = np.array(sorted(keys), dtype="<i8")
    starts = np.flatnonzero(np.diff(ascending, prepend=np.int64(-2)) != 1)
    ends = np.append(starts[1:], len(ascending)) - 1
    return np.stack([ascending[starts], ascending[ends]], axis=1).astype("<i8").tobytes() if len(ascending) else b""


def _unpacked(ranges: bytes) -> list[int]:
    pairs = np.frombuffer(ranges, dtype="<i8").reshape(-1, 2).tolist()
    return [key for first, last in pairs for key in range(first, last + 1)]
