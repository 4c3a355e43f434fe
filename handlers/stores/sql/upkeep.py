"""Changes to documents in an index in SQL whose content stays: other names, other tags, another try."""

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext

from sqlalchemy import Connection, bindparam, delete, select, update

from flows.state import chunked
from handlers.stores.refusals import check_new_ids, name_is_taken
from handlers.stores.rows import Facet, Rename, Restatement
from handlers.stores.sql import schema
from handlers.stores.sql.adoption import adopt, check_made
from handlers.stores.sql.changes import note_change, noting_changes
from handlers.stores.sql.dialects import among, update_rows
from handlers.stores.sql.removal import SqlRemoval, remove_passages
from handlers.stores.sql.staging import lock_documents, put_tags, version_fields

documents_, versions_, passages_, chunks_ = schema.documents, schema.versions, schema.passages, schema.chunks


class SqlUpkeep(SqlRemoval):
    """An `IndexUpkeep`."""

    def rename(self, renames: Sequence[Rename]) -> int:
        with self._write() as connection:
            # All are locked in one order first, then moved; a document may take the id that another one has just left.
            names = [name for each in renames for name in (each.document_id, each.document.id)]
            documents = lock_documents(connection, names)
            if not documents:
                return 0
            with noting_changes(connection, list(documents.values())):
                return sum(_rename(connection, each) for each in renames)

    def restate(self, restatements: Sequence[Restatement]) -> int:
        with self._write() as connection:
            lock_documents(connection, [each.document_id for each in restatements])
            found = _searchable(connection, [each.document_id for each in restatements])
            known = [each for each in restatements if each.document_id in found]
            runs = {found[each.document_id][0]: each.run_id for each in known if each.run_id is not None}
            tags = {found[each.document_id][1]: each.tags for each in known if each.tags is not None}
            changes = noting_changes(connection, list(runs)) if runs or tags else nullcontext(set[int]())
            with changes as remade:
                adopted = adopt(connection, runs)
                remade.update(adopted["vectors"], adopted["terms"])
                _check_fingerprints(connection, known, found, adopted)
                for each in known:
                    _restate(connection, each, *found[each.document_id])
                for some in chunked(tags):
                    connection.execute(delete(schema.tags).where(schema.tags.c.version.in_(some)))
                put_tags(connection, tags)
            return len(found)

    def name_documents(self, names: Mapping[str, str]) -> int:
        with self._write() as connection:
            keys = lock_documents(connection, names)
            update_rows(connection, documents_, "key", ("name",), [(names[each], key) for each, key in keys.items()])
            if keys:
                note_change(connection)
            return len(keys)

    def requeue(self, document_ids: Sequence[str]) -> int:
        with self._write() as connection:
            count = 0
            for some in chunked(dict.fromkeys(document_ids)):
                count += connection.execute(
                    update(documents_)
                    .where(documents_.c.id.in_(some), documents_.c.status == "failed")
                    .values(status="pending", tried="")
                ).rowcount
            return count


def _rename(connection: Connection, rename: Rename) -> bool:
    rows = connection.execute(
        select(documents_.c.id, documents_.c.key, documents_.c.published).where(
            documents_.c.id.in_([rename.document_id, rename.document.id])
        )
    )
    found = {row.id: row for row in rows}
    old, new = found.get(rename.document_id), found.get(rename.document.id)
    if old is None or old.published is None:
        return False
    if new is not None and new.key != old.key:
        if new.published is not None:
            raise name_is_taken(rename)
        _remove_passages_of(connection, new.key)
        connection.execute(delete(documents_).where(documents_.c.key == new.key))
    connection.execute(delete(versions_).where(versions_.c.document == old.key, versions_.c.key != old.published))
    _remove_passages_of(connection, old.key, but=old.published)
    _rename_parts(connection, rename, old.key, old.published)
    _describe(connection, rename, old.key, old.published)
    return True


def _remove_passages_of(connection: Connection, document: int, *, but: int | None = None) -> None:
    """Remove the passages of a document but those of one version."""
    query = select(passages_.c.key).where(passages_.c.document == document)
    if but is not None:
        query = query.where(passages_.c.key.not_in(select(chunks_.c.passage).where(chunks_.c.version == but)))
    remove_passages(connection, list(connection.scalars(query)))


def _rename_parts(connection: Connection, rename: Rename, document: int, version: int) -> None:
    """Give the passages and artifacts of a document their new ids."""
    query = select(passages_.c.id, passages_.c.key).where(passages_.c.document == document)
    passages = {row.id: row.key for row in connection.execute(query)}
    check_new_ids(rename, passages)
    if passages:
        connection.execute(
            update(passages_).where(passages_.c.key == bindparam("passage")).values(id=bindparam("renamed")),
            [{"passage": key, "renamed": rename.chunk_ids[chunk_id]} for chunk_id, key in passages.items()],
        )
    artifacts = schema.artifacts
    if rename.artifact_ids:
        connection.execute(
            update(artifacts)
            .where(artifacts.c.version == version, artifacts.c.id == bindparam("before"))
            .values(id=bindparam("after")),
            [{"before": before, "after": after} for before, after in rename.artifact_ids.items()],
        )


def _describe(connection: Connection, rename: Rename, document: int, version: int) -> None:
    """Write down the new name, URI, title, tags and so on of a document."""
    connection.execute(delete(schema.tags).where(schema.tags.c.version == version))
    put_tags(connection, {version: rename.document.tags})
    fingerprint = {} if rename.fingerprint is None else {"fingerprint": rename.fingerprint}
    connection.execute(
        update(versions_)
        .where(versions_.c.key == version)
        .values(**version_fields(rename.document), revision=rename.revision, **fingerprint)
    )
    connection.execute(
        update(documents_)
        .where(documents_.c.key == document)
        .values(
            id=rename.document.id,
            name=rename.document.name,
            uri=rename.document.uri,
            updated_at=time.time(),
            status="processed",
            reason="",
            tried="",
        )
    )


def _searchable(connection: Connection, document_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """The keys of those documents that have a visible version, and of the version, by document id."""
    found: dict[str, tuple[int, int]] = {}
    for some in chunked(document_ids):
        rows = connection.execute(
            select(documents_.c.id, documents_.c.key, documents_.c.published).where(
                documents_.c.id.in_(some), documents_.c.published.is_not(None)
            )
        )
        found.update((row.id, (row.key, row.published)) for row in rows)
    return found


def _restate(connection: Connection, restatement: Restatement, document: int, version: int) -> None:
    described = {} if restatement.uri is None else {"uri": restatement.uri}
    if restatement.run_id is not None and restatement.fingerprint is not None:
        described |= {"status": "processed", "reason": "", "tried": ""}
    if described:
        connection.execute(update(documents_).where(documents_.c.key == document).values(**described))
    given = {"revision": restatement.revision, "fingerprint": restatement.fingerprint}
    if values := {name: value for name, value in given.items() if value is not None}:
        connection.execute(update(versions_).where(versions_.c.key == version).values(**values))


def _check_fingerprints(
    connection: Connection,
    restatements: Sequence[Restatement],
    keys: Mapping[str, tuple[int, int]],
    adopted: Mapping[Facet, set[int]],
) -> None:
    """Refuse a new fingerprint, given with a run, that is not true of every visible passage (see `check_made`)."""
    new = {
        keys[each.document_id]: each.fingerprint
        for each in restatements
        if each.run_id is not None and each.fingerprint is not None
    }
    versions = [version for _, version in new]
    stored = dict[int, str]()
    for some in chunked(versions):
        rows = connection.execute(
            select(versions_.c.key, versions_.c.fingerprint).where(among(connection, versions_.c.key, some))
        )
        stored.update((row.key, row.fingerprint) for row in rows)
    kept = select(chunks_.c.passage).where(among(connection, chunks_.c.version, versions))
    pairs = {document: (stored[version], after) for (document, version), after in new.items()}
    check_made(connection, pairs, adopted, kept, tuple(adopted))
