"""What an index must offer: staged writes, publication per document, searches, the document table."""

import math
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeAlias

import numpy as np

from handlers.filters import TagFilter
from handlers.records import Artifact, Chunk, Document, Embeddings, Entity, Hit, Relation, SparseVector

DocumentStatus: TypeAlias = Literal["pending", "processed", "failed"]
Facet: TypeAlias = Literal["vectors", "terms"]


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
    """What the writer gave to tell how the searchable version was made."""
    chunks: int
    searchable: bool


@dataclass(frozen=True)
class FailedDocument:
    """A document that could not be ingested, and why."""

    id: str
    name: str
    uri: str
    reason: str


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
    ids derive from their content: a chunk that an edit left alone keeps its vector and its terms.
    Entities are addressed by name, without regard to case and spacing (`entity_key`).
    """

    def put_documents(
        self,
        documents: Sequence[Document],
        chunks: Sequence[Chunk],
        *,
        summaries: Mapping[str, str] | None = None,
        artifacts: Sequence[Artifact] = (),
        run_id: str = "",
        fingerprint: str = "",
    ) -> dict[str, str]:
        """Stage a version of each document with its chunks; the version's name by document id, for `publish`."""
        ...

    def put_vectors(self, chunks: Sequence[Chunk], embeddings: Embeddings) -> int:
        """Stage a vector a chunk, replacing any before; the number stored."""
        ...

    def put_terms(self, chunks: Sequence[Chunk], sparse: Sequence[SparseVector]) -> int:
        """Stage the term counts of chunks, replacing any before; the number of chunks."""
        ...

    def put_graph(self, chunks: Sequence[Chunk], entities: Sequence[Entity], relations: Sequence[Relation]) -> int:
        """Stage all that these chunks say, replacing what they said before; the number of mentions and relations."""
        ...

    def publish(self, versions: Mapping[str, str], *, expect: Collection[Facet] = ()) -> int:
        """Make staged versions visible, one transaction each, and remove the old ones; the number of documents.

        Raises:
            FatalError: a version, or an expected facet of one of its chunks, is not stored (another run may have
                replaced it); the version before stays visible.
        """
        ...

    def put_failures(self, failures: Sequence[FailedDocument], *, run_id: str = "") -> int:
        """Note documents as failed; what was searchable of them before stays so."""
        ...

    def delete(self, document_ids: Sequence[str]) -> int:
        """Remove documents and every fact that only they support; the number that were there."""
        ...

    def known(self, document_ids: Sequence[str]) -> dict[str, DocumentRow]:
        """The rows of those documents that the table has."""
        ...

    def documents(
        self, *, status: DocumentStatus | None = None, limit: int = 100, offset: int = 0
    ) -> list[DocumentRow]:
        """A page of the document table, by name."""
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

    def hits(self, scores: Mapping[str, float], *, source: str, where: TagFilter | None = None) -> list[Hit]:
        """The visible ones of these chunks with their scores, best first; ties by chunk id."""
        ...

    def close(self) -> None: ...


def entity_key(name: str) -> str:
    """By what two spellings of an entity are the same: compatibility forms, case, spacing and outer punctuation."""
    folded = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    return re.sub(r"^[^\w#@$€£+]+|[^\w#+%]+$", "", folded) or folded


def staged_name(document: Document, run_id: str) -> str:
    """The name of the version that a run stages: the same when a step is tried again, another after an edit."""
    return f"{document.content_sha256[:16]}-{run_id}"


def bm25_idf(documents: int, containing: int) -> float:
    """How much a term that `containing` of `documents` chunks have tells: ln(1 + (N - n + 0.5) / (n + 0.5)).

    Source: Robertson & Zaragoza, The Probabilistic Relevance Framework, 2009, with Lucene's 1 + that keeps it positive.
    """
    return math.log1p((documents - containing + 0.5) / (containing + 0.5))


def best(keys: np.ndarray, scores: np.ndarray, top_k: int) -> list[int]:
    """Positions of the `top_k` greatest scores, best first; ties by key."""
    if top_k <= 0 or not len(scores):
        return []
    if len(scores) > top_k:
        # Everything that ties with the last place competes for it, so that the order of rows does not decide.
        worst = np.partition(scores, len(scores) - top_k)[len(scores) - top_k]
        candidates = np.flatnonzero(scores >= worst)
    else:
        candidates = np.arange(len(scores))
    return candidates[np.lexsort((keys[candidates], -scores[candidates]))][:top_k].tolist()
