"""Changes to documents in an index in SQL without new content: names, tags, and requeuing."""

import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

from sqlalchemy import Connection, bindparam, delete, select, update

from flows.state import chunked
from handlers.records import stable_id
from handlers.stores.refusals import check_new_ids, name_is_taken
from handlers.stores.rows import Facet, Rename, Restatement
from handlers.stores.sql import schema
from handlers.stores.sql.adoption import adopt, check_made, disclaim
from handlers.stores.sql.changes import Remade, note_change, noting_changes
from handlers.stores.sql.dialects import among, update_rows
from handlers.stores.sql.forking import fork_versions
from handlers.stores.sql.removal import SqlRemoval, remove_passages
from handlers.stores.sql.staging import lock_documents, put_tags, version_fields
from handlers.stores.sql.views import pointer, view_of

documents_, versions_, passages_, chunks_ = schema.documents, schema.versions, schema.passages, schema.chunks


class SqlUpkeep(SqlRemoval):
    """An `IndexUpkeep`."""

    def rename(self, renames: Sequence[Rename]) -> int:
        with self._write() as connection:
            # Lock all documents in one order first, then move them; a document may take the id that another one has
            # just left.
            names = [name for each in renames for name in (each.document_id, each.document.id)]
            documents = lock_documents(connection, names)
            if not documents:
                return 0
            with noting_changes(connection, list(documents.values())) as changed:
                changed.described = True
                return sum(_rename(connection, each) for each in renames)

    def restate(self, restatements: Sequence[Restatement]) -> int:
        with self._write() as connection:
            lock_documents(connection, [each.document_id for each in restatements])
            found = _searchable(connection, [each.document_id for each in restatements])
            known = [each for each in restatements if each.document_id in found]
            found |= _own_versions(connection, [each for each in known if each.fingerprint is not None], found)
            runs = {found[each.document_id].document: each.run_id for each in known if each.run_id is not None}
            tags = {
                version: each.tags
                for each in known
                if each.tags is not None
                for version in found[each.document_id].everywhere
            }
            changes = noting_changes(connection, list(runs)) if runs or tags else nullcontext(Remade())
            with changes as remade:
                remade.described = bool(tags)
                adopted = adopt(connection, runs)
                remade.vectors |= adopted["vectors"]
                remade.terms |= adopted["terms"]
                _check_fingerprints(connection, known, found, adopted)
                for each in known:
                    _restate(connection, each, found[each.document_id])
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


@dataclass(frozen=True)
class _Searchable:
    """The keys of a document, of its version in this transaction, and of its version on the other side, if any."""

    document: int
    version: int
    other: int | None

    @property
    def everywhere(self) -> set[int]:
        """The versions on both sides."""
        return {self.version} if self.other is None else {self.version, self.other}


def _rename(connection: Connection, rename: Rename) -> bool:
    found = _searchable(connection, [rename.document_id, rename.document.id])
    old = found.get(rename.document_id)
    if old is None:
        return False
    if rename.document.id != rename.document_id:
        if rename.document.id in found:
            raise name_is_taken(rename)
        for key in lock_documents(connection, [rename.document.id]).values():
            _remove_passages_of(connection, key)
            connection.execute(delete(documents_).where(documents_.c.key == key))
    connection.execute(
        delete(versions_).where(versions_.c.document == old.document, versions_.c.key.not_in(old.everywhere))
    )
    _remove_passages_of(connection, old.document, but=old.everywhere)
    _rename_parts(connection, rename, old)
    _describe(connection, rename, old)
    return True


def _remove_passages_of(connection: Connection, document: int, *, but: Collection[int] = ()) -> None:
    """Remove the passages of a document except those of some versions."""
    query = select(passages_.c.key).where(passages_.c.document == document)
    if but:
        query = query.where(passages_.c.key.not_in(select(chunks_.c.passage).where(chunks_.c.version.in_(but))))
    remove_passages(connection, list(connection.scalars(query)))


def _rename_parts(connection: Connection, rename: Rename, moved: _Searchable) -> None:
    """Give the passages and artifacts of a document their new ids; passages of the other side only get new ones too."""
    own = select(chunks_.c.passage).where(chunks_.c.version == moved.version)
    query = select(passages_.c.id, passages_.c.key, passages_.c.key.in_(own).label("own"))
    passages = connection.execute(query.where(passages_.c.document == moved.document)).all()
    check_new_ids(rename, [row.id for row in passages if row.own])
    if passages:
        connection.execute(
            update(passages_).where(passages_.c.key == bindparam("passage")).values(id=bindparam("renamed")),
            [
                {
                    "passage": row.key,
                    "renamed": rename.chunk_ids[row.id] if row.own else stable_id(rename.document.id, row.id),
                }
                for row in passages
            ],
        )
    artifacts = schema.artifacts
    if rename.artifact_ids:
        connection.execute(
            update(artifacts)
            .where(artifacts.c.version.in_(moved.everywhere), artifacts.c.id == bindparam("before"))
            .values(id=bindparam("after")),
            [{"before": before, "after": after} for before, after in rename.artifact_ids.items()],
        )


def _describe(connection: Connection, rename: Rename, moved: _Searchable) -> None:
    """Write down the new name, URI, title, tags and so on of a document."""
    connection.execute(delete(schema.tags).where(schema.tags.c.version.in_(moved.everywhere)))
    put_tags(connection, dict.fromkeys(moved.everywhere, rename.document.tags))
    fingerprint = {} if rename.fingerprint is None else {"fingerprint": rename.fingerprint}
    connection.execute(
        update(versions_)
        .where(versions_.c.key == moved.version)
        .values(**version_fields(rename.document), revision=rename.revision, **fingerprint)
    )
    connection.execute(
        update(documents_)
        .where(documents_.c.key == moved.document)
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


def _searchable(connection: Connection, document_ids: Sequence[str]) -> dict[str, _Searchable]:
    """The documents with a visible version, by document id."""
    found: dict[str, _Searchable] = {}
    view = view_of(connection)
    own, other = pointer(view.side), pointer(view.other_side)
    for some in chunked(document_ids):
        rows = connection.execute(
            select(documents_.c.id, documents_.c.key, own.label("own"), other.label("other")).where(
                documents_.c.id.in_(some), own.is_not(None)
            )
        )
        found.update((row.id, _Searchable(row.key, row.own, row.other)) for row in rows)
    return found


def _own_versions(
    connection: Connection, restatements: Sequence[Restatement], found: Mapping[str, _Searchable]
) -> dict[str, _Searchable]:
    """Documents that are made in another way beside the active version: with versions of their own there."""
    if not view_of(connection).is_beside:
        return {}
    shared = {
        each.document_id: found[each.document_id]
        for each in restatements
        if found[each.document_id].version == found[each.document_id].other
    }
    forked = fork_versions(connection, [each.version for each in shared.values()])
    return {name: replace(each, version=forked[each.version]) for name, each in shared.items()}


def _restate(connection: Connection, restatement: Restatement, found: _Searchable) -> None:
    described = {} if restatement.uri is None else {"uri": restatement.uri}
    if restatement.run_id is not None and restatement.fingerprint is not None:
        described |= {"status": "processed", "reason": "", "tried": ""}
    if described:
        connection.execute(update(documents_).where(documents_.c.key == found.document).values(**described))
    given = {"revision": restatement.revision, "fingerprint": restatement.fingerprint}
    if values := {name: value for name, value in given.items() if value is not None}:
        connection.execute(update(versions_).where(versions_.c.key == found.version).values(**values))


def _check_fingerprints(
    connection: Connection,
    restatements: Sequence[Restatement],
    found: Mapping[str, _Searchable],
    adopted: Mapping[Facet, set[int]],
) -> None:
    """Refuse a new fingerprint, given with a run, that does not describe every visible passage (see `check_made`)."""
    new = {
        found[each.document_id]: each.fingerprint
        for each in restatements
        if each.run_id is not None and each.fingerprint is not None
    }
    versions = [each.version for each in new]
    stored = dict[int, str]()
    for some in chunked(versions):
        rows = connection.execute(
            select(versions_.c.key, versions_.c.fingerprint).where(among(connection, versions_.c.key, some))
        )
        stored.update((row.key, row.fingerprint) for row in rows)
    kept = select(chunks_.c.passage).where(among(connection, chunks_.c.version, versions))
    pairs = {each.document: (stored[each.version], after) for each, after in new.items()}
    check_made(connection, pairs, adopted, kept, tuple(adopted))
    if view_of(connection).is_beside:
        disclaim(connection, {each.document: after for each, after in new.items()}, adopted)
