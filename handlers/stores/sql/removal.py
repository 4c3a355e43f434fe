"""Removal from an index in SQL: of documents, and of everything that runs staged but never published."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, exists, func, or_, select, update

from flows.state import chunked
from handlers.stores.rows import SweepCounts
from handlers.stores.sql import schema
from handlers.stores.sql.changes import noting_changes
from handlers.stores.sql.dialects import among
from handlers.stores.sql.graph import entities_of, forget_unsupported, is_supported
from handlers.stores.sql.staging import lock_documents
from handlers.stores.sql.transactions import Transactions
from handlers.stores.sql.views import on_side, pointer

documents_, versions_, passages_, chunks_ = schema.documents, schema.versions, schema.passages, schema.chunks

_SWEPT_AT_ONCE = 100
"""The most documents that one transaction sweeps."""


class SqlRemoval(Transactions):
    """`delete` and `sweep` of an `IndexUpkeep`."""

    def delete(self, document_ids: Sequence[str]) -> int:
        with self._write() as connection:
            keys = list(lock_documents(connection, document_ids).values())
            if keys:
                with noting_changes(connection, keys) as changed:
                    changed.described = True
                    _delete(connection, keys)
            return len(keys)

    def sweep(
        self, *, alive: Collection[str] = (), dead: Collection[str] = (), older_than_s: float = 86_400.0
    ) -> SweepCounts:
        leftover = _Leftover(older_than_s, frozenset(alive), frozenset(dead))
        with self._read() as connection:
            candidates = _sweep_candidates(connection, leftover)
        found: list[SweepCounts] = []
        for some in chunked(candidates, _SWEPT_AT_ONCE):
            with self._write() as connection:
                found.append(_sweep(connection, some, leftover))
        with self._write() as connection:
            _sweep_entities(connection)
        return SweepCounts(
            sum(each.versions for each in found),
            sum(each.chunks for each in found),
            sum(each.documents for each in found),
        )


def remove_passages(connection: Connection, keys: Sequence[int]) -> None:
    """Remove passages with their facets, and the entities that only they support."""
    touched = entities_of(connection, keys)
    for some in chunked(keys):
        connection.execute(delete(schema.postings).where(among(connection, schema.postings.c.passage, some)))
        connection.execute(delete(passages_).where(among(connection, passages_.c.key, some)))
    forget_unsupported(connection, touched)


def leave_side(
    connection: Connection,
    documents: Sequence[int],
    side: int,
    versions: Sequence[int],
    *,
    but: ColumnElement[bool] | None = None,
) -> None:
    """Remove versions of documents that only one side has, and remove their passages from that side.

    Passages that fulfil the condition `but` stay. Passages that the other side does not have and no staged version uses
    are deleted.
    """
    for some in chunked(versions):
        connection.execute(delete(versions_).where(among(connection, versions_.c.key, some)))
    leaving = select(passages_.c.key, passages_.c.side, exists().where(held_by()).label("held")).where(
        among(connection, passages_.c.document, documents), passages_.c.visible, on_side(side)
    )
    rows = connection.execute(leaving if but is None else leaving.where(~but)).all()
    kept_by_other = [row.key for row in rows if row.side == 0]
    for some in chunked(kept_by_other):
        connection.execute(update(passages_).where(among(connection, passages_.c.key, some)).values(side=3 - side))
    staged = [row.key for row in rows if row.side != 0 and row.held]
    for some in chunked(staged):
        connection.execute(
            update(passages_).where(among(connection, passages_.c.key, some)).values(visible=False, side=0)
        )
    remove_passages(connection, [row.key for row in rows if row.side != 0 and not row.held])


def held_by() -> ColumnElement[bool]:
    """The condition that a row of `chunks` belongs to the passage."""
    return chunks_.c.passage == passages_.c.key


def _delete(connection: Connection, documents: Sequence[int]) -> None:
    gone: list[int] = []
    for some in chunked(documents):
        gone += connection.scalars(select(passages_.c.key).where(among(connection, passages_.c.document, some)))
    remove_passages(connection, gone)
    for some in chunked(documents):
        connection.execute(delete(documents_).where(among(connection, documents_.c.key, some)))


@dataclass(frozen=True)
class _Leftover:
    """Selects leftover staged rows: rows of dead runs, and old rows of runs that are not known to be alive."""

    older_than_s: float
    alive: Collection[str]
    dead: Collection[str]

    def of(self, run_id: ColumnElement[str], since: ColumnElement[float]) -> ColumnElement[bool]:
        left = or_(since <= time.time() - self.older_than_s, run_id.in_(sorted(self.dead)))
        return left & run_id.not_in(sorted(self.alive))


def _sweep_candidates(connection: Connection, leftover: _Leftover) -> list[str]:
    """Documents with staged rows that may be swept, and pending documents without any."""
    published, beside = documents_.c.published, documents_.c.beside
    candidates = select(documents_.c.id).where(
        or_(
            exists().where(
                versions_.c.document == documents_.c.key,
                versions_.c.key != func.coalesce(published, 0),
                versions_.c.key != func.coalesce(beside, 0),
                leftover.of(versions_.c.run_id, versions_.c.staged_at),
            ),
            exists().where(
                passages_.c.document == documents_.c.key,
                ~passages_.c.visible,
                leftover.of(passages_.c.run_id, passages_.c.staged_at),
            ),
            (documents_.c.status == "pending")
            & published.is_(None)
            & beside.is_(None)
            & leftover.of(documents_.c.run_id, documents_.c.updated_at),
        )
    )
    return list(connection.scalars(candidates.order_by(documents_.c.id)))


def _sweep(connection: Connection, document_ids: Sequence[str], leftover: _Leftover) -> SweepCounts:
    """Remove the leftovers of these documents, which are selected again while the documents are locked."""
    keys = list(lock_documents(connection, document_ids).values())
    pointed = [
        select(column).where(documents_.c.key.in_(keys), column.is_not(None)) for column in (pointer(1), pointer(2))
    ]
    versions = connection.execute(
        delete(versions_).where(
            versions_.c.document.in_(keys),
            *(versions_.c.key.not_in(each) for each in pointed),
            leftover.of(versions_.c.run_id, versions_.c.staged_at),
        )
    ).rowcount
    held = exists().where(held_by())
    passages = list(
        connection.scalars(
            select(passages_.c.key).where(
                passages_.c.document.in_(keys),
                ~passages_.c.visible,
                ~held,
                leftover.of(passages_.c.run_id, passages_.c.staged_at),
            )
        )
    )
    remove_passages(connection, passages)
    documents = connection.execute(
        delete(documents_).where(
            documents_.c.key.in_(keys),
            documents_.c.status == "pending",
            documents_.c.published.is_(None),
            documents_.c.beside.is_(None),
            leftover.of(documents_.c.run_id, documents_.c.updated_at),
            ~exists().where(versions_.c.document == documents_.c.key),
            ~exists().where(passages_.c.document == documents_.c.key),
        )
    ).rowcount
    return SweepCounts(versions, len(passages), documents)


def _sweep_entities(connection: Connection) -> None:
    """Remove the entities that no passage supports, except those that another writer is about to use."""
    doubtful = select(schema.entities.c.key).where(~is_supported())
    for some in chunked(list(connection.scalars(doubtful))):
        forget_unsupported(connection, some)
