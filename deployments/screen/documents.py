"""Documents of an index: what the index has of them, and how far the runs say that they have come."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from flows.errors import UnknownName
from handlers.records import stable_id

if TYPE_CHECKING:
    from flows.run_store import DocumentRecord, RunStore
    from handlers.stores import DocumentRow, IndexStore

INDEXED = ("processed", "failed", "pending")
"""What an index says itself; any other status is only known of runs."""


@dataclass(frozen=True)
class DocumentEntry:
    """One document as people see it."""

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
    """The documents of one index, in its store and in the run store."""

    index: str
    store: "IndexStore"
    runs: "RunStore"

    def page(self, *, status: str | None = None, limit: int = 50, offset: int = 0) -> list[DocumentEntry]:
        """So many documents by name."""
        if status in (None, *INDEXED):
            rows = self.store.documents(status=status, limit=limit, offset=offset)  # pyright: ignore[reportArgumentType]
            said = {each.name: each for each in self.runs.documents(self.index, names=[row.name for row in rows])}
            return [_listed(row, said.get(row.name)) for row in rows]
        said = self.runs.documents(self.index, status=status, limit=limit, offset=offset)
        known = self.store.known([stable_id("doc", each.name) for each in said])
        rows = {row.name: row for row in known.values()}
        return [_listed(rows.get(each.name), each) for each in said]

    def counts(self) -> dict[str, int]:
        """How many there are of each status, and how many can be searched."""
        counted = self.store.statistics()
        found = {status: counted[status] for status in INDEXED}
        found |= {
            status: number for status, number in self.runs.count_documents(self.index).items() if status not in INDEXED
        }
        return found | {"searchable": counted["documents"]}

    def find(self, names: Sequence[str]) -> list[DocumentEntry]:
        """The documents of these names, ids or URIs.

        Raises:
            UnknownName: there is no such document; the message suggests the nearest.
        """
        ids = {name: [name, stable_id("doc", name)] for name in names}
        known = self.store.known([each for pair in ids.values() for each in pair])
        found: list[DocumentRow] = []
        for name, pair in ids.items():
            row = next((known[each] for each in pair if each in known), None)
            if row is None:
                raise UnknownName("document", name, [row.name for row in self.store.documents(limit=10_000)])
            found.append(row)
        said = {each.name: each for each in self.runs.documents(self.index, names=[row.name for row in found])}
        return [_listed(row, said.get(row.name)) for row in found]

    def described(self, name: str) -> dict[str, Any]:
        """Everything that the index has of one document, but for its vectors and its terms."""
        (listed,) = self.find([name])
        (stored,) = self.store.read_documents([listed.id])
        entities: dict[tuple[str, str], int] = {}
        for each in stored.entities:
            entities[each.name, each.kind] = entities.get((each.name, each.kind), 0) + 1
        return asdict(listed) | {
            "mime_type": stored.document.mime_type,
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
                    "position": each.position,
                    "heading": each.heading,
                    "page": each.page,
                    "tokens": each.tokens,
                    "text": each.text,
                }
                for each in stored.chunks
            ],
        }

    def delete(self, found: Sequence[DocumentEntry]) -> int:
        """Remove documents from the index, and what is noted of them; how many there were."""
        removed = self.store.delete([each.id for each in found])
        self.runs.forget_documents(self.index, [each.name for each in found])
        return removed

    def requeue(self, found: Sequence[DocumentEntry]) -> int:
        """Let failed documents be tried again by the next ingestion; how many were failed."""
        return self.store.requeue([each.id for each in found])


def _listed(row: "DocumentRow | None", said: "DocumentRecord | None") -> DocumentEntry:
    if row is None:
        assert said is not None
        return DocumentEntry(
            said.name,
            stable_id("doc", said.name),
            "",
            "",
            said.status,
            False,
            0,
            said.step,
            said.run_id,
            said.runs,
            said.reason,
            said.updated,
        )
    return DocumentEntry(
        row.name,
        row.id,
        row.uri,
        row.title,
        row.status,
        row.searchable,
        row.chunks,
        said.step if said else "",
        said.run_id if said else row.run_id,
        said.runs if said else 0,
        row.reason or (said.reason if said else ""),
        max(row.updated_at, said.updated if said else 0.0),
    )
