"""What an index in memory keeps, and what of it can be seen."""

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from handlers.filters import TagFilter
from handlers.records import Artifact, Chunk, Document, Entity, Relation, SparseVector
from handlers.stores.keys import entity_key
from handlers.stores.protocol import DocumentRow


@dataclass
class Version:
    """One version of a document, with what is stored of it beside its passages."""

    document: Document
    chunks: dict[str, Chunk]
    artifacts: list[Artifact]
    summary: str | None
    fingerprint: str
    revision: str
    run_id: str
    staged_at: float


@dataclass
class Passage:
    """A chunk with its vector, terms and facts."""

    document_id: str
    run_id: str
    staged_at: float
    facts: bool = False
    vector: np.ndarray | None = None
    model: str = ""
    terms: SparseVector | None = None
    entities: list[Entity] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)
    over: dict[str, "Passage"] = field(default_factory=dict)
    """What runs have staged over it, while it is visible."""


class MemoryTables:
    """Documents, their versions and passages; whoever reads or writes holds the lock."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._rows: dict[str, DocumentRow] = {}
        self._staged: dict[tuple[str, str], Version] = {}
        self._published: dict[str, tuple[str, Version]] = {}
        self._passages: dict[str, Passage] = {}
        self._tried: dict[str, str] = {}

    def _note(self, document_id: str, name: str, uri: str, run_id: str) -> None:
        now = time.time()
        row = self._rows.get(document_id) or DocumentRow(
            document_id, document_id, uri, "", "pending", "", run_id, now, "", "", 0, False
        )
        self._rows[document_id] = replace(row, name=name, uri=uri, run_id=run_id, updated_at=now) if name else row

    def _row(self, document_id: str) -> DocumentRow:
        row = self._rows[document_id]
        if document_id not in self._published:
            return row
        version = self._published[document_id][1]
        return replace(
            row, title=version.document.title, content_sha256=version.document.content_sha256,
            fingerprint=version.fingerprint, chunks=len(version.chunks), searchable=True,
        )  # fmt: skip

    def _visible(self) -> dict[str, Passage]:
        return {key: self._passages[key] for _, version in self._published.values() for key in version.chunks}

    def _names(self, where: TagFilter | None = None) -> dict[str, str]:
        stored: dict[str, str] = {}
        for passage in self._visible().values():
            if not self._permits(where, passage.document_id):
                continue
            relations = [name for each in passage.relations for name in (each.source, each.target)]
            for name in [each.name for each in passage.entities] + relations:
                stored[entity_key(name)] = min(name, stored.get(entity_key(name), name))
        return stored

    def _permits(self, where: TagFilter | None, document_id: str) -> bool:
        return not where or where.matches(self._published[document_id][1].document.tags)

    def _stage(self, chunks: Sequence[Chunk], run_id: str) -> None:
        visible = self._visible()
        for chunk in chunks:
            if chunk.document_id not in self._rows:
                self._note(chunk.document_id, "", "", "")
            passage = self._passages.setdefault(chunk.id, Passage(chunk.document_id, run_id, time.time()))
            if chunk.id not in visible and passage.run_id != run_id:
                passage.run_id, passage.staged_at = run_id, time.time()

    def _staging(self, chunk_id: str, run_id: str) -> Passage:
        """Where a run writes what it stages of a chunk: beside it while it is visible."""
        passage = self._passages[chunk_id]
        if chunk_id not in self._visible():
            return passage
        over = passage.over.setdefault(run_id, Passage(passage.document_id, run_id, time.time()))
        over.staged_at = time.time()
        return over

    def _adopted(self, chunk_ids: Iterable[str], run_id: str) -> dict[str, Passage]:
        """The passages with what a run has staged over them in its place."""
        return {each: _with(self._passages[each], run_id) for each in chunk_ids}

    def chunks_of(self, document_id: str) -> list[Chunk]:
        with self._lock:
            _, version = self._published.get(document_id, ("", None))
            return sorted(version.chunks.values(), key=lambda each: (each.position, each.id)) if version else []


def _with(passage: Passage, run_id: str) -> Passage:
    found = replace(passage, over={run: staged for run, staged in passage.over.items() if run != run_id})
    staged = passage.over.get(run_id)
    if staged is None:
        return found
    if staged.vector is not None:
        found.vector, found.model = staged.vector, staged.model
    if staged.terms is not None:
        found.terms = staged.terms
    if staged.facts:
        found.facts, found.entities, found.relations = True, staged.entities, staged.relations
    return found
