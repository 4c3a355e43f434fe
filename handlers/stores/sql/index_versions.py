"""The versions of an index in SQL: beginning, switching and removing them, and finding what a version lacks."""

import json
import time
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, Row, delete, exists, func, insert, select, update

from flows.state import chunked
from handlers.stores.fingerprints import is_made_so
from handlers.stores.refusals import (
    index_version_is_active,
    index_version_is_being_built,
    index_version_is_missing,
    index_version_is_of_another_model,
)
from handlers.stores.rows import IndexVersion
from handlers.stores.sql import schema
from handlers.stores.sql.changes import forget_changes
from handlers.stores.sql.dialects import among
from handlers.stores.sql.removal import leave_side
from handlers.stores.sql.staging import lock_documents
from handlers.stores.sql.transactions import Transactions
from handlers.stores.sql.views import in_view, look, on_side, pointer, published, view_of

index_versions_, documents_, versions_ = schema.index_versions, schema.documents, schema.versions
passages_, vectors_ = schema.passages, schema.vectors
_AT_ONCE = 500
"""The most documents that one transaction removes from a version."""
_GOING = " (being removed)"


class SqlIndexVersions(Transactions):
    """An `IndexVersions`."""

    def versions(self) -> list[IndexVersion]:
        with self._read() as connection:
            rows = _rows(connection)
            only = _only_model(connection) if len(rows) == 1 else ""
            return [
                IndexVersion(row.name, row.active, row.model or only, row.created_at, row.switched_at)
                for row in sorted(rows, key=lambda row: (not row.active, row.created_at))
            ]

    def begin_version(self, model: str, name: str | None = None) -> str:
        with self._write() as connection:
            replaced = _replaced(_rows(connection), model, name)
        if replaced is not None:
            self.remove_version(replaced)
        with self._begin_write() as connection:
            look(connection, None)
            rows = _rows(connection, locked=True)
            found = next((row for row in rows if not row.active), None)
            if found is not None:
                return _continued(found, model, name)
            view = look(connection, None)
            own = _most_common_model(connection)
            number = 1 + max(int(row.name) if row.name.isdecimal() else row.side for row in rows)
            chosen = name or str(number)
            connection.execute(
                update(index_versions_).where(index_versions_.c.side == view.side).values(model=own or model)
            )
            connection.execute(
                insert(index_versions_).values(
                    side=view.other_side, name=chosen, active=False, model=model, made="[]", created_at=time.time()
                )
            )
            forget_changes(connection, view.other_side)
            return chosen

    def note_way(self, fingerprint: str) -> None:
        with self._write() as connection:
            view = view_of(connection)
            row = next(row for row in _rows(connection) if row.side == view.side)
            ways = sorted({*json.loads(row.made), fingerprint})
            if view.is_beside and json.dumps(ways) != row.made:
                connection.execute(
                    update(index_versions_).where(index_versions_.c.side == view.side).values(made=json.dumps(ways))
                )

    def switch_version(self, name: str) -> str:
        with self._begin_write() as connection:
            look(connection, None)
            rows = _rows(connection, locked=True)
            if name not in [row.name for row in rows]:
                raise index_version_is_missing(name, [row.name for row in rows])
            before = next(row.name for row in rows if row.active)
            for row in rows:
                changed = {"active": row.name == name}
                if row.name == name and not row.active:
                    changed |= {"switched_at": time.time()}
                connection.execute(update(index_versions_).where(index_versions_.c.side == row.side).values(**changed))
            return before

    def remove_version(self, name: str) -> None:
        with self._begin_write() as connection:
            look(connection, None)
            rows = _rows(connection, locked=True)
            gone = next((row for row in rows if row.name == name), None)
            if gone is None:
                raise index_version_is_missing(name, [row.name for row in rows])
            if gone.active:
                raise index_version_is_active(name)
            if not name.endswith(_GOING):
                # From now on it gets no writes and cannot become active; an interrupted removal is continued.
                connection.execute(
                    update(index_versions_).where(index_versions_.c.side == gone.side).values(name=name + _GOING)
                )
        while self._take_out(gone.side):
            pass
        with self._begin_write() as connection:
            look(connection, None)
            kept = next(row for row in _rows(connection, locked=True) if row.side != gone.side)
            if gone.model != kept.model:
                connection.execute(delete(vectors_).where(vectors_.c.model == gone.model))
            connection.execute(delete(index_versions_).where(index_versions_.c.side == gone.side))
            connection.execute(update(index_versions_).values(model="", made="[]"))
            forget_changes(connection, gone.side)

    def _take_out(self, side: int) -> int:
        """Make some documents on a side equal to the other side; return their number."""
        with self._write() as connection:
            differing = select(documents_.c.id).where(pointer(1).is_distinct_from(pointer(2))).limit(_AT_ONCE)
            keys = list(lock_documents(connection, connection.scalars(differing).all()).values())
            rows = connection.execute(
                select(pointer(side).label("own")).where(among(connection, documents_.c.key, keys))
            ).all()
            shared = on_side(3 - side)
            gone = [row.own for row in rows if row.own is not None]
            leave_side(connection, keys, side, gone, but=passages_.c.visible & shared)
            for some in chunked(keys):
                connection.execute(
                    update(passages_)
                    .where(among(connection, passages_.c.document, some), passages_.c.visible)
                    .values(side=0)
                )
                connection.execute(
                    update(documents_)
                    .where(among(connection, documents_.c.key, some))
                    .values({"published" if side == 1 else "beside": pointer(3 - side)})
                )
            return len(keys)

    def unfinished(self) -> list[str]:
        with self._read() as connection:
            view = view_of(connection)
            if view.alone:
                return []
            ways = json.loads(next(row.made for row in _rows(connection) if row.side == view.side))
            ids = _made_otherwise(connection, ways) | _without_vectors(connection)
            return sorted(ids)


def _rows(connection: Connection, *, locked: bool = False) -> Sequence[Row]:
    query = select(index_versions_).order_by(index_versions_.c.side)
    return connection.execute(query.with_for_update() if locked else query).all()


def _replaced(rows: Sequence[Row], model: str, name: str | None) -> str | None:
    """The version that a new one replaces: one that was active before, or that is being removed.

    Raises:
        FatalError: another version is being built.
    """
    other = next((row for row in rows if not row.active), None)
    active = next(row for row in rows if row.active)
    if name is not None and name == active.name:
        raise index_version_is_active(name)
    if other is None or (other.name == name and other.model == model):
        return None
    if other.switched_at is not None or other.name.endswith(_GOING):
        return other.name
    _continued(other, model, name)
    return None


def _continued(found: Row, model: str, name: str | None) -> str:
    """The name of the existing second version, if it is the wanted one.

    Raises:
        FatalError: it is another version.
    """
    if name not in (None, found.name):
        raise index_version_is_being_built(found.name)
    if found.model != model:
        raise index_version_is_of_another_model(found.name, found.model, model)
    return found.name


def _only_model(connection: Connection) -> str:
    """The model of the visible vectors; empty if there are none, or those of several."""
    found: list[str] = []
    name = connection.scalar(select(func.min(vectors_.c.model)))
    while name is not None:  # one index lookup per model, where DISTINCT would read every row
        of_model = select(vectors_.c.key).join(passages_, passages_.c.key == vectors_.c.passage)
        if connection.scalar(of_model.where(vectors_.c.model == name, in_view(connection)).limit(1)) is not None:
            found.append(name)
        name = connection.scalar(select(func.min(vectors_.c.model)).where(vectors_.c.model > name))
    return found[0] if len(found) == 1 else ""


def _most_common_model(connection: Connection) -> str:
    """The model of most of the visible vectors; empty if there are none."""
    counted = (
        select(vectors_.c.model)
        .join(passages_, passages_.c.key == vectors_.c.passage)
        .where(in_view(connection))
        .group_by(vectors_.c.model)
        .order_by(func.count().desc(), vectors_.c.model)
        .limit(1)
    )
    return connection.scalar(counted) or ""


def _made_otherwise(connection: Connection, ways: Sequence[str]) -> set[str]:
    """The ids of searchable documents that this version lacks, or has made in another way."""
    own, other = published(connection), pointer(view_of(connection).other_side)
    of_document = versions_.c.key == own
    found = set(connection.scalars(select(documents_.c.id).where(own.is_(None), other.is_not(None))))
    made = connection.scalars(select(versions_.c.fingerprint).join(documents_, of_document).distinct()).all()
    others = [each for each in made if not is_made_so(each, ways)]
    for some in chunked(others):
        found |= set(
            connection.scalars(
                select(documents_.c.id).join(versions_, of_document).where(versions_.c.fingerprint.in_(some))
            )
        )
    return found


def _without_vectors(connection: Connection) -> set[str]:
    """The ids of documents with passages that lack vectors of this version's model."""
    model = view_of(connection).model
    lacking: ColumnElement[bool] = ~exists().where(vectors_.c.passage == passages_.c.key, vectors_.c.model == model)
    query = (
        select(documents_.c.id)
        .join(passages_, passages_.c.document == documents_.c.key)
        .where(in_view(connection), lacking)
        .distinct()
    )
    return set(connection.scalars(query))
