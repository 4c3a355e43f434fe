"""Replaces facets of passages by staged ones when the version is published.

Rows that queries see, or that another run has staged, are never overwritten (see `staging.stage_facets`): the facets of
a new version become visible with it, in one transaction. If its run never publishes it, `sweep` removes them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, delete, select, true, update

from flows.state import chunked
from handlers.stores.fingerprints import disclaimed, remade_facets
from handlers.stores.refusals import facet_was_remade
from handlers.stores.rows import Facet
from handlers.stores.sql import schema
from handlers.stores.sql.dialects import among, move_rows, update_rows
from handlers.stores.sql.graph import entities_of, forget_unsupported
from handlers.stores.sql.staging import OVER, stored_passages
from handlers.stores.sql.views import found_in_view, on_side, pointer, view_of

documents_, versions_, passages_ = schema.documents, schema.versions, schema.passages


@dataclass(frozen=True)
class _Over:
    """A row that is staged over a passage."""

    key: int
    passage: int
    length: int | None
    facts: bool


def adopt(connection: Connection, runs: Mapping[int, str]) -> dict[Facet, set[int]]:
    """Move the facets that runs have staged over passages to the passages; return the keys of the passages by facet.

    `runs` has the run by document key; the documents are locked.
    """
    found = _staged_over(connection, runs)
    if not found:
        return {"vectors": set(), "terms": set(), "facts": set()}
    by_key = {each.key: each for each in found}
    with_vectors = _adopt_vectors(connection, by_key)
    with_terms = [each for each in found if each.length is not None]
    _move(connection, ("postings",), with_terms)
    update_rows(connection, passages_, "key", ("length",), [(each.length, each.passage) for each in with_terms])
    with_facts = [each for each in found if each.facts]
    touched = entities_of(connection, [each.passage for each in with_facts])
    _move(connection, ("mentions", "relations"), with_facts)
    for some in chunked([each.passage for each in with_facts]):
        connection.execute(update(passages_).where(among(connection, passages_.c.key, some)).values(facts=True))
    for some in chunked(by_key):
        connection.execute(delete(passages_).where(among(connection, passages_.c.key, some)))
    forget_unsupported(connection, touched)
    return {
        "vectors": {each.passage for each in with_vectors},
        "terms": {each.passage for each in with_terms},
        "facts": {each.passage for each in with_facts},
    }


def _adopt_vectors(connection: Connection, staged: Mapping[int, _Over]) -> list[_Over]:
    """Move staged vectors (rows by key) to their passages, replacing the vectors of the written version."""
    table, moved = schema.vectors, dict[int, str]()
    for some in chunked(staged):
        rows = connection.execute(
            select(table.c.passage, table.c.model).where(among(connection, table.c.passage, some))
        )
        moved.update((row.passage, row.model) for row in rows)
    found = [staged[key] for key in moved]
    alone = view_of(connection).alone
    for model in sorted(set(moved.values())):
        replaced = [each.passage for each in found if moved[each.key] == model]
        # Beside another version, vectors of another model are that version's.
        mine = true() if alone else table.c.model == model
        for some in chunked(replaced):
            connection.execute(delete(table).where(among(connection, table.c.passage, some), mine))
    move_rows(connection, table, "passage", [(each.key, each.passage) for each in found])
    return found


def disclaim(connection: Connection, made: Mapping[int, str], adopted: Mapping[Facet, set[int]]) -> None:
    """Remove facets that a run has remade for both versions from the other version's fingerprints.

    `made` has the new fingerprint by document key, `adopted` the keys of passages, which both versions may have.
    """
    view = view_of(connection)
    facets: dict[Facet, set[int]] = {
        facet: keys for facet, keys in adopted.items() if facet != "vectors" or view.shares_vectors
    }
    touched: dict[int, set[Facet]] = {}
    for facet, keys in facets.items():
        for some in chunked(keys):
            rows = connection.scalars(
                select(passages_.c.document)
                .where(among(connection, passages_.c.key, some), passages_.c.visible, on_side(view.other_side))
                .distinct()
            )
            for document in rows:
                touched.setdefault(document, set()).add(facet)
    theirs = pointer(view.other_side)
    for some in chunked([document for document in touched if document in made]):
        rows = connection.execute(
            select(documents_.c.key.label("document"), versions_.c.key, versions_.c.fingerprint)
            .join(versions_, versions_.c.key == theirs)
            .where(among(connection, documents_.c.key, some))
        )
        changed = [
            (disclaimed(row.fingerprint, touched[row.document], made[row.document]), row.key) for row in rows.all()
        ]
        update_rows(connection, versions_, "key", ("fingerprint",), changed)


def disown(connection: Connection, runs: Mapping[int, str], kept: Select[Any]) -> None:
    """Drop the facets that other runs have staged for passages that a run is about to make visible.

    `runs` has the run by document key, `kept` selects the keys of the passages; the documents are locked.
    """
    documents: dict[str, list[int]] = {}
    for document, run_id in runs.items():
        documents.setdefault(run_id, []).append(document)
    others: list[int] = []
    for run_id, some in documents.items():
        others += connection.scalars(
            select(passages_.c.key).where(
                passages_.c.key.in_(kept),
                among(connection, passages_.c.document, some),
                ~passages_.c.visible,
                passages_.c.run_id != run_id,
            )
        )
    touched = entities_of(connection, others)
    for some in chunked(others):
        for table in (schema.vectors, schema.postings, schema.mentions, schema.relations):
            connection.execute(delete(table).where(among(connection, table.c.passage, some)))
        connection.execute(
            update(passages_).where(among(connection, passages_.c.key, some)).values(length=None, facts=False)
        )
    forget_unsupported(connection, touched)


def check_made(
    connection: Connection,
    fingerprints: Mapping[int, tuple[str, str]],
    adopted: Mapping[Facet, set[int]],
    kept: Select[Any],
    facets: Collection[Facet],
) -> None:
    """Refuse a fingerprint that does not describe the visible passages, because another run has remade them meanwhile.

    `fingerprints` has the stored and the new one by document key. Each of `facets` that differs between them must have
    been adopted for every passage that was visible and is kept (`kept` selects their keys).

    Raises:
        FatalError: a facet was not adopted.
    """
    for facet in sorted(facets):
        remade = [document for document, pair in fingerprints.items() if facet in remade_facets(*pair)]
        for some in chunked(remade):
            rows = connection.execute(
                select(documents_.c.id, passages_.c.key)
                .join(documents_, documents_.c.key == passages_.c.document)
                .where(
                    among(connection, passages_.c.document, some), found_in_view(connection), passages_.c.key.in_(kept)
                )
                .order_by(documents_.c.id)
            )
            others = [row.id for row in rows if row.key not in adopted[facet]]
            if others:
                raise facet_was_remade(others[0], others.count(others[0]), facet)


def _staged_over(connection: Connection, runs: Mapping[int, str]) -> list[_Over]:
    rows = [
        row
        for some in chunked(runs)
        for row in connection.execute(
            select(passages_.c.key, passages_.c.id, passages_.c.document, passages_.c.length, passages_.c.facts).where(
                among(connection, passages_.c.document, some), ~passages_.c.visible, passages_.c.id.contains(OVER)
            )
        )
    ]
    mine = {row.id.partition(OVER)[0]: row for row in rows if row.id.partition(OVER)[2] == runs[row.document]}
    below = stored_passages(connection, mine)
    return [
        _Over(row.key, below[chunk_id].key, row.length, row.facts)
        for chunk_id, row in mine.items()
        if chunk_id in below
    ]


def over_passages(connection: Connection, rows: Mapping[int, str], kept: Select[Any]) -> set[int]:
    """The rows (id by key) that runs have staged over kept passages (`kept` is a query of their keys)."""
    over = {key: each.partition(OVER)[0] for key, each in rows.items() if OVER in each}
    found: set[str] = set()
    for some in chunked(sorted(set(over.values()))):
        found.update(
            connection.scalars(
                select(passages_.c.id).where(among(connection, passages_.c.id, some), passages_.c.key.in_(kept))
            )
        )
    return {key for key, each in over.items() if each in found}


def _move(connection: Connection, tables: Sequence[str], staged: Sequence[_Over]) -> None:
    for name in tables:
        table = schema.metadata.tables[name]
        for some in chunked([each.passage for each in staged]):
            connection.execute(delete(table).where(among(connection, table.c.passage, some)))
        move_rows(connection, table, "passage", [(each.key, each.passage) for each in staged])
