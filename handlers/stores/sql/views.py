"""The version of an index that a transaction reads and writes, which is on one of two sides.

A document has a visible version on each side, and a passage is visible on both sides or on one. While the index has one
version, both sides are the same, and every write goes to both. So a second version begins without a copy and equals the
first, until a write goes only to its side. One row holds the active side, so switching and rolling back change no
document.
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, false, func, select, true

from handlers.stores.refusals import index_version_is_missing
from handlers.stores.sql import schema

documents_, passages_, vectors_, index_versions_ = (
    schema.documents,
    schema.passages,
    schema.vectors,
    schema.index_versions,
)
_OPTION = "braid_view"


@dataclass(frozen=True)
class View:
    """A version of the index; `alone` if there is no other."""

    name: str
    side: int
    active: bool
    alone: bool
    model: str
    """The model of its vectors; empty (any model) while it is the only version."""
    other_model: str = ""
    """The model of the other version's vectors."""

    @property
    def written(self) -> tuple[int, ...]:
        """The sides that a write goes to."""
        return (1, 2) if self.alone or self.active else (self.side,)

    @property
    def is_beside(self) -> bool:
        """Whether writes must not be visible in the active version."""
        return not self.alone and not self.active

    @property
    def other_side(self) -> int:
        return 3 - self.side

    @property
    def shares_vectors(self) -> bool:
        """Whether the other version has the vectors of this one."""
        return self.model == self.other_model


def look(connection: Connection, version: str | None, *, writing: bool = False) -> View:
    """Begin a transaction on a version, or on the active one; a writing transaction delays a switch until it ends.

    Raises:
        FatalError: there is no such version.
    """
    query = select(
        index_versions_.c.side, index_versions_.c.name, index_versions_.c.active, index_versions_.c.model
    ).order_by(index_versions_.c.side)
    rows = connection.execute(query.with_for_update(read=True) if writing else query).all()
    chosen = next((row for row in rows if (row.active if version is None else row.name == version)), None)
    if chosen is None:
        raise index_version_is_missing(version or "", [row.name for row in rows])
    alone = len(rows) == 1
    other = next((row.model for row in rows if row.side != chosen.side), "")
    view = View(chosen.name, chosen.side, chosen.active, alone, "" if alone else chosen.model, other)
    connection.execution_options(**{_OPTION: view})
    return view


def view_of(connection: Connection) -> View:
    """The version that this transaction is for."""
    return connection.get_execution_options()[_OPTION]


def pointer(side: int) -> ColumnElement[int | None]:
    """The column that has the visible version of a document on a side."""
    return documents_.c.published if side == 1 else documents_.c.beside


def published(connection: Connection) -> ColumnElement[int | None]:
    """The column that has the version of a document that is visible in this transaction."""
    return pointer(view_of(connection).side)


def in_view(connection: Connection) -> ColumnElement[bool]:
    """Whether a passage is visible in this transaction."""
    view = view_of(connection)
    visible = passages_.c.visible.is_(True)
    return visible if view.alone else and_(visible, on_side(view.side))


def found_in_view(connection: Connection) -> ColumnElement[bool]:
    """As `in_view`, in queries that find passages by other columns.

    SQLite assumes that few passages are visible; a plain comparison of the column would make it read all visible ones.
    """
    view = view_of(connection)
    visible = func.coalesce(passages_.c.visible, false())
    return visible if view.alone else and_(visible, on_side(view.side))


def on_side(side: int) -> ColumnElement[bool]:
    """Whether a visible passage is visible on a side."""
    return passages_.c.side.in_((0, side))


def of_model(connection: Connection) -> ColumnElement[bool]:
    """Whether a vector belongs to the version that this transaction is for."""
    model = view_of(connection).model
    return vectors_.c.model == model if model else true()


def data_counter(side: int) -> str:
    """The counter that every change of the answers on a side increments."""
    return "data" if side == 1 else "data beside"
