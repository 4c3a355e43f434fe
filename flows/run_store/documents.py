"""How far the documents of each index have come: the last word that a step said of each."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import sqlalchemy as sa

from flows.author import Outcome, now
from flows.run_store.tables import documents

_AT_ONCE = 400


@dataclass(frozen=True)
class DocumentRecord:
    """A document of an index as the runs left it."""

    name: str
    status: str
    """`processing`, `processed`, `failed`, or whatever else a handler says."""
    step: str
    """The last step that said something of it."""
    run_id: str
    """The run of that step, by which what became of the document can be traced."""
    reason: str
    """Why it failed; empty otherwise."""
    runs: int
    """How many runs had to do with it."""
    updated: float
    """Seconds since the epoch."""


def said_of(outcomes: Iterable[Outcome], run_id: str) -> dict[str, DocumentRecord]:
    """The last word of each document in these outcomes, in their order; a failure outweighs the rest of its step."""
    found: dict[str, DocumentRecord] = {}
    for outcome in outcomes:
        if outcome.reused:
            continue
        for each in outcome.items:
            found[each.item] = DocumentRecord(each.item, each.status, outcome.step, run_id, "", 1, now())
        for failure in outcome.failures if outcome.items or outcome.is_leaf else ():
            found[failure.item] = DocumentRecord(failure.item, "failed", outcome.step, run_id, failure.error, 1, now())
    return found


def write(connection: sa.Connection, index: str, said: dict[str, DocumentRecord]) -> None:
    """Note what was said, counting the runs that had to do with a document."""
    for names in _some(list(said)):
        mine = (documents.c.index_name == index) & documents.c.name.in_(names)
        before = {
            row.name: (row.run_id, row.runs)
            for row in connection.execute(sa.select(documents.c.name, documents.c.run_id, documents.c.runs).where(mine))
        }
        rows: list[dict[str, Any]] = []
        for name in names:
            run_id, runs = before.get(name, ("", 0))
            again = run_id == said[name].run_id
            rows.append({"index_name": index, **asdict(said[name]), "runs": runs if again else runs + 1})
        connection.execute(sa.delete(documents).where(mine))
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
    """Those documents by name."""
    columns = [documents.c[each.name] for each in fields(DocumentRecord)]
    query = sa.select(*columns).where(documents.c.index_name == index).order_by(documents.c.name)
    if status is not None:
        query = query.where(documents.c.status == status)
    if names is None:
        rows = connection.execute(query.limit(limit).offset(offset)).mappings()
        return [DocumentRecord(**row) for row in rows]
    return [
        DocumentRecord(**row)
        for some in _some(sorted(names))
        for row in connection.execute(query.where(documents.c.name.in_(some))).mappings()
    ]


def count(connection: sa.Connection, index: str) -> dict[str, int]:
    """How many documents there are of each status."""
    query = (
        sa.select(documents.c.status, sa.func.count())
        .where(documents.c.index_name == index)
        .group_by(documents.c.status)
        .order_by(documents.c.status)
    )
    return {str(status): int(number) for status, number in connection.execute(query)}


def forget(connection: sa.Connection, index: str, names: Sequence[str]) -> None:
    """Drop what is known of documents that are gone."""
    for some in _some(names):
        connection.execute(sa.delete(documents).where(documents.c.index_name == index, documents.c.name.in_(some)))


def _some(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + _AT_ONCE] for start in range(0, len(names), _AT_ONCE))
