"""Records which passages each change of an index in SQL adds and removes, for processes that search it meanwhile.

Every change of the answers on a side increments the counter of that side and adds a row with that number to `changes`.
A process that has read the side at one number applies the later rows; if some are no longer kept, it reads everything
again.
"""

from collections.abc import Collection, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import Connection, delete, false, func, insert, select

from flows.state import chunked
from handlers.stores.sql import schema
from handlers.stores.sql.dialects import among, upsert
from handlers.stores.sql.views import View, data_counter, on_side, view_of

MOST_CHANGES = 1000
"""The number of rows that are kept."""

passages_, changes_, counters_ = schema.passages, schema.changes, schema.counters


@dataclass(frozen=True)
class Changes:
    """The sum of several changes: keys of passages, ascending, and the differences of the totals.

    A passage whose terms or vector were replaced is in both `went` and `came`. A passage that came and went again is
    only in `went`.
    """

    came: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    went: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    passages: int = 0
    terms: int = 0


@dataclass
class Remade:
    """Keys of visible passages whose facets a change replaces."""

    vectors: set[int] = field(default_factory=set[int])
    """Vectors of the model of the written version."""
    terms: set[int] = field(default_factory=set[int])
    described: bool = False
    """Whether tags or names of documents change, which affects both sides."""

    def seen_on(self, side: int, view: View) -> set[int]:
        """The changes that affect questions on a side, on which vectors of another model are ignored."""
        return self.vectors | self.terms if side == view.side or view.shares_vectors else self.terms


@contextmanager
def noting_changes(connection: Connection, documents: Collection[int]) -> Generator[Remade]:
    """Record as one change, per side, which visible passages of these documents (keys) come and go within the block.

    The block adds the keys of visible passages whose terms or vectors it replaces to the yielded value.
    """
    view = view_of(connection)
    # While there is one version, the other side is not used.
    sides = (view.side,) if view.alone else (1, 2)
    before = {side: _visible_lengths(connection, documents, side) for side in sides}
    remade = Remade()
    yield remade
    for side in sides:
        after = _visible_lengths(connection, documents, side)
        stayed = before[side].keys() & after.keys() - remade.seen_on(side, view)
        came, went = after.keys() - stayed, before[side].keys() - stayed
        if came or went or remade.described or side in view.written:
            _note(
                connection,
                side,
                came=came,
                went=went,
                passages=len(after) - len(before[side]),
                terms=sum(after.values()) - sum(before[side].values()),
            )


def note_change(connection: Connection) -> None:
    """Record a change of answers on both sides without added or removed passages, such as a changed tag."""
    view = view_of(connection)
    for side in (view.side,) if view.alone else (1, 2):
        _note(connection, side)


def forget_changes(connection: Connection, side: int) -> None:
    """Make every process that has read a side read it again."""
    connection.execute(delete(changes_).where(changes_.c.side == side))
    _raise_counter(connection, side)


def changes_number(connection: Connection) -> int:
    """The number of the last change on the side of this transaction; 0 in an index without any."""
    counter = data_counter(view_of(connection).side)
    return connection.execute(select(counters_.c.value).where(counters_.c.name == counter)).scalar() or 0


def changes_between(connection: Connection, after: int, last: int) -> Changes | None:
    """The sum of the changes after one number up to another; `None` if some of them are no longer kept."""
    rows = connection.execute(
        select(changes_)
        .where(changes_.c.side == view_of(connection).side, changes_.c.number > after, changes_.c.number <= last)
        .order_by(changes_.c.number)
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
    connection: Connection,
    side: int,
    came: Iterable[int] = (),
    went: Iterable[int] = (),
    *,
    passages: int = 0,
    terms: int = 0,
) -> None:
    number = _raise_counter(connection, side)
    connection.execute(delete(changes_).where(changes_.c.side == side, changes_.c.number <= number - MOST_CHANGES))
    connection.execute(
        insert(changes_).values(
            side=side, number=number, came=_packed(came), went=_packed(went), passages=passages, terms=terms
        )
    )


def _raise_counter(connection: Connection, side: int) -> int:
    name = data_counter(side)
    connection.execute(
        upsert(connection, counters_)
        .values(name=name, value=1)
        .on_conflict_do_update(index_elements=["name"], set_={"value": counters_.c.value + 1})
    )
    return connection.execute(select(counters_.c.value).where(counters_.c.name == name)).scalar_one()


def _visible_lengths(connection: Connection, documents: Collection[int], side: int) -> Mapping[int, int]:
    """The number of terms of each passage of these documents that is visible on a side, by passage key."""
    lengths: dict[int, int] = {}
    for some in chunked(documents):
        rows = connection.execute(
            select(passages_.c.key, func.coalesce(passages_.c.length, 0)).where(
                among(connection, passages_.c.document, some),
                func.coalesce(passages_.c.visible, false()),  # as `found_in_view`
                on_side(side),
            )
        )
        lengths.update((key, length) for key, length in rows)
    return lengths


def _packed(keys: Iterable[int]) -> bytes:
    """Keys as ranges (first and last), since the keys of a document are consecutive."""
    ascending = np.array(sorted(keys), dtype="<i8")
    starts = np.flatnonzero(np.diff(ascending, prepend=np.int64(-2)) != 1)
    ends = np.append(starts[1:], len(ascending)) - 1
    return np.stack([ascending[starts], ascending[ends]], axis=1).astype("<i8").tobytes() if len(ascending) else b""


def _unpacked(ranges: bytes) -> list[int]:
    pairs = np.frombuffer(ranges, dtype="<i8").reshape(-1, 2).tolist()
    return [key for first, last in pairs for key in range(first, last + 1)]
