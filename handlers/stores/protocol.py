"""What an index must offer: staged writes, publication per document, searches, the document table."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, TypeAlias

import numpy as np

from handlers.records import Artifact, Chunk, Document, Embeddings, Entity, Hit, Relation, SparseVector
from handlers.tags import TagFilter

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
    """What was tried (its revision and how it was read), so that the same is not tried again."""


@dataclass(frozen=True)
class DocumentState:
    """What tells whether a document has to be processed again; without a searchable version all but `id` is empty."""

    id: str
    name: str
    uri: str
    status: DocumentStatus
    content_sha256: str
    fingerprint: str
    revision: str
    """What the source looked like (an ETag, or size and time), by which it is known unchanged without reading it."""
    chunk_ids: tuple[str, ...]
    """In the order of the document."""
    tags: tuple[tuple[str, str], ...] = ()
    tried: str = ""
    """Of a failed document: see `FailedDocument`."""


@dataclass(frozen=True)
class ChunkState:
    """What is stored of a chunk, visible or staged."""

    model: str | None
    """Whose vector it has, if any."""
    terms: bool
    facts: bool
    """Whether the graph has what it says, be it nothing."""
    fingerprint: str = ""
    """Of the searchable version that has the chunk; empty for a chunk that is only staged."""


@dataclass(frozen=True)
class Restatement:
    """What is to be noted of a searchable document whose content stays: None leaves a thing as it is."""

    document_id: str
    uri: str | None = None
    revision: str | None = None
    fingerprint: str | None = None
    tags: tuple[tuple[str, str], ...] | None = None
    run_id: str | None = None
    """Whose staged vectors, terms and facts of the document's passages become visible with this."""


@dataclass(frozen=True)
class Rename:
    """A searchable document that is found elsewhere: its new description, and its chunks' and artifacts' new ids."""

    document_id: str
    document: Document
    chunk_ids: Mapping[str, str]
    artifact_ids: Mapping[str, str] = field(default_factory=dict[str, str])
    revision: str = ""
    fingerprint: str | None = None
    """None keeps what it was; another one says what of it has to be made again."""


@dataclass(frozen=True)
class StoredDocument:
    """All that an index has of one document, `document` without text and blocks; `searchable` if a version is."""

    document: Document
    status: DocumentStatus
    reason: str
    run_id: str
    searchable: bool
    fingerprint: str = ""
    revision: str = ""
    summary: str | None = None
    chunks: tuple[Chunk, ...] = ()
    vectors: Mapping[str, tuple[str, np.ndarray]] = field(default_factory=dict[str, tuple[str, np.ndarray]])
    """Model and vector by chunk id."""
    terms: tuple[SparseVector, ...] = ()
    facts: frozenset[str] = frozenset()
    """The chunks of which the graph has what they say."""
    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()
    artifacts: tuple[Artifact, ...] = ()


@dataclass(frozen=True)
class Swept:
    """What `sweep` removed: staged versions, staged chunks, documents that never became searchable."""

    versions: int = 0
    chunks: int = 0
    documents: int = 0


class Edge(NamedTuple):
    """Two related entities and the summed weight of their relations of one kind."""

    source: str
    target: str
    kind: str
    weight: float


class Mention(NamedTuple):
    """A chunk that names an entity, and how often."""

    chunk_id: str
    name: str
    times: int


class IndexStore(Protocol):
    """One index. Safe to use from several threads and processes; every write may be repeated.

    The `put_…` methods stage: nothing they write for new chunks is found before `publish` has made the document's new
    version visible, in one transaction that also removes what only the old version used. Rows belong to chunks, whose
    ids derive from their content: a chunk that an edit left alone keeps its vector and its terms. What is visible, or
    staged by another run, is never written over: new vectors, terms and facts of such a chunk stay invisible until
    `publish` makes the version visible that the same run has staged, or `restate` says that they are the document's.
    Nothing that another run has staged becomes visible with either.
    Entities are addressed by name, without regard to case and spacing (`entity_key`).
    """

    def put_documents(
        self,
        documents: Sequence[Document],
        chunks: Sequence[Chunk],
        *,
        summaries: Mapping[str, str] | None = None,
        artifacts: Sequence[Artifact] = (),
        revisions: Mapping[str, str] | None = None,
        run_id: str = "",
        fingerprint: str = "",
    ) -> dict[str, str]:
        """Stage a version of each document with its chunks; the version's name by document id, for `publish`.

        `summaries` and `revisions` (see `DocumentState`) are by document id.
        """
        ...

    def put_vectors(self, chunks: Sequence[Chunk], embeddings: Embeddings, *, run_id: str = "") -> int:
        """Stage a vector a chunk, in place of any before; the number stored."""
        ...

    def put_terms(self, chunks: Sequence[Chunk], sparse: Sequence[SparseVector], *, run_id: str = "") -> int:
        """Stage the term counts of chunks, replacing any before; the number of chunks."""
        ...

    def put_graph(
        self, chunks: Sequence[Chunk], entities: Sequence[Entity], relations: Sequence[Relation], *, run_id: str = ""
    ) -> int:
        """Stage all that these chunks say, replacing what they said before; the number of mentions and relations."""
        ...

    def publish(self, versions: Mapping[str, str], *, expect: Collection[Facet] = ()) -> int:
        """Make staged versions visible, each at once, and remove the old ones; the number of documents.

        A version that is gone because another run has published the same content meanwhile, made in the same way and
        with the same tags, counts.

        Raises:
            FatalError: a version, or an expected facet of one of its chunks, is not stored (another run may have
                replaced it); or another run has made an expected facet of visible chunks in another way meanwhile. The
                version before stays visible.
        """
        ...

    def put_failures(self, failures: Sequence[FailedDocument], *, run_id: str = "") -> int:
        """Note documents as failed; what was searchable of them before stays so."""
        ...

    def delete(self, document_ids: Sequence[str]) -> int:
        """Remove documents and every fact that only they support; the number that were there."""
        ...

    def rename(self, renames: Sequence[Rename]) -> int:
        """Move searchable documents to other ids, names and URIs with all that is stored of them; the number moved.

        Nothing is computed again; a query sees the old place or the new one. What was staged for the old or the new
        place is dropped. A document that is not searchable is not moved; one that could not be read where it was counts
        as processed where it is found again.

        Raises:
            FatalError: another document is searchable at the new place.
            ValueError: a chunk has no new id.
        """
        ...

    def restate(self, restatements: Sequence[Restatement]) -> int:
        """Note tags, place, revision or fingerprint of searchable documents, with what a run has staged over them; how
        many there were. All of it becomes visible at once.

        Raises:
            FatalError: a new fingerprint, given with a run, is not true, since another run has made something of the
                document in another way meanwhile; nothing is noted.
        """
        ...

    def requeue(self, document_ids: Sequence[str]) -> int:
        """Let failed documents be tried again by the next ingestion, as if they were new; how many were failed."""
        ...

    def sweep(
        self, *, alive: Collection[str] = (), dead: Collection[str] = (), older_than_s: float = 86_400.0
    ) -> Swept:
        """Remove what runs staged and never published.

        Nothing of a run in `alive` is touched, nor, unless its run is in `dead`, anything staged less than
        `older_than_s` ago: let that be longer than any run takes from staging a batch to publishing it.
        """
        ...

    def known(self, document_ids: Sequence[str]) -> dict[str, DocumentRow]:
        """The rows of those documents that the table has."""
        ...

    def documents(
        self, *, status: DocumentStatus | None = None, limit: int = 100, offset: int = 0
    ) -> list[DocumentRow]:
        """A page of the document table, by name."""
        ...

    def document_states(self, *, after: str = "", limit: int = 1000) -> list[DocumentState]:
        """The states of all documents in pages, by id: those with ids greater than `after`."""
        ...

    def chunk_states(self, chunk_ids: Iterable[str]) -> dict[str, ChunkState]:
        """What is stored of those chunks that are known, so that it is not computed again."""
        ...

    def read_documents(self, document_ids: Sequence[str]) -> list[StoredDocument]:
        """All that the index has of documents, by id; those it does not know are left out."""
        ...

    def fingerprint(self) -> str:
        """A hash of the content: equal for two indexes, of whatever kind, that answer every query in the same way.

        It covers all that is visible and the reasons of failed documents; not when, by which run, or in which order
        anything was stored, nor what is only staged.
        """
        ...

    def size_bytes(self) -> int:
        """How much room the index takes, about."""
        ...

    def statistics(self) -> dict[str, int]:
        """Counts of what is visible (documents, chunks, chunks with `vectors` and with `terms`, entities, relations,
        artifacts, summaries, tagged_documents) and of documents by status (pending, processed, failed)."""
        ...

    def chunks_of(self, document_id: str) -> list[Chunk]:
        """The visible chunks of a document, in order."""
        ...

    def artifacts_of(self, document_id: str) -> list[Artifact]:
        """The visible artifacts of a document, by id."""
        ...

    def summary_of(self, document_id: str) -> str | None:
        """The visible summary of a document."""
        ...

    def tags_of(self, document_ids: Iterable[str]) -> dict[str, tuple[tuple[str, str], ...]]:
        """The tags of those documents that are visible; no entry for any other."""
        ...

    def search_vectors(
        self, vector: np.ndarray, *, top_k: int = 50, model: str | None = None, where: TagFilter | None = None
    ) -> list[Hit]:
        """The chunks whose vectors have the greatest inner product with `vector` (float32, shape (dim,)), best first.

        Raises:
            FatalError: the index has vectors, but none of that model or dimension.
        """
        ...

    def search_terms(
        self,
        counts: Mapping[str, float],
        *,
        top_k: int = 50,
        k1: float = 1.2,
        b: float = 0.75,
        where: TagFilter | None = None,
    ) -> list[Hit]:
        """The chunks with any of the terms, best BM25 score first; `counts` weighs the query's terms."""
        ...

    def find_entities(self, names: Iterable[str], *, where: TagFilter | None = None) -> dict[str, str]:
        """Those of the names that visible chunks mention or relate: name as given to the stored spelling."""
        ...

    def neighbours(self, names: Iterable[str], *, limit: int = 1000, where: TagFilter | None = None) -> list[Edge]:
        """The visible relations to or from these entities, heaviest first, then by name.

        With `where`, only what the documents it lets through say counts, in the weights too.
        """
        ...

    def mentions(self, names: Iterable[str], *, where: TagFilter | None = None) -> list[Mention]:
        """The visible chunks that name these entities, by chunk id and name."""
        ...

    def hits(self, scores: Mapping[str, float], *, found_by: str, where: TagFilter | None = None) -> list[Hit]:
        """The visible ones of these chunks with their scores, best first; ties by chunk id."""
        ...

    def close(self) -> None: ...
