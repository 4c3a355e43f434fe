"""The values that an index accepts and returns besides `handlers.records`: rows, states, changes, edges and counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from handlers.records import Artifact, Chunk, Document, Entity, Relation, SparseVector

DocumentStatus: TypeAlias = Literal["pending", "processed", "failed"]
Facet: TypeAlias = Literal["vectors", "terms", "facts"]


@dataclass(frozen=True)
class DocumentRow:
    """A row of the document table; a failed document may still be searchable in its last good version."""

    id: str
    name: str
    uri: str
    title: str
    status: DocumentStatus
    reason: str
    """Why it failed; empty otherwise."""
    run_id: str
    updated_at: float
    content_sha256: str
    """The hash of the searchable version's content; empty if there is none."""
    fingerprint: str
    """How each facet of the searchable version was made (see `fingerprints`)."""
    chunks: int
    searchable: bool


@dataclass(frozen=True)
class FailedDocument:
    """A document that could not be ingested, and why."""

    id: str
    name: str
    uri: str
    reason: str
    tried: str = ""
    """Its revision and the way it was read, so that the same attempt is not repeated."""


@dataclass(frozen=True)
class DocumentState:
    """The state by which an ingestion decides whether to process a document again.

    Content hash, fingerprint, revision, chunks and tags are those of the searchable version, empty if there is none.
    """

    id: str
    name: str
    uri: str
    status: DocumentStatus
    content_sha256: str
    fingerprint: str
    revision: str
    """The file's revision in the listing (an ETag, or size and time); if it is equal, the file need not be read."""
    chunk_ids: tuple[str, ...]
    """The ids of its chunks in the order of the document."""
    tags: tuple[tuple[str, str], ...] = ()
    tried: str = ""
    """For a failed document: see `FailedDocument`."""


@dataclass(frozen=True)
class ChunkState:
    """The facets that are stored of a chunk, visible or staged."""

    model: str | None
    """The model of its vector, if it has one."""
    terms: bool
    facts: bool
    """Whether its facts are stored in the graph; a processed chunk may have none."""
    fingerprint: str = ""
    """The fingerprint of the searchable version with the chunk; empty for a chunk that is only staged."""


@dataclass(frozen=True)
class Restatement:
    """A change to a searchable document whose content stays; None leaves a property as it is."""

    document_id: str
    uri: str | None = None
    revision: str | None = None
    fingerprint: str | None = None
    tags: tuple[tuple[str, str], ...] | None = None
    run_id: str | None = None
    """The run whose staged vectors, terms and facts of the document's passages become visible with this."""


@dataclass(frozen=True)
class Rename:
    """A searchable document that has moved: its new description, and the new ids of its chunks and artifacts."""

    document_id: str
    document: Document
    chunk_ids: Mapping[str, str]
    artifact_ids: Mapping[str, str] = field(default_factory=dict[str, str])
    revision: str = ""
    fingerprint: str | None = None
    """A new fingerprint, without the facets that must be remade; None keeps the old one."""


@dataclass(frozen=True)
class StoredDocument:
    """Everything that an index has of one document; `document` comes without text and blocks."""

    document: Document
    status: DocumentStatus
    reason: str
    run_id: str
    searchable: bool
    """Whether it has a visible version."""
    fingerprint: str = ""
    revision: str = ""
    summary: str | None = None
    chunks: tuple[Chunk, ...] = ()
    vectors: Mapping[str, tuple[str, np.ndarray]] = field(default_factory=dict[str, tuple[str, np.ndarray]])
    """Model and vector by chunk id."""
    tokens: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    """The packed token vectors by chunk id."""
    terms: tuple[SparseVector, ...] = ()
    facts: frozenset[str] = frozenset()
    """The ids of the chunks whose facts are in the graph."""
    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()
    artifacts: tuple[Artifact, ...] = ()


@dataclass(frozen=True)
class SourceRecord:
    """A source that was ingested into an index, identified by its canonical URI and its pattern."""

    uri: str
    pattern: str = "**/*"
    exclude: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    """The tags of all its documents, as given for the ingestion."""
    is_folder: bool = True
    run_id: str = ""
    """The last run that listed it."""
    updated_at: float = 0.0
    balance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The balance of its last complete run; empty before the first one."""


@dataclass(frozen=True)
class IndexVersion:
    """One version of an index: the active one, or the one beside it (at most one)."""

    name: str
    active: bool
    model: str
    """The model of its vectors; may be empty if it is the only version."""
    created_at: float
    switched_at: float | None
    """When it last became active; `None` for a version that is being built."""

    @property
    def state(self) -> Literal["active", "being built", "kept"]:
        if self.active:
            return "active"
        return "being built" if self.switched_at is None else "kept"


@dataclass(frozen=True)
class Flaw:
    """A damaged or orphaned row, independent of the sources."""

    kind: Literal["vector", "orphan", "hidden"]
    """A vector with a wrong checksum, an orphaned row, or a passage that searches cannot find."""
    table: str
    detail: str
    document_id: str = ""
    chunk_id: str = ""
    key: int = 0


@dataclass(frozen=True)
class SweepCounts:
    """How much `sweep` removed: staged versions, staged chunks, documents that never became searchable."""

    versions: int = 0
    chunks: int = 0
    documents: int = 0


class DocumentPlace(NamedTuple):
    """The URI of a document, and its display name."""

    id: str
    name: str
    uri: str


class Edge(NamedTuple):
    """Two related entities and the summed weight of their relations of one kind."""

    start: str
    end: str
    kind: str
    weight: float


class Mention(NamedTuple):
    """A chunk that names an entity, and how often."""

    chunk_id: str
    name: str
    times: int
