"""Upkeep of an index in SQL: documents moved to other places, and what crashed runs left removed."""

import time
from collections.abc import Collection, Sequence

from sqlalchemy import Connection, bindparam, delete, exists, or_, select, update

from flows.errors import FatalError
from handlers.stores import schema
from handlers.stores.graph import forget_unsupported
from handlers.stores.protocol import Rename, Swept
from handlers.stores.reads import batches
from handlers.stores.staging import lock_documents, touch
from handlers.stores.writes import put_tags, remove_passages, version_fields

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
        select(documents_.c.id, documents_.c.key, documents_.c.published)
        .where(documents_.c.id.in_([each.document_id, each.document.id]))
    )  # fmt: skip
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
        connection.execute(delete(documents_).where(documents_.c.key == new.key))
    connection.execute(delete(versions_).where(versions_.c.document == old.key, versions_.c.key != old.published))
    kept = select(chunks_.c.passage).where(chunks_.c.version == old.published)
    remove_passages(connection, list(connection.scalars(
        select(passages_.c.key).where(passages_.c.document == old.key, passages_.c.key.not_in(kept))
    )))  # fmt: skip
    chunks = {row.id: row.key for row in connection.execute(
        select(passages_.c.id, passages_.c.key).where(passages_.c.document == old.key)
    )}  # fmt: skip
    check_renamed(each, chunks)
    if chunks:
        connection.execute(
            update(passages_).where(passages_.c.key == bindparam("passage")).values(id=bindparam("renamed")),
            [{"passage": key, "renamed": each.chunk_ids[chunk_id]} for chunk_id, key in chunks.items()],
        )
    artifacts, tags = schema.artifacts, schema.tags
    if each.artifact_ids:
        connection.execute(
            update(artifacts).where(artifacts.c.version == old.published, artifacts.c.id == bindparam("before"))
            .values(id=bindparam("after")),
            [{"before": before, "after": after} for before, after in each.artifact_ids.items()],
        )  # fmt: skip
    connection.execute(delete(tags).where(tags.c.version == old.published))
    put_tags(connection, {old.published: each.document.tags})
    connection.execute(
        update(versions_).where(versions_.c.key == old.published)
        .values(**version_fields(each.document), revision=each.revision)
    )  # fmt: skip
    connection.execute(
        update(documents_).where(documents_.c.key == old.key)
        .values(id=each.document.id, name=each.document.name, uri=each.document.uri, updated_at=time.time())
    )  # fmt: skip
    return 1


def check_renamed(each: Rename, chunk_ids: Collection[str]) -> None:
    lacking = sorted(set(chunk_ids) - each.chunk_ids.keys())
    if lacking:
        raise ValueError(f"document {each.document_id!r}: chunk {lacking[0]!r} has no new id")


def sweep_candidates(connection: Connection, older_than_s: float) -> list[str]:
    """Documents of which something is staged that may be swept, or that have never got anywhere."""
    before = time.time() - older_than_s
    published = documents_.c.published
    candidates = select(documents_.c.id).where(
        or_(
            exists().where(
                versions_.c.document == documents_.c.key, or_(published.is_(None), versions_.c.key != published),
                versions_.c.staged_at <= before,
            ),
            exists().where(
                passages_.c.document == documents_.c.key, ~passages_.c.visible, passages_.c.staged_at <= before
            ),
            (documents_.c.status == "pending") & published.is_(None) & (documents_.c.updated_at <= before),
        )
    )  # fmt: skip
    return list(connection.scalars(candidates.order_by(documents_.c.id)))


def sweep(connection: Connection, document_ids: Sequence[str], alive: Collection[str], older_than_s: float) -> Swept:
    """Remove what is left of these documents' dead runs; decided anew under their locks."""
    before, living = time.time() - older_than_s, sorted(alive)
    keys = list(lock_documents(connection, document_ids).values())
    published = select(documents_.c.published).where(documents_.c.key.in_(keys), documents_.c.published.is_not(None))
    versions = connection.execute(delete(versions_).where(
        versions_.c.document.in_(keys), versions_.c.key.not_in(published), versions_.c.staged_at <= before,
        versions_.c.run_id.not_in(living),
    )).rowcount  # fmt: skip
    held = exists().where(chunks_.c.passage == passages_.c.key)
    passages = list(connection.scalars(select(passages_.c.key).where(
        passages_.c.document.in_(keys), ~passages_.c.visible, ~held, passages_.c.staged_at <= before,
        passages_.c.run_id.not_in(living),
    )))  # fmt: skip
    remove_passages(connection, passages)
    documents = connection.execute(delete(documents_).where(
        documents_.c.key.in_(keys), documents_.c.status == "pending", documents_.c.published.is_(None),
        documents_.c.updated_at <= before, documents_.c.run_id.not_in(living),
        ~exists().where(versions_.c.document == documents_.c.key),
        ~exists().where(passages_.c.document == documents_.c.key),
    )).rowcount  # fmt: skip
    return Swept(versions, len(passages), documents)


def sweep_entities(connection: Connection) -> None:
    """Remove the entities that nothing supports; a writer leaves those alone that another is about to use."""
    mentions, relations, entities = schema.mentions, schema.relations, schema.entities
    doubtful = select(entities.c.key).where(
        ~exists().where(mentions.c.entity == entities.c.key), ~exists().where(relations.c.source == entities.c.key),
        ~exists().where(relations.c.target == entities.c.key),
    )  # fmt: skip
    for some in batches(list(connection.scalars(doubtful))):
        forget_unsupported(connection, some)
