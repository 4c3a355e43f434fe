"""Which passages came and went with each change of an index in SQL, for processes that search it while it grows.

Every change of the answers on a side raises the counter of that side by one and leaves a row of that number in
`changes`. Whoever has read the side at one number applies the rows since; if some are no longer kept, everything is
read again.
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


@dataclass
class Remade:
    """Keys of visible passages whose facets a change replaces."""

    vectors: set[int] = field(default_factory=set[int])
    """Of the model of the version that is written."""
    terms: set[int] = field(default_factory=set[int])
    described: bool = False
    """Whether tags or names of documents change, which show on both sides."""

    def seen_on(self, side: int, view: View) -> set[int]:
        """Those that questions on a side notice: vectors of another model do not matter there."""
        return self.vectors | self.terms if side == view.side or view.shares_vectors else self.terms


@contextmanager
def noting_changes(connection: Connection, documents: Collection[int]) -> Generator[Remade]:
    """Note as one change which visible passages of these documents (keys) come and go within the block, on each side.

    The block adds to what it is given the keys of visible passages whose terms or vectors it replaces.
    """
    view = view_of(connection)
    # While there is one version, nobody looks at the other side.
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
    """Note a change of answers, on both sides, in which no passage comes or goes, such as that of a tag."""
    view = view_of(connection)
    for side in (view.side,) if view.alone else (1, 2):
        _note(connection, side)


def forget_changes(connection: Connection, side: int) -> None:
    """Let whoever has read a side read it anew."""
    connection.execute(delete(changes_).where(changes_.c.side == side))
    _raise_counter(connection, side)


def changes_number(connection: Connection) -> int:
    """The number of the last change on the side of this transaction; 0 in an index without any."""
    counter = data_counter(view_of(connection).side)
    return connection.execute(select(counters_.c.value).where(counters_.c.name == counter)).scalar() or 0


def changes_between(connection: Connection, after: int, last: int) -> Changes | None:
    """What the changes after one number up to another come to; `None` if some of them are no longer kept."""
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
    """How many terms the passages of documents that are visible on a side have, by passage key."""
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
    """Keys as pairs of first and last of their ranges: those of a document follow each other."""
    ascending = np.array(sorted(keys), dtype="<i8")
    starts = np.flatnonzero(np.diff(ascending, prepend=np.int64(-2)) != 1)
    ends = np.append(starts[1:], len(ascending)) - 1
    return np.stack([ascending[starts], ascending[ends]], axis=1).astype("<i8").tobytes() if len(ascending) else b""


def _unpacked(ranges: bytes) -> list[int]:
    pairs = np.frombuffer(ranges, dtype="<i8").reshape(-1, 2).tolist()
    return [key for first, last in pairs for key in range(first, last + 1)]
