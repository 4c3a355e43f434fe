"""The status of each document of each index: the last one that a step reported."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import sqlalchemy as sa

from flows.author import Outcome, now
from flows.run_store.tables import documents
from flows.state import chunked


@dataclass(frozen=True)
class DocumentRecord:
    """The last recorded state of a document of an index."""

    name: str
    status: str
    """`processing`, `processed`, `failed`, or another status that a handler reports."""
    step: str
    """The last step that reported a status."""
    run_id: str
    """The run of that step."""
    reason: str
    """Why it failed; empty if it did not fail."""
    runs: int
    """How many runs reported a status."""
    updated: float
    """Seconds since the epoch."""


def document_records(outcomes: Iterable[Outcome], run_id: str) -> dict[str, DocumentRecord]:
    """The last status of each document in these outcomes; within one step, a failure takes precedence."""
    found: dict[str, DocumentRecord] = {}
    for outcome in outcomes:
        if outcome.reused:
            continue
        for each in outcome.items:
            found[each.item] = DocumentRecord(each.item, each.status, outcome.step, run_id, "", 1, now())
        for failure in outcome.failures if outcome.items or outcome.is_leaf else ():
            found[failure.item] = DocumentRecord(failure.item, "failed", outcome.step, run_id, failure.error, 1, now())
    return found


def write(connection: sa.Connection, index: str, records: dict[str, DocumentRecord]) -> None:
    """Replace the records of documents, and count the runs that reported a status of each."""
    for names in chunked(list(records)):
        same = (documents.c.index == index) & documents.c.name.in_(names)
        before = {
            row.name: (row.run_id, row.runs)
            for row in connection.execute(sa.select(documents.c.name, documents.c.run_id, documents.c.runs).where(same))
        }
        rows: list[dict[str, Any]] = []
        for name in names:
            run_id, runs = before.get(name, ("", 0))
            again = run_id == records[name].run_id
            rows.append({"index": index, **asdict(records[name]), "runs": runs if again else runs + 1})
        connection.execute(sa.delete(documents).where(same))
        connection.execute(sa.insert(documents), rows)


def read(
    connection: sa.Connection,
    index: str,
    *,
    names: Collection[str] | None = None,
    status: str | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> list[DocumentRecord]:
    """The records of an index's documents, sorted by name; of all documents, or of those in `names`."""
    columns = [documents.c[each.name] for each in fields(DocumentRecord)]
    query = sa.select(*columns).where(documents.c.index == index).order_by(documents.c.name)
    if status is not None:
        query = query.where(documents.c.status == status)
    if names is None:
        rows = connection.execute(query.limit(limit).offset(offset)).mappings()
        return [DocumentRecord(**row) for row in rows]
    return [
        DocumentRecord(**row)
        for chunk in chunked(sorted(names))
        for row in connection.execute(query.where(documents.c.name.in_(chunk))).mappings()
    ]


def count(connection: sa.Connection, index: str) -> dict[str, int]:
    """How many documents have each status."""
    query = (
        sa.select(documents.c.status, sa.func.count())
        .where(documents.c.index == index)
        .group_by(documents.c.status)
        .order_by(documents.c.status)
    )
    return {str(status): int(number) for status, number in connection.execute(query)}


def forget(connection: sa.Connection, index: str, names: Sequence[str]) -> None:
    """Drop the records of documents that no longer exist."""
    for chunk in chunked(names):
        connection.execute(sa.delete(documents).where(documents.c.index == index, documents.c.name.in_(chunk)))
