"""The tables of an index in memory, and which of their rows are visible."""

import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from handlers.records import Artifact, Chunk, Document, Entity, LeftOut, Relation, SparseVector
from handlers.stores.fingerprints import disclaimed, remade_facets
from handlers.stores.keys import entity_key
from handlers.stores.pinning import pinned_version
from handlers.stores.refusals import facet_was_remade, index_version_is_missing
from handlers.stores.rows import DocumentRow, Facet, SourceRecord
from handlers.tags import TagFilter


@dataclass
class Version:
    """One version of a document: all its stored data except the passages."""

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
    vectors: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    """The vectors by model; more than one only while the index has two versions."""
    tokens: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """The packed vectors of its tokens, by model."""
    checksums: dict[str, int] = field(default_factory=dict[str, int])
    """The checksums of the vectors, by model."""
    terms: SparseVector | None = None
    entities: list[Entity] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)

    @property
    def facets(self) -> set[Facet]:
        """The facets that are stored of it."""
        stored: dict[Facet, bool] = {
            "vectors": bool(self.vectors),
            "terms": self.terms is not None,
            "facts": self.facts,
        }
        return {facet for facet, has in stored.items() if has}


@dataclass
class Side:
    """A version of the index: which version of each document is visible in it, by document id."""

    name: str
    model: str = ""
    """The model whose vectors belong to it, while there are two versions; else empty."""
    ways: set[str] = field(default_factory=set[str])
    created_at: float = field(default_factory=time.time)
    switched_at: float | None = None
    published: dict[str, tuple[str, Version]] = field(default_factory=dict[str, tuple[str, Version]])


class MemoryTables:
    """Documents, their versions and passages; every method that reads or writes them holds the lock."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._active = Side("1", switched_at=time.time())
        self._beside: Side | None = None
        self._rows: dict[str, DocumentRow] = {}
        self._staged: dict[tuple[str, str], Version] = {}
        self._passages: dict[str, Passage] = {}
        self._over: dict[tuple[str, str], Passage] = {}
        """Passages that runs have staged over those that are visible or another run's, by chunk id and run."""
        self._tried: dict[str, str] = {}
        self._sources: dict[tuple[str, str], SourceRecord] = {}
        self._left_out: dict[tuple[str, str], list[LeftOut]] = {}

    @property
    def _side(self) -> Side:
        """The version of the index for the current call."""
        name = pinned_version(self)
        for side in self._sides:
            if name in (None, side.name):
                return side
        raise index_version_is_missing(name or "", [side.name for side in self._sides])

    @property
    def _sides(self) -> list[Side]:
        """The versions of the index, the active one first."""
        return [self._active] if self._beside is None else [self._active, self._beside]

    @property
    def _written(self) -> list[Side]:
        """The versions that a write changes."""
        return self._sides if self._side is self._active else [self._side]

    @property
    def _published(self) -> dict[str, tuple[str, Version]]:
        return self._side.published

    def _everywhere(self, document_id: str) -> dict[str, Version]:
        """The versions of a document that are visible in any version of the index, by name."""
        return dict(side.published[document_id] for side in self._sides if document_id in side.published)

    def _vector(self, passage: Passage) -> tuple[str, np.ndarray] | None:
        """Model and vector of a passage in this version of the index."""
        if self._beside is None:
            return next(iter(passage.vectors.items()), None)
        model = self._side.model
        return (model, passage.vectors[model]) if model in passage.vectors else None

    def _packed(self, passage: Passage) -> bytes:
        """The packed token vectors of a passage in this version of the index; empty without any."""
        found = self._vector(passage)
        return passage.tokens.get(found[0], b"") if found is not None else b""

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
            row,
            title=version.document.title,
            content_sha256=version.document.content_sha256,
            fingerprint=version.fingerprint,
            chunks=len(version.chunks),
            searchable=True,
        )

    def _visible(self) -> dict[str, Passage]:
        return {key: self._passages[key] for _, version in self._published.values() for key in version.chunks}

    def _is_visible(self, chunk_id: str) -> bool:
        """Whether a chunk is visible in any version of the index."""
        document_id = self._passages[chunk_id].document_id
        return any(chunk_id in version.chunks for version in self._everywhere(document_id).values())

    def _names(self, where: TagFilter | None = None) -> dict[str, str]:
        stored: dict[str, str] = {}
        for passage in self._visible().values():
            if not self._permits(where, passage.document_id):
                continue
            relations = [name for each in passage.relations for name in (each.start, each.end)]
            for name in [each.name for each in passage.entities] + relations:
                stored[entity_key(name)] = min(name, stored.get(entity_key(name), name))
        return stored

    def _permits(self, where: TagFilter | None, document_id: str) -> bool:
        return not where or where.matches(self._published[document_id][1].document.tags)

    def _stage(self, chunks: Sequence[Chunk], run_id: str) -> None:
        for chunk in chunks:
            if chunk.document_id not in self._rows:
                self._note(chunk.document_id, "", "", "")
            self._passages.setdefault(chunk.id, Passage(chunk.document_id, run_id, time.time()))

    def _staging(self, chunk_id: str, run_id: str) -> Passage:
        """The place for a chunk's facets from a run: beside the stored passage if that is visible or belongs to another
        run.
        """
        passage = self._passages[chunk_id]
        if not self._is_visible(chunk_id) and passage.run_id == run_id:
            return passage
        over = self._over.setdefault((chunk_id, run_id), Passage(passage.document_id, run_id, time.time()))
        over.staged_at = time.time()
        return over

    def _adopted(self, version: Version, run_id: str) -> dict[str, Passage]:
        """The passages of a version as a run has staged them, without anything that other runs have staged."""
        adopted = dict[str, Passage]()
        for chunk_id in version.chunks:
            below, over = self._passages[chunk_id], self._over.get((chunk_id, run_id))
            if not self._is_visible(chunk_id) and below.run_id != run_id:
                below = Passage(below.document_id, run_id, below.staged_at)
            adopted[chunk_id] = below if over is None else self._combined(below, over)
        return adopted

    def _check_made(self, version: Version, run_id: str, before: Version | None, facets: Collection[Facet]) -> None:
        """Refuse a fingerprint that does not describe the visible passages, because another run has remade them
        meanwhile.

        Raises:
            FatalError: the run has not remade a facet of all of them, although `before` made it in another way.
        """
        if before is None:
            return
        kept = version.chunks.keys() & self._visible().keys()
        for facet in sorted(remade_facets(before.fingerprint, version.fingerprint) & set(facets)):
            made = {each for each in kept if (each, run_id) in self._over and facet in self._over[each, run_id].facets}
            if kept - made:
                raise facet_was_remade(version.document.id, len(kept - made), facet)

    def _combined(self, passage: Passage, staged: Passage) -> Passage:
        found = replace(passage)
        if staged.vectors:
            # Beside another version, vectors of another model are that version's.
            alone = self._beside is None
            kept = {each: packed for each, packed in passage.tokens.items() if each not in staged.vectors}
            found.vectors = staged.vectors if alone else {**passage.vectors, **staged.vectors}
            found.checksums = staged.checksums if alone else {**passage.checksums, **staged.checksums}
            found.tokens = staged.tokens if alone else {**kept, **staged.tokens}
        if staged.terms is not None:
            found.terms = staged.terms
        if staged.facts:
            found.facts, found.entities, found.relations = True, staged.entities, staged.relations
        return found

    def _disclaim(self, version: Version, run_id: str) -> None:
        """Remove facets that a run has remade for both versions from the other version's fingerprints."""
        other = self._active
        if self._side is other or version.document.id not in other.published:
            return
        name, theirs = other.published[version.document.id]
        facets: set[Facet] = {
            facet
            for chunk_id in theirs.chunks.keys() & version.chunks.keys()
            if (over := self._over.get((chunk_id, run_id))) is not None
            for facet in over.facets
            if facet != "vectors" or self._side.model == other.model
        }
        changed = replace(theirs, fingerprint=disclaimed(theirs.fingerprint, facets, version.fingerprint))
        other.published[version.document.id] = (name, changed)
        self._staged[version.document.id, name] = changed
