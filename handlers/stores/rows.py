"""The values that an index takes and returns beside `handlers.records`: rows, states, changes, edges and counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from handlers.records import Artifact, Chunk, Document, Entity, Relation, SparseVector

DocumentStatus: TypeAlias = Literal["pending", "processed", "failed"]
Facet: TypeAlias = Literal["vectors", "terms", "facts"]


@dataclass(frozen=True)
class DocumentRow:
    """A line of the document table; a failed document may still be searchable in its last good version."""

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
    """Of the searchable version, empty when there is none."""
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
    """Its revision and how it was read, so that the same is not tried again."""


@dataclass(frozen=True)
class DocumentState:
    """By this an ingestion decides whether a document has to be processed again.

    Content hash, fingerprint, revision, chunks and tags are those of the searchable version, empty if there is none.
    """

    id: str
    name: str
    uri: str
    status: DocumentStatus
    content_sha256: str
    fingerprint: str
    revision: str
    """How the listing described the file (an ETag, or size and time): if that is equal, the file need not be read."""
    chunk_ids: tuple[str, ...]
    """In the order of the document."""
    tags: tuple[tuple[str, str], ...] = ()
    tried: str = ""
    """Of a failed document: see `FailedDocument`."""


@dataclass(frozen=True)
class ChunkState:
    """The facets that are stored of a chunk, visible or staged."""

    model: str | None
    """The model of its vector, if it has one."""
    terms: bool
    facts: bool
    """Whether its facts are in the graph; a chunk may have been looked through and state none."""
    fingerprint: str = ""
    """Of the searchable version that has the chunk; empty for a chunk that is only staged."""


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
    """A searchable document that is found elsewhere: its new description, and its chunks' and artifacts' new ids."""

    document_id: str
    document: Document
    chunk_ids: Mapping[str, str]
    artifact_ids: Mapping[str, str] = field(default_factory=dict[str, str])
    revision: str = ""
    fingerprint: str | None = None
    """None keeps the old one; another one says which facets have to be made again."""


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
    """The token vectors, packed, by chunk id."""
    terms: tuple[SparseVector, ...] = ()
    facts: frozenset[str] = frozenset()
    """The ids of the chunks whose facts are in the graph."""
    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()
    artifacts: tuple[Artifact, ...] = ()


@dataclass(frozen=True)
class SourceRecord:
    """A source that was ingested into an index; its canonical URI and its pattern tell it from others."""

    uri: str
    pattern: str = "**/*"
    exclude: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    """Of all its documents, as they were given for the ingestion."""
    is_folder: bool = True
    run_id: str = ""
    """The last run that listed it."""
    updated_at: float = 0.0
    balance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What became of every object that its last complete run saw; empty before the first."""


@dataclass(frozen=True)
class IndexVersion:
    """One version of an index: the one that questions go to, or the one beside it, of which there is at most one."""

    name: str
    active: bool
    model: str
    """Whose vectors belong to it; of the only version, the model that it has vectors of, or empty."""
    created_at: float
    switched_at: float | None
    """When questions last began to go to it; `None` for one that is being built."""

    @property
    def state(self) -> Literal["active", "being built", "kept"]:
        if self.active:
            return "active"
        return "being built" if self.switched_at is None else "kept"


@dataclass(frozen=True)
class Flaw:
    """A row that cannot be as it was written, whatever the sources say."""

    kind: Literal["vector", "orphan", "hidden"]
    """A vector with another checksum; a row that belongs to nothing; a passage of a document that searches miss."""
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
    """Where a document comes from, and the name under which it is shown."""

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
