"""Reading an index in SQL: the document table, statistics, chunks, artifacts, summaries and tags."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, distinct, func, or_, select, union

from flows.state import chunked
from handlers.records import Artifact, Chunk
from handlers.stores.keys import spellings
from handlers.stores.rows import DocumentPlace, DocumentRow, DocumentStatus
from handlers.stores.sql import schema
from handlers.stores.sql.transactions import Transactions
from handlers.stores.sql.views import in_view, of_model, published

documents_, versions_, passages_, chunks_ = schema.documents, schema.versions, schema.passages, schema.chunks


class SqlReader(Transactions):
    """The part of `IndexReader` that looks up single documents and counts."""

    def known(self, document_ids: Sequence[str]) -> dict[str, DocumentRow]:
        with self._read() as connection:
            return {
                row.id: _document_row(row)
                for some in chunked(dict.fromkeys(document_ids))
                for row in connection.execute(_document_rows(connection).where(documents_.c.id.in_(some)))
            }

    def documents(
        self, *, status: DocumentStatus | None = None, limit: int = 100, offset: int = 0
    ) -> list[DocumentRow]:
        with self._read() as connection:
            query = _document_rows(connection).order_by(documents_.c.name, documents_.c.id).limit(limit).offset(offset)
            if status is not None:
                query = query.where(documents_.c.status == status)
            return [_document_row(row) for row in connection.execute(query)]

    def lookup(self, name: str, *, limit: int = 20) -> list[DocumentRow]:
        names = spellings(name)
        whole = documents_.c.id.in_(names) | documents_.c.name.in_(names) | documents_.c.uri.in_(names)
        with self._read() as connection:
            query = _document_rows(connection).order_by(documents_.c.name, documents_.c.id).limit(limit)
            rows = connection.execute(query.where(whole)).all()
            if not rows:
                ends = [_ends_with(column, each) for column in (documents_.c.name, documents_.c.uri) for each in names]
                rows = connection.execute(query.where(or_(*ends))).all()
            return [_document_row(row) for row in rows]

    def document_places(self, *, after: str = "", limit: int = 1000) -> list[DocumentPlace]:
        with self._read() as connection:
            query = select(documents_.c.id, documents_.c.name, documents_.c.uri).where(documents_.c.id > after)
            return [DocumentPlace(*row) for row in connection.execute(query.order_by(documents_.c.id).limit(limit))]

    def statistics(self) -> dict[str, int]:
        by_status = select(documents_.c.status, func.count().label("number")).group_by(documents_.c.status)
        with self._read() as connection:
            counts = {
                name: connection.execute(query).scalar_one() for name, query in _count_queries(connection).items()
            }
            counts |= dict.fromkeys(("pending", "processed", "failed"), 0)
            counts |= {row.status: row.number for row in connection.execute(by_status)}
            return counts

    def chunks_of(self, document_id: str) -> list[Chunk]:
        with self._read() as connection:
            rows = connection.execute(
                select(chunks_, passages_.c.id, passages_.c.text)
                .join(passages_, passages_.c.key == chunks_.c.passage)
                .join(documents_, published(connection) == chunks_.c.version)
                .where(documents_.c.id == document_id)
                .order_by(chunks_.c.position, passages_.c.id)
            )
            return [chunk_from(row, document_id) for row in rows]

    def artifacts_of(self, document_id: str) -> list[Artifact]:
        with self._read() as connection:
            table = schema.artifacts
            rows = connection.execute(
                select(table)
                .join(documents_, published(connection) == table.c.version)
                .where(documents_.c.id == document_id)
                .order_by(table.c.id)
            )
            return [artifact_from(row, document_id) for row in rows]

    def summary_of(self, document_id: str) -> str | None:
        with self._read() as connection:
            return connection.execute(
                select(versions_.c.summary)
                .join(documents_, published(connection) == versions_.c.key)
                .where(documents_.c.id == document_id)
            ).scalar_one_or_none()

    def tags_of(self, document_ids: Iterable[str]) -> dict[str, tuple[tuple[str, str], ...]]:
        with self._read() as connection:
            tags = schema.tags
            found: dict[str, list[tuple[str, str]]] = defaultdict(list)
            for some in chunked(dict.fromkeys(document_ids)):
                for row in connection.execute(
                    select(documents_.c.id, tags.c.name, tags.c.value)
                    .join(tags, tags.c.version == published(connection), isouter=True)
                    .where(documents_.c.id.in_(some), published(connection).is_not(None))
                ):
                    found[row.id] += [(row.name, row.value)] if row.name is not None else []
            return {document: tuple(sorted(pairs)) for document, pairs in found.items()}


def _count_queries(connection: Connection) -> dict[str, Select[Any]]:
    """The queries that count visible rows."""
    visible = select(passages_.c.key).where(in_view(connection))
    pointed = select(published(connection)).where(published(connection).is_not(None))
    mentions, relations, entities = schema.mentions, schema.relations, schema.entities
    start, end = entities.alias("start_entity"), entities.alias("end_entity")
    supported = [
        select(entity).where(table.c.passage.in_(visible))
        for table, entity in (
            (mentions, mentions.c.entity),
            (relations, relations.c.source),
            (relations, relations.c.target),
        )
    ]
    named = select(entities.c.folded).distinct().where(entities.c.key.in_(union(*supported)))
    related = (
        select(relations.c.passage, start.c.folded, end.c.folded.label("other"), relations.c.kind)
        .distinct()
        .join(start, start.c.key == relations.c.source)
        .join(end, end.c.key == relations.c.target)
        .where(relations.c.passage.in_(visible))
    )
    tagged = func.count(distinct(schema.tags.c.version))
    return {
        "documents": select(func.count()).select_from(pointed.subquery()),
        "chunks": select(func.count()).select_from(visible.subquery()),
        "vectors": select(func.count()).where(schema.vectors.c.passage.in_(visible), of_model(connection)),
        "token_vectors": select(func.count())
        .select_from(schema.token_vectors)
        .join(schema.vectors, schema.vectors.c.key == schema.token_vectors.c.vector)
        .where(schema.vectors.c.passage.in_(visible), of_model(connection)),
        "terms": select(func.count()).where(in_view(connection), passages_.c.length.is_not(None)),
        "entities": select(func.count()).select_from(named.subquery()),
        "relations": select(func.count()).select_from(related.subquery()),
        "artifacts": select(func.count()).where(schema.artifacts.c.version.in_(pointed)),
        "summaries": select(func.count()).where(versions_.c.key.in_(pointed), versions_.c.summary.is_not(None)),
        "tagged_documents": select(tagged).where(schema.tags.c.version.in_(pointed)),
    }


def chunk_from(row: Row, document_id: str) -> Chunk:
    """The chunk of a row that has its passage's id and text beside the columns of `chunks`."""
    return Chunk(
        id=row.id,
        document_id=document_id,
        position=row.position,
        text=row.text,
        start=row.start,
        end=row.end,
        heading=row.heading,
        page=row.page,
        tokens=row.tokens,
    )


def artifact_from(row: Row, document_id: str) -> Artifact:
    return Artifact(row.id, document_id, row.kind, row.content, uri=row.uri, page=row.page, language=row.language)


def _ends_with(column: ColumnElement[str], name: str) -> ColumnElement[bool]:
    """Whether a text ends with this name after a slash; case-sensitive, unlike LIKE in SQLite."""
    ending = f"/{name}"
    return func.substr(column, func.length(column) - len(ending) + 1) == ending


def _document_rows(connection: Connection) -> Select[Any]:
    counted = select(func.count()).where(chunks_.c.version == published(connection)).scalar_subquery()
    return select(
        documents_,
        published(connection).label("pointed"),
        versions_.c.title,
        versions_.c.content_sha256,
        versions_.c.fingerprint,
        counted.label("counted"),
    ).join(versions_, versions_.c.key == published(connection), isouter=True)


def _document_row(row: Row) -> DocumentRow:
    return DocumentRow(
        id=row.id,
        name=row.name,
        uri=row.uri,
        title=row.title or "",
        status=row.status,
        reason=row.reason,
        run_id=row.run_id,
        updated_at=row.updated_at,
        content_sha256=row.content_sha256 or "",
        fingerprint=row.fingerprint or "",
        chunks=row.counted,
        searchable=row.pointed is not None,
    )
