"""Upkeep of an index in SQL: documents moved to other places, and what crashed runs left removed."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, bindparam, delete, exists, or_, select, update

from flows.errors import FatalError
from handlers.stores.protocol import Facet, Rename, Restatement, Swept
from handlers.stores.sql import schema
from handlers.stores.sql.adoption import adopt, check_made
from handlers.stores.sql.dialects import among
from handlers.stores.sql.graph import forget_unsupported
from handlers.stores.sql.reads import batches
from handlers.stores.sql.staging import lock_documents, touch
from handlers.stores.sql.writes import put_tags, remove_passages, version_fields

documents_, versions_, passages_, chunks_ = schema.documents, schema.versions, schema.passages, schema.chunks


def rename(connection: Connection, renames: Sequence[Rename]) -> int:
    # All are locked in one order first, then moved; a document may move to where another one has just left.
    lock_documents(connection, [name for each in renames for name in (each.document_id, each.document.id)])
    moved = 0
    for each in renames:
        moved += _rename(connection, each)
    if moved:
        touch(connection)
    return moved


def _rename(connection: Connection, each: Rename) -> int:
    rows = connection.execute(
        select(documents_.c.id, documents_.c.key, documents_.c.published).where(
            documents_.c.id.in_([each.document_id, each.document.id])
        )
    )
    found = {row.id: row for row in rows}
    old, new = found.get(each.document_id), found.get(each.document.id)
    if old is None or old.published is None:
        return 0
    if new is not None and new.key != old.key:
        if new.published is not None:
            raise FatalError(
                f"document {each.document_id!r} cannot be moved to {each.document.name!r}: a document is searchable "
                "there already; remove that first, or ingest both"
            )
        staged = select(passages_.c.key).where(passages_.c.document == new.key)
        remove_passages(connection, list(connection.scalars(staged)))
        connection.execute(delete(documents_).where(documents_.c.key == new.key))
    connection.execute(delete(versions_).where(versions_.c.document == old.key, versions_.c.key != old.published))
    kept = select(chunks_.c.passage).where(chunks_.c.version == old.published)
    remove_passages(
        connection,
        list(
            connection.scalars(
                select(passages_.c.key).where(passages_.c.document == old.key, passages_.c.key.not_in(kept))
            )
        ),
    )
    chunks = {
        row.id: row.key
        for row in connection.execute(select(passages_.c.id, passages_.c.key).where(passages_.c.document == old.key))
    }
    check_renamed(each, chunks)
    if chunks:
        connection.execute(
            update(passages_).where(passages_.c.key == bindparam("passage")).values(id=bindparam("renamed")),
            [{"passage": key, "renamed": each.chunk_ids[chunk_id]} for chunk_id, key in chunks.items()],
        )
    artifacts, tags = schema.artifacts, schema.tags
    if each.artifact_ids:
        connection.execute(
            update(artifacts)
            .where(artifacts.c.version == old.published, artifacts.c.id == bindparam("before"))
            .values(id=bindparam("after")),
            [{"before": before, "after": after} for before, after in each.artifact_ids.items()],
        )
    connection.execute(delete(tags).where(tags.c.version == old.published))
    put_tags(connection, {old.published: each.document.tags})
    connection.execute(
        update(versions_)
        .where(versions_.c.key == old.published)
        .values(
            **version_fields(each.document),
            revision=each.revision,
            **({} if each.fingerprint is None else {"fingerprint": each.fingerprint}),
        )
    )
    connection.execute(
        update(documents_)
        .where(documents_.c.key == old.key)
        .values(
            id=each.document.id,
            name=each.document.name,
            uri=each.document.uri,
            updated_at=time.time(),
            status="processed",
            reason="",
            tried="",
        )
    )
    return 1


def check_renamed(each: Rename, chunk_ids: Collection[str]) -> None:
    lacking = sorted(set(chunk_ids) - each.chunk_ids.keys())
    if lacking:
        raise ValueError(f"document {each.document_id!r}: chunk {lacking[0]!r} has no new id")


@dataclass(frozen=True)
class Age:
    """From when on what a run staged is a leftover."""

    older_than_s: float
    alive: Collection[str]
    dead: Collection[str]

    def of(self, run_id: ColumnElement[str], since: ColumnElement[float]) -> ColumnElement[bool]:
        left = or_(since <= time.time() - self.older_than_s, run_id.in_(sorted(self.dead)))
        return left & run_id.not_in(sorted(self.alive))


def sweep_candidates(connection: Connection, age: Age) -> list[str]:
    """Documents of which something is staged that may be swept, or that have never got anywhere."""
    published = documents_.c.published
    candidates = select(documents_.c.id).where(
        or_(
            exists().where(
                versions_.c.document == documents_.c.key,
                or_(published.is_(None), versions_.c.key != published),
                age.of(versions_.c.run_id, versions_.c.staged_at),
            ),
            exists().where(
                passages_.c.document == documents_.c.key,
                ~passages_.c.visible,
                age.of(passages_.c.run_id, passages_.c.staged_at),
            ),
            (documents_.c.status == "pending")
            & published.is_(None)
            & age.of(documents_.c.run_id, documents_.c.updated_at),
        )
    )
    return list(connection.scalars(candidates.order_by(documents_.c.id)))


def sweep(connection: Connection, document_ids: Sequence[str], age: Age) -> Swept:
    """Remove what is left of these documents' dead runs; decided anew under their locks."""
    keys = list(lock_documents(connection, document_ids).values())
    published = select(documents_.c.published).where(documents_.c.key.in_(keys), documents_.c.published.is_not(None))
    versions = connection.execute(
        delete(versions_).where(
            versions_.c.document.in_(keys),
            versions_.c.key.not_in(published),
            age.of(versions_.c.run_id, versions_.c.staged_at),
        )
    ).rowcount
    held = exists().where(chunks_.c.passage == passages_.c.key)
    passages = list(
        connection.scalars(
            select(passages_.c.key).where(
                passages_.c.document.in_(keys),
                ~passages_.c.visible,
                ~held,
                age.of(passages_.c.run_id, passages_.c.staged_at),
            )
        )
    )
    remove_passages(connection, passages)
    documents = connection.execute(
        delete(documents_).where(
            documents_.c.key.in_(keys),
            documents_.c.status == "pending",
            documents_.c.published.is_(None),
            age.of(documents_.c.run_id, documents_.c.updated_at),
            ~exists().where(versions_.c.document == documents_.c.key),
            ~exists().where(passages_.c.document == documents_.c.key),
        )
    ).rowcount
    return Swept(versions, len(passages), documents)


def restate(connection: Connection, restatements: Sequence[Restatement]) -> int:
    """Note what is new of documents whose content stays."""
    lock_documents(connection, [each.document_id for each in restatements])
    found: dict[str, tuple[int, int]] = {}
    for some in batches([each.document_id for each in restatements]):
        found.update(
            (row.id, (row.key, row.published))
            for row in connection.execute(
                select(documents_.c.id, documents_.c.key, documents_.c.published).where(
                    documents_.c.id.in_(some), documents_.c.published.is_not(None)
                )
            )
        )
    runs = {
        found[each.document_id][0]: each.run_id
        for each in restatements
        if each.document_id in found and each.run_id is not None
    }
    adopted = adopt(connection, runs)
    if any(adopted.values()):
        touch(connection)
    _check_restated(connection, restatements, found, adopted)
    tagged: dict[int, tuple[tuple[str, str], ...]] = {}
    for each in restatements:
        if each.document_id not in found:
            continue
        key, version = found[each.document_id]
        if each.uri is not None:
            connection.execute(update(documents_).where(documents_.c.key == key).values(uri=each.uri))
        noted = {"revision": each.revision, "fingerprint": each.fingerprint}
        if values := {name: value for name, value in noted.items() if value is not None}:
            connection.execute(update(versions_).where(versions_.c.key == version).values(**values))
        if each.tags is not None:
            tagged[version] = each.tags
    if tagged:
        for some in batches(list(tagged)):
            connection.execute(delete(schema.tags).where(schema.tags.c.version.in_(some)))
        put_tags(connection, tagged)
        touch(connection)
    return len(found)


def _check_restated(
    connection: Connection,
    restatements: Sequence[Restatement],
    found: Mapping[str, tuple[int, int]],
    adopted: Mapping[Facet, set[int]],
) -> None:
    new = {
        found[each.document_id]: each.fingerprint
        for each in restatements
        if each.document_id in found and each.run_id is not None and each.fingerprint is not None
    }
    versions = [version for _, version in new]
    stored = dict[int, str]()
    for some in batches(versions):
        rows = connection.execute(
            select(versions_.c.key, versions_.c.fingerprint).where(among(connection, versions_.c.key, some))
        )
        stored.update((row.key, row.fingerprint) for row in rows)
    kept = select(chunks_.c.passage).where(among(connection, chunks_.c.version, versions))
    pairs = {document: (stored[version], after) for (document, version), after in new.items()}
    check_made(connection, pairs, adopted, kept, tuple(adopted))


def requeue(connection: Connection, document_ids: Sequence[str]) -> int:
    count = 0
    for some in batches(list(dict.fromkeys(document_ids))):
        count += connection.execute(
            update(documents_)
            .where(documents_.c.id.in_(some), documents_.c.status == "failed")
            .values(status="pending", tried="")
        ).rowcount
    return count


def sweep_entities(connection: Connection) -> None:
    """Remove the entities that nothing supports; a writer leaves those alone that another is about to use."""
    mentions, relations, entities = schema.mentions, schema.relations, schema.entities
    doubtful = select(entities.c.key).where(
        ~exists().where(mentions.c.entity == entities.c.key),
        ~exists().where(relations.c.source == entities.c.key),
        ~exists().where(relations.c.target == entities.c.key),
    )
    for some in batches(list(connection.scalars(doubtful))):
        forget_unsupported(connection, some)
