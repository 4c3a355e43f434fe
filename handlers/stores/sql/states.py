"""Reading an index in SQL for incremental ingestion and copies: states, whole documents, the hash of everything."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, Row, select

from flows.state import chunked
from handlers.records import Document, Entity, Relation, SparseVector
from handlers.stores.content import ContentHash
from handlers.stores.rows import ChunkState, DocumentState, StoredDocument
from handlers.stores.sql import schema
from handlers.stores.sql.reads import artifact_from, chunk_from
from handlers.stores.sql.transactions import Transactions
from handlers.stores.sql.views import in_view, of_model, published

documents_, versions_, passages_, chunks_ = schema.documents, schema.versions, schema.passages, schema.chunks


class SqlStates(Transactions):
    """The part of `IndexReader` that ingestions and copies compare."""

    def document_states(self, *, after: str = "", limit: int = 1000) -> list[DocumentState]:
        with self._read() as connection:
            return _document_states(connection, after, limit)

    def chunk_states(self, chunk_ids: Iterable[str]) -> dict[str, ChunkState]:
        with self._read() as connection:
            vectors = schema.vectors
            found: dict[str, ChunkState] = {}
            for some in chunked(dict.fromkeys(chunk_ids)):
                rows = connection.execute(
                    select(
                        passages_.c.id,
                        passages_.c.length,
                        passages_.c.facts,
                        in_view(connection).label("in_view"),
                        vectors.c.model,
                        versions_.c.fingerprint,
                    )
                    .join(vectors, (vectors.c.passage == passages_.c.key) & of_model(connection), isouter=True)
                    .join(documents_, documents_.c.key == passages_.c.document)
                    .join(versions_, versions_.c.key == published(connection), isouter=True)
                    .where(passages_.c.id.in_(some))
                )
                found.update(
                    (
                        row.id,
                        ChunkState(
                            row.model, row.length is not None, row.facts, (row.fingerprint or "") if row.in_view else ""
                        ),
                    )
                    for row in rows
                )
            return found

    def read_documents(self, document_ids: Sequence[str]) -> list[StoredDocument]:
        with self._read() as connection:
            return _read_documents(connection, document_ids)

    def fingerprint(self) -> str:
        content, after = ContentHash(), ""
        with self._read() as connection:
            while page := _document_states(connection, after, 100):
                content.add(_read_documents(connection, [state.id for state in page]))
                after = page[-1].id
        return content.hexdigest()


def _document_states(connection: Connection, after: str, limit: int) -> list[DocumentState]:
    rows = connection.execute(
        select(
            documents_,
            published(connection).label("pointed"),
            versions_.c.content_sha256,
            versions_.c.fingerprint,
            versions_.c.revision,
        )
        .join(versions_, versions_.c.key == published(connection), isouter=True)
        .where(documents_.c.id > after)
        .order_by(documents_.c.id)
        .limit(limit)
    ).all()
    chunk_ids: dict[int, list[str]] = defaultdict(list)
    tags: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for some in chunked([row.pointed for row in rows if row.pointed is not None]):
        for version, chunk_id in connection.execute(
            select(chunks_.c.version, passages_.c.id)
            .join(passages_, passages_.c.key == chunks_.c.passage)
            .where(chunks_.c.version.in_(some))
            .order_by(chunks_.c.version, chunks_.c.position, passages_.c.id)
        ):
            chunk_ids[version].append(chunk_id)
        for version, *tag in connection.execute(
            select(schema.tags.c.version, schema.tags.c.name, schema.tags.c.value).where(
                schema.tags.c.version.in_(some)
            )
        ):
            tags[version].append((tag[0], tag[1]))
    return [
        DocumentState(
            row.id,
            row.name,
            row.uri,
            row.status,
            row.content_sha256 or "",
            row.fingerprint or "",
            row.revision or "",
            tuple(chunk_ids[row.pointed] if row.pointed is not None else ()),
            tuple(sorted(tags[row.pointed])) if row.pointed is not None else (),
            row.tried,
        )
        for row in rows
    ]


def _read_documents(connection: Connection, document_ids: Sequence[str]) -> list[StoredDocument]:
    found: list[StoredDocument] = []
    for some in chunked(sorted(set(document_ids)), 100):
        rows = connection.execute(
            select(
                documents_,
                published(connection).label("pointed"),
                versions_.c.title,
                versions_.c.mime_type,
                versions_.c.content_sha256,
                versions_.c.fingerprint,
                versions_.c.revision,
                versions_.c.metadata,
                versions_.c.summary,
            )
            .join(versions_, versions_.c.key == published(connection), isouter=True)
            .where(documents_.c.id.in_(some))
            .order_by(documents_.c.id)
        ).all()
        parts = _Parts(connection, [row.pointed for row in rows if row.pointed is not None])
        found += [_stored(row, parts) for row in rows]
    return found


class _Parts:
    """Everything that belongs to some published versions, by version."""

    def __init__(self, connection: Connection, versions: Sequence[int]) -> None:
        self.tags: dict[int, list[tuple[str, str]]] = defaultdict(list)
        self.artifacts: dict[int, list[Row]] = defaultdict(list)
        self.chunks: dict[int, list[Row]] = defaultdict(list)
        tags, artifacts = schema.tags, schema.artifacts
        for row in connection.execute(
            select(tags).where(tags.c.version.in_(versions)).order_by(tags.c.name, tags.c.value)
        ):
            self.tags[row.version].append((row.name, row.value))
        for row in connection.execute(
            select(artifacts).where(artifacts.c.version.in_(versions)).order_by(artifacts.c.id)
        ):
            self.artifacts[row.version].append(row)
        for row in connection.execute(
            select(chunks_, passages_.c.id, passages_.c.text, passages_.c.length, passages_.c.facts)
            .join(passages_, passages_.c.key == chunks_.c.passage)
            .where(chunks_.c.version.in_(versions))
            .order_by(chunks_.c.position, passages_.c.id)
        ):
            self.chunks[row.version].append(row)
        passages = [row.passage for rows in self.chunks.values() for row in rows]
        self.vectors = {
            row.passage: (row.model, row.vector)
            for some in chunked(passages)
            for row in connection.execute(
                select(schema.vectors).where(schema.vectors.c.passage.in_(some), of_model(connection))
            )
        }
        tokens = schema.token_vectors
        self.tokens = {
            row.passage: row.packed
            for some in chunked(passages)
            for row in connection.execute(
                select(schema.vectors.c.passage, tokens.c.packed)
                .join(tokens, tokens.c.vector == schema.vectors.c.key)
                .where(schema.vectors.c.passage.in_(some), of_model(connection))
            )
        }
        self.terms: dict[int, list[tuple[str, int]]] = defaultdict(list)
        self.mentions: dict[int, list[tuple[str, str, int]]] = defaultdict(list)
        self.relations: dict[int, list[tuple[str, str, str, float]]] = defaultdict(list)
        postings, mentions, relations, entities = schema.postings, schema.mentions, schema.relations, schema.entities
        start, end = entities.alias("start_entity"), entities.alias("end_entity")
        for some in chunked(passages):
            for row in connection.execute(
                select(postings).where(postings.c.passage.in_(some)).order_by(postings.c.term)
            ):
                self.terms[row.passage].append((row.term, row._mapping["count"]))
            for passage, *mention in connection.execute(
                select(mentions.c.passage, entities.c.name, mentions.c.kind, mentions.c.count)
                .join(entities, entities.c.key == mentions.c.entity)
                .where(mentions.c.passage.in_(some))
                .order_by(entities.c.name, mentions.c.kind)
            ):
                self.mentions[passage].append((mention[0], mention[1], mention[2]))
            for passage, *relation in connection.execute(
                select(relations.c.passage, start.c.name, end.c.name, relations.c.kind, relations.c.weight)
                .join(start, start.c.key == relations.c.source)
                .join(end, end.c.key == relations.c.target)
                .where(relations.c.passage.in_(some))
                .order_by(start.c.name, end.c.name, relations.c.kind)
            ):
                self.relations[passage].append((relation[0], relation[1], relation[2], relation[3]))


def _stored(row: Row, parts: _Parts) -> StoredDocument:
    version = row.pointed
    document = Document(
        id=row.id,
        name=row.name,
        uri=row.uri,
        title=row.title or "",
        mime_type=row.mime_type or "",
        text="",
        content_sha256=row.content_sha256 or "",
        tags=tuple(parts.tags.get(version, ())),
        metadata=tuple((str(name), str(value)) for name, value in json.loads(row.metadata or "[]")),
    )
    if version is None:
        return StoredDocument(document, row.status, row.reason, row.run_id, searchable=False)
    chunks = parts.chunks[version]
    return StoredDocument(
        document,
        row.status,
        row.reason,
        row.run_id,
        searchable=True,
        fingerprint=row.fingerprint or "",
        revision=row.revision,
        summary=row.summary,
        chunks=tuple(chunk_from(each, row.id) for each in chunks),
        vectors={each.id: parts.vectors[each.passage] for each in chunks if each.passage in parts.vectors},
        tokens={each.id: parts.tokens[each.passage] for each in chunks if each.passage in parts.tokens},
        terms=tuple(
            SparseVector(each.id, tuple(parts.terms[each.passage]), each.length)
            for each in chunks
            if each.length is not None
        ),
        facts=frozenset(each.id for each in chunks if each.facts),
        entities=tuple(
            Entity(name, kind, row.id, each.id)
            for each in chunks
            for name, kind, count in parts.mentions[each.passage]
            for _ in range(count)
        ),
        relations=tuple(
            Relation(start, end, kind, row.id, each.id, weight)
            for each in chunks
            for start, end, kind, weight in parts.relations[each.passage]
        ),
        artifacts=tuple(artifact_from(each, row.id) for each in parts.artifacts[version]),
    )
