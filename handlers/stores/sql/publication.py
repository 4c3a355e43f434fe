"""Publication in an index in SQL: makes a staged version visible, and removes the old one with its unshared data."""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, case, delete, exists, func, or_, select, update

from flows.errors import FatalError
from flows.state import chunked
from handlers.stores.keys import is_the_same
from handlers.stores.refusals import facet_is_missing, version_is_missing
from handlers.stores.rows import Facet
from handlers.stores.sql import schema
from handlers.stores.sql.adoption import adopt, check_made, disclaim, disown, over_passages
from handlers.stores.sql.changes import Remade, noting_changes
from handlers.stores.sql.dialects import among, update_rows
from handlers.stores.sql.removal import leave_side, remove_passages
from handlers.stores.sql.staging import lock_documents
from handlers.stores.sql.transactions import Transactions
from handlers.stores.sql.views import of_model, pointer, published, view_of

documents_, versions_, passages_, chunks_ = schema.documents, schema.versions, schema.passages, schema.chunks

_AT_ONCE = 100
"""Documents that one transaction publishes."""


class SqlPublication(Transactions):
    """`publish` of an `IndexWriter`."""

    def publish(self, versions: Mapping[str, str], *, expect: Collection[Facet] = ()) -> int:
        for some in chunked(versions.items(), _AT_ONCE):
            self._publish_together(some, expect)
        return len(versions)

    def _publish_together(self, versions: Sequence[tuple[str, str]], expect: Collection[Facet]) -> None:
        try:
            with self._write() as connection:
                _publish(connection, dict(versions), expect)
        except FatalError:
            if len(versions) == 1:
                raise
            # Earlier documents stay published if a later one cannot be published.
            for each in versions:
                self._publish_together([each], expect)


def _publish(connection: Connection, names: Mapping[str, str], expect: Collection[Facet]) -> None:
    """Make versions visible (name by document id), either all or none."""
    keys = lock_documents(connection, list(names))
    versions = _versions_named(connection, names, keys)
    before = _published(connection, list(keys.values()))
    for document_id, name in names.items():
        if document_id not in versions and not _is_published(connection, name, before.get(keys.get(document_id, 0))):
            raise version_is_missing(document_id, name)
    with noting_changes(connection, [keys[each] for each in versions]) as remade:
        _replace(connection, versions, before, expect, remade)


def _replace(
    connection: Connection,
    versions: Mapping[str, Row],
    before: Mapping[int, Row],
    expect: Collection[Facet],
    remade: Remade,
) -> None:
    """Make versions visible (by document id), replacing those in `before` (by document key).

    The passages that stay and whose vectors or terms are replaced are added to `remade`.
    """
    new, documents = [each.key for each in versions.values()], [each.document for each in versions.values()]
    kept = select(chunks_.c.passage).where(among(connection, chunks_.c.version, new))
    runs = {each.document: each.run_id for each in versions.values()}
    disown(connection, runs, kept)
    adopted = adopt(connection, runs)
    remade.vectors |= adopted["vectors"]
    remade.terms |= adopted["terms"]
    _check_facets(connection, {each.document: document_id for document_id, each in versions.items()}, kept, expect)
    fingerprints = {
        each.document: (before[each.document].fingerprint, each.fingerprint)
        for each in versions.values()
        if each.document in before
    }
    check_made(connection, fingerprints, adopted, kept, expect)
    if view_of(connection).is_beside:
        disclaim(connection, {each.document: each.fingerprint for each in versions.values()}, adopted)
        _show_beside(connection, documents, new, kept)
    else:
        _show(connection, documents, new, kept)
    pointers = ("published", "beside")
    written = [pointers[side - 1] for side in view_of(connection).written]
    now = time.time()
    update_rows(
        connection,
        documents_,
        "key",
        (*written, "status", "reason", "tried", "updated_at"),
        [(*[each.key] * len(written), "processed", "", "", now, each.document) for each in versions.values()],
    )


def _show(connection: Connection, documents: Sequence[int], new: Sequence[int], kept: Select[Any]) -> None:
    """Make exactly the passages of the new versions visible, in every version of the index."""
    connection.execute(
        delete(versions_).where(among(connection, versions_.c.document, documents), versions_.c.key.not_in(new))
    )
    rest = select(passages_.c.key, passages_.c.id).where(
        among(connection, passages_.c.document, documents), passages_.c.key.not_in(kept)
    )
    gone = {row.key: row.id for row in connection.execute(rest)}
    remove_passages(connection, list(gone.keys() - over_passages(connection, gone, kept)))
    connection.execute(
        update(passages_)
        .where(passages_.c.key.in_(kept), or_(~passages_.c.visible, passages_.c.side != 0))
        .values(visible=True, side=0)
    )


def _show_beside(connection: Connection, documents: Sequence[int], new: Sequence[int], kept: Select[Any]) -> None:
    """Make exactly the passages of the new versions visible, on this side only."""
    view = view_of(connection)
    own, others = pointer(view.side), pointer(view.other_side)
    rows = connection.execute(
        select(own.label("own"), others.label("others")).where(among(connection, documents_.c.key, documents))
    ).all()
    needed = {row.others for row in rows} | set(new)
    replaced = [row.own for row in rows if row.own is not None and row.own not in needed]
    leave_side(connection, documents, view.side, replaced, but=passages_.c.key.in_(kept))
    entering = update(passages_).where(passages_.c.key.in_(kept))
    connection.execute(entering.where(~passages_.c.visible).values(visible=True, side=view.side))
    connection.execute(entering.where(passages_.c.side == view.other_side).values(side=0))


def _versions_named(connection: Connection, names: Mapping[str, str], keys: Mapping[str, int]) -> dict[str, Row]:
    """Key, document, run and fingerprint of versions by document id, in the order of `names`."""
    rows = connection.execute(
        select(
            versions_.c.key, versions_.c.document, versions_.c.name, versions_.c.run_id, versions_.c.fingerprint
        ).where(among(connection, versions_.c.document, list(keys.values())))
    )
    stored = {(row.document, row.name): row for row in rows}
    found = {document_id: stored.get((keys.get(document_id), name)) for document_id, name in names.items()}
    return {document_id: version for document_id, version in found.items() if version is not None}


def _published(connection: Connection, documents: Sequence[int]) -> dict[int, Row]:
    """Key, content hash and fingerprint of the visible versions of documents, by document key."""
    rows = connection.execute(
        select(versions_.c.key, versions_.c.document, versions_.c.content_sha256, versions_.c.fingerprint)
        .join(documents_, published(connection) == versions_.c.key)
        .where(among(connection, documents_.c.key, documents))
    )
    return {row.document: row for row in rows}


def _is_published(connection: Connection, name: str, visible: Row | None) -> bool:
    """Whether the visible version has the content and tags of the named one and was made in the same way."""
    if visible is None:
        return False
    tags = connection.execute(
        select(schema.tags.c.name, schema.tags.c.value).where(schema.tags.c.version == visible.key)
    )
    return is_the_same(name, visible.content_sha256, visible.fingerprint, ((row.name, row.value) for row in tags))


def _check_facets(connection: Connection, documents: Mapping[int, str], kept: Any, expect: Collection[Facet]) -> None:
    if not expect:
        return
    missing = {
        "facts": ~passages_.c.facts,
        "vectors": ~exists().where(schema.vectors.c.passage == passages_.c.key, of_model(connection)),
        "terms": passages_.c.length.is_(None),
    }
    facets = sorted(expect)
    counts = [func.sum(case((missing[facet], 1), else_=0)) for facet in facets]
    rows = connection.execute(
        select(passages_.c.document, *counts).where(passages_.c.key.in_(kept)).group_by(passages_.c.document)
    )
    lacking = {documents[row[0]]: row[1:] for row in rows}
    for document_id in documents.values():
        for facet, count in zip(facets, lacking.get(document_id, ()), strict=False):
            if count:
                raise facet_is_missing(document_id, count, facet)
