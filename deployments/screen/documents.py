"""The documents of an index with their status, from the index itself and from the records of runs."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from flows.errors import AmbiguousName, UnknownName

if TYPE_CHECKING:
    from flows.run_store import DocumentRecord, RunStore
    from handlers.records import LeftOut
    from handlers.stores import DocumentRow, IndexStore, SourceRecord

INDEXED = ("processed", "failed", "pending")
"""The statuses in an index; other statuses come from the run store."""
_CANDIDATES = 10
"""The most documents that a message about an ambiguous name lists."""


@dataclass(frozen=True)
class DocumentEntry:
    """A row of the table."""

    name: str
    id: str
    uri: str
    title: str
    status: str
    searchable: bool
    chunks: int
    step: str
    run_id: str
    runs: int
    reason: str
    updated: float


@dataclass(frozen=True)
class DocumentTable:
    """Reads and changes the documents of one index, in its store and in the run store."""

    index: str
    store: "IndexStore"
    runs: "RunStore"

    def page(self, *, status: str | None = None, limit: int = 50, offset: int = 0) -> list[DocumentEntry]:
        """`limit` documents in the order of their names, after the first `offset`."""
        if status in (None, *INDEXED):
            rows = self.store.documents(status=status, limit=limit, offset=offset)  # pyright: ignore[reportArgumentType]
            return self._with_records(rows)
        records = self.runs.documents(self.index, status=status, limit=limit, offset=offset)
        return [_entry(self._named(each.name), each) for each in records]

    def counts(self) -> dict[str, int]:
        """The number of documents by status, and of those that can be searched."""
        counted = self.store.statistics()
        found = {status: counted[status] for status in INDEXED}
        found |= {
            status: number for status, number in self.runs.count_documents(self.index).items() if status not in INDEXED
        }
        return found | {"searchable": counted["documents"]}

    def find(self, names: Sequence[str]) -> list[DocumentEntry]:
        """The documents with these names, ids or URIs, or with names or URIs that end so.

        Raises:
            UnknownName: there is no such document; the message suggests the nearest.
            AmbiguousName: several documents fit; the message lists them.
        """
        found: list[DocumentRow] = []
        for name in names:
            rows = self.store.lookup(name, limit=_CANDIDATES + 1)
            if not rows:
                raise UnknownName("document", name, [row.name for row in self.store.documents(limit=10_000)])
            if len(rows) > 1:
                raise AmbiguousName("document", name, [row.name for row in rows])
            found.append(rows[0])
        return self._with_records(list({row.id: row for row in found}.values()))

    def _named(self, name: str) -> "DocumentRow | None":
        """The document of exactly this name."""
        return next((row for row in self.store.lookup(name) if row.name == name), None)

    def sources(self) -> "list[SourceRecord]":
        """The sources of the index."""
        return self.store.sources()

    def left_out(self, rule: str | None, *, limit: int, offset: int) -> "Iterator[tuple[str, LeftOut]]":
        """Objects that sources leave out, each with the URI of its source."""
        wanted = limit
        for source in self.store.sources():
            known = sum(n for name, n in source.balance.get("left_out", {}).items() if rule in (None, name))
            some = self.store.left_out(source.uri, source.pattern, rule=rule, limit=wanted, offset=offset)
            offset = 0 if some else max(0, offset - known)
            wanted -= len(some)
            yield from ((source.uri, each) for each in some)
            if wanted <= 0:
                return

    def _with_records(self, rows: "Sequence[DocumentRow]") -> list[DocumentEntry]:
        records = {each.name: each for each in self.runs.documents(self.index, names=[row.name for row in rows])}
        return [_entry(row, records.get(row.name)) for row in rows]

    def described(self, name: str) -> dict[str, Any]:
        """Everything in the index about one document, except vectors and terms."""
        from handlers.extraction import public_type  # the readers take a while to import

        (entry,) = self.find([name])
        (stored,) = self.store.read_documents([entry.id])
        entities: dict[tuple[str, str], int] = {}
        for each in stored.entities:
            entities[each.name, each.kind] = entities.get((each.name, each.kind), 0) + 1
        return asdict(entry) | {
            "mime_type": public_type(stored.document.name, stored.document.mime_type),
            "sha256": stored.document.content_sha256,
            "tags": [list(tag) for tag in stored.document.tags],
            "metadata": dict(stored.document.metadata),
            "summary": stored.summary,
            "entities": [
                {"name": entity, "kind": kind, "times": times}
                for (entity, kind), times in sorted(entities.items(), key=lambda item: (-item[1], item[0]))
            ],
            "artifacts": [asdict(each) for each in stored.artifacts],
            "passages": [
                {
                    "chunk_id": each.id,
                    "position": each.position,
                    "heading": each.heading,
                    "page": each.page,
                    "start": each.start,
                    "end": each.end,
                    "tokens": each.tokens,
                    "text": each.text,
                }
                for each in stored.chunks
            ],
        }

    def delete(self, found: Sequence[DocumentEntry]) -> int:
        """Remove documents and their records; returns how many were in the index."""
        removed = self.store.delete([each.id for each in found])
        self.runs.forget_documents(self.index, [each.name for each in found])
        return removed

    def requeue(self, found: Sequence[DocumentEntry]) -> int:
        """Make the next ingestion try failed documents again; return how many had failed."""
        return self.store.requeue([each.id for each in found])


def _entry(row: "DocumentRow | None", known: "DocumentRecord | None") -> DocumentEntry:
    if row is None:
        assert known is not None
        return DocumentEntry(
            name=known.name,
            id="",
            uri="",
            title="",
            status=known.status,
            searchable=False,
            chunks=0,
            step=known.step,
            run_id=known.run_id,
            runs=known.runs,
            reason=known.reason,
            updated=known.updated,
        )
    return DocumentEntry(
        name=row.name,
        id=row.id,
        uri=row.uri,
        title=row.title,
        status=row.status,
        searchable=row.searchable,
        chunks=row.chunks,
        step=known.step if known else "",
        run_id=known.run_id if known else row.run_id,
        runs=known.runs if known else 0,
        reason=row.reason or (known.reason if known else ""),
        updated=max(row.updated_at, known.updated if known else 0.0),
    )
