"""What is staged over visible passages, and how it takes their place when its version is published.

Nothing that queries see is ever written over (see `staging.stage_facets`): what belongs to a new version becomes
visible with it, in one transaction, and what its run never published is swept like all that is staged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, delete, select, update

from handlers.stores import schema
from handlers.stores.dialects import among, move_rows, update_rows
from handlers.stores.graph import entities_of, forget_unsupported
from handlers.stores.reads import batches
from handlers.stores.staging import OVER, stored_passages

passages_ = schema.passages


@dataclass(frozen=True)
class _Over:
    """A row that is staged over a passage."""

    key: int
    passage: int
    length: int | None
    facts: bool


def adopt(connection: Connection, runs: Mapping[int, str]) -> bool:
    """Let what runs have staged over passages of documents (run by document key) take their place; whether any was.

    The documents are locked.
    """
    found = _staged_over(connection, runs)
    if not found:
        return False
    by_key = {each.key: each for each in found}
    for some in batches(list(by_key)):
        vectors = schema.vectors
        with_vectors = list(
            connection.scalars(select(vectors.c.passage).where(among(connection, vectors.c.passage, some)))
        )
        _move(connection, ("vectors",), [by_key[key] for key in with_vectors])
    with_terms = [each for each in found if each.length is not None]
    _move(connection, ("postings",), with_terms)
    update_rows(connection, passages_, "key", ("length",), [(each.length, each.passage) for each in with_terms])
    with_facts = [each for each in found if each.facts]
    touched = entities_of(connection, [each.passage for each in with_facts])
    _move(connection, ("mentions", "relations"), with_facts)
    for some in batches([each.passage for each in with_facts]):
        connection.execute(update(passages_).where(among(connection, passages_.c.key, some)).values(facts=True))
    for some in batches(list(by_key)):
        connection.execute(delete(passages_).where(among(connection, passages_.c.key, some)))
    forget_unsupported(connection, touched)
    return True


def _staged_over(connection: Connection, runs: Mapping[int, str]) -> list[_Over]:
    rows = [
        row
        for some in batches(list(runs))
        for row in connection.execute(
            select(passages_.c.key, passages_.c.id, passages_.c.document, passages_.c.length, passages_.c.facts).where(
                among(connection, passages_.c.document, some), ~passages_.c.visible, passages_.c.id.contains(OVER)
            )
        )
    ]
    mine = {row.id.partition(OVER)[0]: row for row in rows if row.id.partition(OVER)[2] == runs[row.document]}
    below = stored_passages(connection, mine)
    return [_Over(row.key, below[chunk_id].key, row.length, row.facts) for chunk_id, row in mine.items()
            if chunk_id in below]  # fmt: skip


def over_passages(connection: Connection, rows: Mapping[int, str], kept: Select[Any]) -> set[int]:
    """Those of the rows (id by key) that runs have staged over passages that are kept (a query of their keys)."""
    over = {key: each.partition(OVER)[0] for key, each in rows.items() if OVER in each}
    found: set[str] = set()
    for some in batches(sorted(set(over.values()))):
        found.update(connection.scalars(
            select(passages_.c.id).where(among(connection, passages_.c.id, some), passages_.c.key.in_(kept))
        ))  # fmt: skip
    return {key for key, each in over.items() if each in found}


def _move(connection: Connection, tables: Sequence[str], staged: Sequence[_Over]) -> None:
    for name in tables:
        table = schema.metadata.tables[name]
        for some in batches([each.passage for each in staged]):
            connection.execute(delete(table).where(among(connection, table.c.passage, some)))
        move_rows(connection, table, "passage", [(each.key, each.passage) for each in staged])
