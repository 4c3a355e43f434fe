"""Reads of an index in SQL, each inside the caller's transaction: hits, the document table, statistics, tags."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, Select, and_, distinct, func, select, union

from handlers.records import Artifact, Chunk, Hit
from handlers.stores.protocol import DocumentRow, DocumentStatus
from handlers.stores.sql import schema
from handlers.tags import TagFilter

documents_, versions_, passages_, chunks_ = schema.documents, schema.versions, schema.passages, schema.chunks

Item = TypeVar("Item")


def batches(items: Sequence[Item], size: int = 500) -> Iterator[Sequence[Item]]:
    """Slices short enough for an IN list."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def hits(connection: Connection, scores: Mapping[int, float], *, source: str) -> list[Hit]:
    """Hits of these visible passages (score by key), best first, ties by chunk id."""
    found: list[Hit] = []
    for some in batches(list(scores)):
        rows = connection.execute(
            select(
                passages_.c.key,
                passages_.c.id,
                passages_.c.text,
                documents_.c.id.label("document_id"),
                documents_.c.name,
                chunks_.c.heading,
                chunks_.c.page,
                chunks_.c.start,
                chunks_.c.end,
            )
            .join(documents_, documents_.c.key == passages_.c.document)
            .join(chunks_, and_(chunks_.c.passage == passages_.c.key, chunks_.c.version == documents_.c.published))
            .where(passages_.c.key.in_(some), passages_.c.visible)
        )
        found += [
            Hit(
                id=row.id,
                document_id=row.document_id,
                score=float(scores[row.key]),
                content=row.text,
                source=source,
                name=row.name,
                heading=row.heading,
                page=row.page,
                start=row.start,
                end=row.end,
            )
            for row in rows
        ]
    return sorted(found, key=lambda hit: (-hit.score, hit.id))


def passage_keys(
    connection: Connection, scores: Mapping[str, float], *, permitted: Select[Any] | None
) -> dict[int, float]:
    found: dict[int, float] = {}
    for some in batches(list(scores)):
        query = select(passages_.c.id, passages_.c.key).where(passages_.c.id.in_(some))
        if permitted is not None:
            query = query.where(passages_.c.document.in_(permitted))
        found.update((row.key, scores[row.id]) for row in connection.execute(query))
    return found


def permitted_documents(where: TagFilter | None) -> Select[Any] | None:
    """Selects the keys of the visible documents that a filter lets through; `None` when there is no filter."""
    if not where:
        return None
    tags = schema.tags
    query = select(documents_.c.key)
    for name, values in where.wanted:
        matching = select(tags.c.version).where(tags.c.name == name, tags.c.value.in_(values))
        query = query.where(documents_.c.published.in_(matching))
    return query


def known(connection: Connection, ids: Sequence[str]) -> dict[str, DocumentRow]:
    return {
        row.id: _document_row(row)
        for some in batches(list(dict.fromkeys(ids)))
        for row in connection.execute(_document_rows().where(documents_.c.id.in_(some)))
    }


def documents(connection: Connection, *, status: DocumentStatus | None, limit: int, offset: int) -> list[DocumentRow]:
    query = _document_rows().order_by(documents_.c.name, documents_.c.id).limit(limit).offset(offset)
    if status is not None:
        query = query.where(documents_.c.status == status)
    return [_document_row(row) for row in connection.execute(query)]


def _document_rows() -> Select[Any]:
    counted = select(func.count()).where(chunks_.c.version == documents_.c.published).scalar_subquery()
    return select(
        documents_, versions_.c.title, versions_.c.content_sha256, versions_.c.fingerprint, counted.label("counted")
    ).join(versions_, versions_.c.key == documents_.c.published, isouter=True)


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
        searchable=row.published is not None,
    )


def statistics(connection: Connection) -> dict[str, int]:
    visible = select(passages_.c.key).where(passages_.c.visible)
    published = select(documents_.c.published).where(documents_.c.published.is_not(None))
    mentions, relations, entities = schema.mentions, schema.relations, schema.entities
    source, target = entities.alias("source"), entities.alias("target")
    ends = [
        select(end).where(table.c.passage.in_(visible))
        for table, end in (
            (mentions, mentions.c.entity),
            (relations, relations.c.source),
            (relations, relations.c.target),
        )
    ]
    named = select(entities.c.folded).distinct().where(entities.c.key.in_(union(*ends)))
    related = (
        select(relations.c.passage, source.c.folded, target.c.folded.label("other"), relations.c.kind)
        .distinct()
        .join(source, source.c.key == relations.c.source)
        .join(target, target.c.key == relations.c.target)
        .where(relations.c.passage.in_(visible))
    )
    queries: dict[str, Select[Any]] = {
        "documents": select(func.count()).select_from(published.subquery()),
        "chunks": select(func.count()).select_from(visible.subquery()),
        "vectors": select(func.count()).where(schema.vectors.c.passage.in_(visible)),
        "terms": select(func.count()).where(passages_.c.visible, passages_.c.length.is_not(None)),
        "entities": select(func.count()).select_from(named.subquery()),
        "relations": select(func.count()).select_from(related.subquery()),
        "artifacts": select(func.count()).where(schema.artifacts.c.version.in_(published)),
        "summaries": select(func.count()).where(versions_.c.key.in_(published), versions_.c.summary.is_not(None)),
        "tagged_documents": select(func.count(distinct(schema.tags.c.version))).where(
            schema.tags.c.version.in_(published)
        ),
    }
    counts = {name: connection.execute(query).scalar_one() for name, query in queries.items()}
    by_status: dict[str, int] = dict.fromkeys(("pending", "processed", "failed"), 0)
    for status, count in connection.execute(select(documents_.c.status, func.count()).group_by(documents_.c.status)):
        by_status[status] = count
    return counts | by_status


def chunks_of(connection: Connection, document_id: str) -> list[Chunk]:
    rows = connection.execute(
        select(chunks_, passages_.c.id, passages_.c.text)
        .join(passages_, passages_.c.key == chunks_.c.passage)
        .join(documents_, documents_.c.published == chunks_.c.version)
        .where(documents_.c.id == document_id)
        .order_by(chunks_.c.position, passages_.c.id)
    )
    return [
        Chunk(
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
        for row in rows
    ]


def artifacts_of(connection: Connection, document_id: str) -> list[Artifact]:
    table = schema.artifacts
    rows = connection.execute(
        select(table)
        .join(documents_, documents_.c.published == table.c.version)
        .where(documents_.c.id == document_id)
        .order_by(table.c.id)
    )
    return [
        Artifact(row.id, document_id, row.kind, row.content, uri=row.uri, page=row.page, language=row.language)
        for row in rows
    ]


def summary_of(connection: Connection, document_id: str) -> str | None:
    return connection.execute(
        select(versions_.c.summary)
        .join(documents_, documents_.c.published == versions_.c.key)
        .where(documents_.c.id == document_id)
    ).scalar_one_or_none()


def tags_of(connection: Connection, document_ids: Iterable[str]) -> dict[str, tuple[tuple[str, str], ...]]:
    tags = schema.tags
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for some in batches(list(dict.fromkeys(document_ids))):
        for row in connection.execute(
            select(documents_.c.id, tags.c.name, tags.c.value)
            .join(tags, tags.c.version == documents_.c.published, isouter=True)
            .where(documents_.c.id.in_(some), documents_.c.published.is_not(None))
        ):
            found[row.id] += [(row.name, row.value)] if row.name is not None else []
    return {document: tuple(sorted(pairs)) for document, pairs in found.items()}
