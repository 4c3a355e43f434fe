"""The records that ingestion and retrieval pass from step to step: frozen, small, with ids derived from content."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from flows.storage import canonical_uri


@dataclass(frozen=True)
class SourceFile:
    """One file or object to ingest; its canonical URI is its document's identity."""

    uri: str
    """The URI for opening the file."""
    name: str
    """Its path below the listed root; after the comparison with an index, the name of its document."""
    size: int
    modified: float | None = None
    etag: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    certain: bool = False
    """Whether it was unchanged long enough before the listing that any later change is detectable."""
    mime_type: str = ""
    """The media type from its source; if empty, the suffix of its name decides."""
    source: str = ""
    """The root of its source, if fetching needs more than the URI."""

    @property
    def revision(self) -> str:
        """Size, ETag and time of the listing: if `certain`, they are equal only for the same content."""
        return f"{'' if self.certain else '~'}{self.size}:{self.etag or ''}:{self.modified!r}"

    @property
    def document_id(self) -> str:
        return document_id_of(self.uri)


@dataclass(frozen=True)
class Fetched:
    """The content of a document, and further facts from its source."""

    data: bytes
    metadata: tuple[tuple[str, str], ...] = ()
    title: str = ""
    """A title for documents without one in their content."""
    token: str | None = None
    """Its current change token, as in a listing."""


@dataclass(frozen=True)
class LeftOut:
    """An object of a source that is not ingested, with the name of the rule and the reason."""

    uri: str
    name: str
    """Its path below the listed root; a folder's ends with a slash."""
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Block:
    """A unit of a document's text: `text[start:end]` of the document."""

    kind: str
    """heading, paragraph, list, table, code or caption."""
    start: int
    end: int
    level: int = 0
    """The level of a heading, 1 to 6."""
    page: int | None = None
    """Counted from 1 where the format has pages or slides."""


@dataclass(frozen=True)
class RecognisedWord:
    """A word that was recognised in a picture: `text[start:end]` of the document."""

    start: int
    end: int
    confidence: float
    """The confidence of the engine, between 0 and 1."""
    page: int


@dataclass(frozen=True)
class Document:
    """One document's text and structure; the offsets of chunks refer to `text`."""

    id: str
    name: str
    uri: str
    title: str
    mime_type: str
    text: str
    content_sha256: str
    blocks: tuple[Block, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    words: tuple[RecognisedWord, ...] = ()
    """The words recognised in pictures (OCR); most documents have none."""


@dataclass(frozen=True)
class Chunk:
    """A passage for embedding and search: `text` is `document.text[start:end]`, `heading` the headings above it."""

    id: str
    document_id: str
    position: int
    text: str
    start: int
    end: int
    heading: str = ""
    page: int | None = None
    tokens: int = 0


@dataclass(frozen=True)
class Artifact:
    """A table, an image or a block of code found in a document; content by reference when it is large."""

    id: str
    document_id: str
    kind: str
    """table, image, code, or words: those of a page that were recognised in a picture."""
    content: str
    """Markdown of a table, caption or alt text of an image, source of a code block; of words, a JSON list with start,
    end and confidence of each."""
    uri: str | None = None
    """The URI of an image's bytes."""
    page: int | None = None
    language: str | None = None


@dataclass(frozen=True)
class Embeddings:
    """One vector per chunk: float32, shape (len(chunk_ids), dim), every row of L2 norm 1."""

    chunk_ids: tuple[str, ...]
    vectors: np.ndarray
    model: str
    tokens: tuple[bytes, ...] = ()
    """The packed token vectors of each chunk (see `handlers.token_vectors`), empty bytes for a chunk without; or an
    empty tuple.
    """

    def at(self, rows: Sequence[int]) -> "Embeddings":
        """The embeddings of these rows."""
        ids = tuple(self.chunk_ids[row] for row in rows)
        tokens = tuple(self.tokens[row] for row in rows) if self.tokens else ()
        return Embeddings(ids, self.vectors[list(rows)], self.model, tokens)


@dataclass(frozen=True)
class SparseVector:
    """Term counts of one chunk, after tokenising, stop words and stemming; BM25 is computed from them at query time."""

    chunk_id: str
    counts: tuple[tuple[str, int], ...]
    length: int


@dataclass(frozen=True)
class Entity:
    """A named thing in one chunk; `name` is its canonical spelling, `kind` for example PERSON, ORG, DATE, ACRONYM."""

    name: str
    kind: str
    document_id: str
    chunk_id: str


@dataclass(frozen=True)
class Relation:
    """Two entities that a chunk connects; an undirected co-occurrence if `kind` is `co_occurs`."""

    start: str
    end: str
    kind: str
    document_id: str
    chunk_id: str
    weight: float = 1.0


@dataclass(frozen=True)
class Hit:
    """One answer to a query: a chunk, its score (higher is better), and the retriever that found it."""

    id: str
    document_id: str
    score: float
    content: str
    found_by: str
    """The retriever; after fusion, the retrievers joined by `+`."""
    name: str = ""
    heading: str = ""
    page: int | None = None
    start: int = 0
    end: int = 0
    scores: Mapping[str, float] = field(default_factory=dict)
    """After fusion, the score of each retriever."""
    highlights: tuple[tuple[int, int], ...] = ()
    """The ranges of `content` that match the question, in order and disjoint; add `start` for offsets in the document.
    """
    duplicates: tuple[tuple[str, str], ...] = ()
    """Chunk and document ids of near duplicates ranked below this one, which are shown only here."""
    relevance: float | None = None
    """How well it answers, between 0 and 1, comparable across questions; None if unknown."""

    @property
    def own_scores(self) -> Mapping[str, float]:
        """The score of each retriever, available before fusion as well."""
        return self.scores or {self.found_by: self.score}


def document_id_of(uri: str) -> str:
    """The document id of a file or object: the same for all spellings of its URI."""
    return stable_id("doc", canonical_uri(uri))


def stable_id(*parts: str) -> str:
    """A short id that only depends on the parts: hex of 128 bits of SHA-256."""
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
