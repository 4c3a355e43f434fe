"""Checks an index in SQL for changed vectors, orphaned rows, and passages that no search finds."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, delete, exists, select, update

from flows.state import chunked
from handlers.records import Chunk
from handlers.stores.keys import storable_text, vector_checksum
from handlers.stores.rows import Flaw
from handlers.stores.sql import schema
from handlers.stores.sql.changes import forget_changes
from handlers.stores.sql.dialects import among, update_rows
from handlers.stores.sql.removal import held_by, remove_passages
from handlers.stores.sql.staging import lock_documents
from handlers.stores.sql.transactions import Transactions
from handlers.stores.sql.views import in_view, of_model, pointer, published, view_of

documents_, passages_, chunks_, vectors_ = schema.documents, schema.passages, schema.chunks, schema.vectors
_OWNED = (
    *(
        (table, table.c.passage, passages_.c.key)
        for table in (schema.vectors, schema.postings, schema.mentions, schema.relations, schema.chunks)
    ),
    (schema.token_vectors, schema.token_vectors.c.vector, vectors_.c.key),
)
"""Tables whose rows belong to rows of another table, with the referring column and the keys."""


class SqlProof(Transactions):
    """An `IndexProof`."""

    def flaws(self) -> list[Flaw]:
        with self._read() as connection:
            return [*_damaged(connection), *_orphans(connection), *_hidden(connection)]

    def mend(self, flaws: Sequence[Flaw]) -> int:
        mended = [each for each in flaws if each.kind != "vector"]
        with self._write() as connection:
            lock_documents(connection, [each.document_id for each in mended if each.document_id])
            for table, owner, _ in _OWNED:
                keys = [each.key for each in mended if each.kind == "orphan" and each.table == table.name]
                for some in chunked(keys):
                    connection.execute(delete(table).where(among(connection, owner, some)))
            keys = [each.key for each in mended if each.kind == "orphan" and each.table == "passages"]
            remove_passages(connection, keys)
            _show(connection, [each.key for each in mended if each.kind == "hidden"])
            if mended:
                for side in (1, 2):
                    forget_changes(connection, side)
        return len(mended)

    def mend_texts(self, chunks: Sequence[Chunk]) -> int:
        with self._write() as connection:
            lock_documents(connection, [each.document_id for each in chunks])
            wanted = {each.id: storable_text(each.text) for each in chunks}
            changed: list[tuple[str, int]] = []
            for some in chunked(wanted):
                rows = connection.execute(
                    select(passages_.c.id, passages_.c.key, passages_.c.text).where(
                        among(connection, passages_.c.id, some)
                    )
                )
                changed += [(wanted[row.id], row.key) for row in rows if row.text != wanted[row.id]]
            update_rows(connection, passages_, "key", ("text",), changed)
            return len(changed)


def _damaged(connection: Connection) -> list[Flaw]:
    """The vectors of this version whose checksum (together with their token vectors) is wrong."""
    query = (
        select(
            vectors_.c.vector,
            schema.token_vectors.c.packed,
            vectors_.c.checksum,
            vectors_.c.key,
            passages_.c.id,
            documents_.c.id.label("document"),
        )
        .join_from(vectors_, schema.token_vectors, schema.token_vectors.c.vector == vectors_.c.key, isouter=True)
        .join(passages_, passages_.c.key == vectors_.c.passage)
        .join(documents_, documents_.c.key == passages_.c.document)
        .where(in_view(connection), of_model(connection), vectors_.c.checksum.is_not(None))
    )
    found: list[Flaw] = []
    for row in connection.execution_options(yield_per=500).execute(query):
        if vector_checksum(row.vector, row.packed or b"") != row.checksum:
            found.append(Flaw("vector", "vectors", f"of passage {row.id}", row.document, row.id, row.key))
    return found


def _orphans(connection: Connection) -> list[Flaw]:
    """Rows whose owner is missing, and visible passages without a visible version of a document."""
    found: list[Flaw] = []
    for table, owner, key_column in _OWNED:
        keys = connection.scalars(select(owner).where(~exists().where(key_column == owner)).distinct())
        name = key_column.table.name.removesuffix("s")
        found += [Flaw("orphan", table.name, f"of {name} {key}, which is not there", key=key) for key in keys]
    pointed = exists().where(
        held_by(),
        documents_.c.key == passages_.c.document,
        (chunks_.c.version == pointer(1)) | (chunks_.c.version == pointer(2)),
    )
    rows = connection.execute(select(passages_.c.id, passages_.c.key).where(passages_.c.visible, ~pointed))
    return found + [
        Flaw("orphan", "passages", f"passage {row.id} belongs to no document", chunk_id=row.id, key=row.key)
        for row in rows
    ]


def _hidden(connection: Connection) -> list[Flaw]:
    """Passages of visible versions of documents that are not visible."""
    rows = connection.execute(_in_documents(connection).where(~in_view(connection)))
    return [
        Flaw("hidden", "passages", f"passage {row.id} is not visible", row.document, row.id, row.key) for row in rows
    ]


def _in_documents(connection: Connection) -> Select[Any, Any, Any]:
    return (
        select(passages_.c.id, passages_.c.key, documents_.c.id.label("document"))
        .join(chunks_, held_by())
        .join(documents_, published(connection) == chunks_.c.version)
    )


def _show(connection: Connection, passages: Sequence[int]) -> None:
    """Make passages visible on the sides whose visible versions have them."""
    view = view_of(connection)
    for some in chunked(passages):
        others = (
            select(chunks_.c.passage)
            .join(documents_, pointer(view.other_side) == chunks_.c.version)
            .where(among(connection, chunks_.c.passage, some))
        )
        shared = set(connection.scalars(others))
        for keys, side in (
            ([key for key in some if key in shared], 0),
            ([key for key in some if key not in shared], view.side),
        ):
            connection.execute(
                update(passages_).where(among(connection, passages_.c.key, keys)).values(visible=True, side=side)
            )
