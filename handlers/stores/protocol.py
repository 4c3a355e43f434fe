"""Small protocols of an index: reading, writing, searching, upkeep, proof, sources and versions.

Annotate with the narrowest sufficient protocol: a step that searches takes an `IndexSearch`. Every
index is safe to use from several threads and processes, and every write may be repeated. Entities are addressed by
name, without regard to case and spacing (`entity_key`).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from handlers.records import Artifact, Chunk, Document, Embeddings, Entity, Hit, LeftOut, Relation, SparseVector
from handlers.stores.ranking import ANY, BM25, Bm25, TermQuery, TokenQuery, VectorQuery, Words
from handlers.stores.rows import (
    ChunkState,
    DocumentPlace,
    DocumentRow,
    DocumentState,
    DocumentStatus,
    Edge,
    Facet,
    FailedDocument,
    Flaw,
    IndexVersion,
    Mention,
    Rename,
    Restatement,
    SourceRecord,
    StoredDocument,
    SweepCounts,
)
from handlers.tags import TagFilter


class IndexReader(Protocol):
    """Reads the documents of an index, and measures the index."""

    def known(self, document_ids: Sequence[str]) -> dict[str, DocumentRow]:
        """The rows of the known documents among these ids."""
        ...

    def documents(
        self, *, status: DocumentStatus | None = None, limit: int = 100, offset: int = 0
    ) -> list[DocumentRow]:
        """A page of the document table, by name."""
        ...

    def lookup(self, name: str, *, limit: int = 20) -> list[DocumentRow]:
        """The documents that a person may mean by a name, sorted by name: those of this id, URI or whole name, else
        those whose name or URI ends with it after a slash."""
        ...

    def document_places(self, *, after: str = "", limit: int = 1000) -> list[DocumentPlace]:
        """Name and URI of all documents in pages, by id: those with ids greater than `after`."""
        ...

    def document_states(self, *, after: str = "", limit: int = 1000) -> list[DocumentState]:
        """The states of all documents in pages, by id: those with ids greater than `after`."""
        ...

    def chunk_states(self, chunk_ids: Iterable[str]) -> dict[str, ChunkState]:
        """The facets stored of those chunks that are known, so that they are not computed again."""
        ...

    def read_documents(self, document_ids: Sequence[str]) -> list[StoredDocument]:
        """Everything that the index has of documents, by id; unknown ones are left out."""
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

    def fingerprint(self) -> str:
        """A hash of the content: two indexes (of any kind) with equal hashes answer every query in the same way.

        It covers everything visible and the reasons of failed documents. It does not depend on the time, run and order
        of storing, nor on staged data.
        """
        ...

    def size_bytes(self) -> int:
        """The approximate size of the index in bytes."""
        ...

    def statistics(self) -> dict[str, int]:
        """Counts of what is visible (documents, chunks, chunks with `vectors`, with `token_vectors` and with `terms`,
        entities, relations, artifacts, summaries, tagged_documents) and of documents by status (pending, processed,
        failed)."""
        ...


class IndexWriter(Protocol):
    """Writes documents into an index: they are staged part by part, then published as a whole.

    The `put_…` methods stage: nothing they write for new chunks is found before `publish` has made the document's new
    version visible, in one transaction that also removes everything that only the old version used. Rows belong to
    chunks, whose ids derive from their content, so an unchanged chunk keeps its vector and its terms. Rows that are
    visible, or staged by another run, are never overwritten: new vectors, terms and facts of such a chunk stay
    invisible until `publish` or `restate` makes the version visible that the same run has staged. Nothing that another
    run has staged becomes visible with it.
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
        """Stage one vector per chunk, with its token vectors if given, replacing earlier ones; return the number
        stored.
        """
        ...

    def put_terms(self, chunks: Sequence[Chunk], sparse: Sequence[SparseVector], *, run_id: str = "") -> int:
        """Stage the term counts of chunks, replacing earlier ones; return the number of chunks."""
        ...

    def put_graph(
        self, chunks: Sequence[Chunk], entities: Sequence[Entity], relations: Sequence[Relation], *, run_id: str = ""
    ) -> int:
        """Stage all facts of these chunks, replacing earlier ones; return the number of mentions and relations."""
        ...

    def publish(self, versions: Mapping[str, str], *, expect: Collection[Facet] = ()) -> int:
        """Make staged versions visible, each atomically, and remove the old ones; return the number of documents.

        A missing version counts as published if another run has published the same content meanwhile, made in the same
        way and with the same tags.

        Raises:
            FatalError: a version, or an expected facet of one of its chunks, is not stored (another run may have
                replaced it); or another run has made an expected facet of visible chunks in another way meanwhile. The
                previous version stays visible.
        """
        ...

    def put_failures(self, failures: Sequence[FailedDocument], *, run_id: str = "") -> int:
        """Record documents as failed; a searchable earlier version stays searchable."""
        ...


class IndexSearch(Protocol):
    """Searches an index by meaning, by words, and along its graph. Only visible chunks are found."""

    def search_vectors(
        self,
        vector: np.ndarray,
        *,
        top_k: int = 50,
        model: str | None = None,
        where: TagFilter | None = None,
        words: Words = ANY,
        with_text: bool = True,
    ) -> list[Hit]:
        """The chunks whose vectors have the greatest inner product with `vector` (float32, shape (dim,)), best first.

        Without `with_text`, the hits have only ids and scores; the caller looks up the rest of a few later.

        Raises:
            FatalError: the index has vectors, but none of that model or dimension.
        """
        ...

    def search_terms(
        self,
        counts: Mapping[str, float],
        *,
        top_k: int = 50,
        bm25: Bm25 = BM25,
        where: TagFilter | None = None,
        words: Words = ANY,
        with_text: bool = True,
    ) -> list[Hit]:
        """The chunks with any of the terms, best BM25 score first; `counts` weighs the query's terms.

        With `where`, the frequencies and lengths behind the scores are those of the documents that it lets through, so
        scores and order are those of an index without the other documents.
        """
        ...

    def scores(
        self, chunk_ids: Iterable[str], query: VectorQuery | TermQuery | TokenQuery, *, where: TagFilter | None = None
    ) -> dict[str, float]:
        """The search scores of those of the chunks that the filter permits. A chunk without a vector of the model, or
        without any of the terms, has no score.

        There is no search by tokens: a `TokenQuery` only scores the chunks that have token vectors of the model (see
        `handlers.token_vectors`).

        Raises:
            FatalError: the index has vectors, but none of that model or dimension.
        """
        ...

    def having(
        self, chunk_ids: Iterable[str], terms: Iterable[str], *, where: TagFilter | None = None
    ) -> dict[str, set[str]]:
        """For each term, those of the chunks that contain it and that the filter permits."""
        ...

    def occurring(self, terms: Iterable[str], *, where: TagFilter | None = None) -> set[str]:
        """The terms that occur in visible chunks."""
        ...

    def terms_from(self, prefix: str, *, limit: int = 100_000) -> list[str]:
        """The terms with this prefix, in order.

        Only excluded documents may contain some of them, so check with `occurring` before showing any.
        """
        ...

    def containing(self, phrase: str, *, top_k: int = 50, where: TagFilter | None = None) -> list[str]:
        """The ids of visible chunks that have the phrase word for word (see `handlers.text.contains`).

        It reads every text; use it only for phrases without searchable terms.
        """
        ...

    def tag_values(self, name: str, *, where: TagFilter | None = None) -> list[str]:
        """The values that a tag has on visible documents, sorted."""
        ...

    def find_entities(self, names: Iterable[str], *, where: TagFilter | None = None) -> dict[str, str]:
        """The names that visible chunks mention or relate: a mapping from the given name to the stored spelling."""
        ...

    def neighbours(self, names: Iterable[str], *, limit: int = 1000, where: TagFilter | None = None) -> list[Edge]:
        """The visible relations to or from these entities, heaviest first, then by name.

        With `where`, only facts of permitted documents count, also in the weights.
        """
        ...

    def mentions(self, names: Iterable[str], *, where: TagFilter | None = None) -> list[Mention]:
        """The visible chunks that name these entities, by chunk id and name."""
        ...

    def hits(self, scores: Mapping[str, float], *, found_by: str, where: TagFilter | None = None) -> list[Hit]:
        """The visible ones of these chunks with their scores, best first; ties by chunk id."""
        ...


class IndexUpkeep(Protocol):
    """Maintains an index between ingestions: documents that are removed, moved, or changed without new content."""

    def delete(self, document_ids: Sequence[str]) -> int:
        """Remove documents and every fact that only they support; return the number removed."""
        ...

    def rename(self, renames: Sequence[Rename]) -> int:
        """Move searchable documents, with all their stored data, to other ids, names and URIs; return the number moved.

        Nothing is recomputed, and a query sees either the old name or the new one. Data staged under the old or the new
        name are dropped. A document that is not searchable is not moved; one that could not be read under its old name
        counts as processed under the new one.

        Raises:
            FatalError: another document is searchable under the new name.
            ValueError: a chunk has no new id.
        """
        ...

    def restate(self, restatements: Sequence[Restatement]) -> int:
        """Set tags, URI, revision or fingerprint of documents that are searchable in this version of the index, and
        publish what a run has staged over them, in one transaction; return the number of documents found. Tags change
        in all versions. A document with a new fingerprint, given with a run, is processed.

        Raises:
            FatalError: a new fingerprint, given with a run, is wrong, because another run has made a facet of the
                document in another way meanwhile; nothing is changed.
        """
        ...

    def name_documents(self, names: Mapping[str, str]) -> int:
        """Give documents (by id) other names, regardless of status; return the number of documents found."""
        ...

    def requeue(self, document_ids: Sequence[str]) -> int:
        """Make the next ingestion try failed documents again, as if they were new; return how many had failed."""
        ...

    def sweep(
        self, *, alive: Collection[str] = (), dead: Collection[str] = (), older_than_s: float = 86_400.0
    ) -> SweepCounts:
        """Remove everything that runs staged but never published.

        Data of runs in `alive` stay. Data of runs outside `dead` also stay if they were staged less than `older_than_s`
        seconds ago; choose more than a run takes from staging a batch to publishing it.
        """
        ...


class IndexSources(Protocol):
    """The sources of an index, the objects that they leave out, and the outcomes of all their objects."""

    def sources(self) -> list[SourceRecord]:
        """All sources, by URI and pattern."""
        ...

    def put_source(self, source: SourceRecord, left_out: Iterable[LeftOut] | None = None) -> None:
        """Register a source, replacing the one with the same URI and pattern.

        `left_out`, if given, replaces the recorded objects that the source leaves out.
        """
        ...

    def forget_sources(self, sources: Iterable[tuple[str, str]]) -> int:
        """Remove sources (URI and pattern) and the records of left-out objects from the register; return their number.
        Documents stay.
        """
        ...

    def left_out(
        self, uri: str, pattern: str, *, rule: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[LeftOut]:
        """A page of the objects that a source left out when it was last listed, in the order of the listing."""
        ...


class IndexVersions(Protocol):
    """The versions of an index: the active one, which answers questions, and at most one beside it.

    A new version begins equal to the active one, without a copy: equal texts, terms, facts and vectors are shared. A
    `PinnedIndex` reads and writes it. Writes to the active version go to both, so that nothing is lost meanwhile;
    writes to the other version go only there. Terms and facts belong to passages, so both versions have the latest
    ones; vectors belong to a passage and a model.
    """

    def versions(self) -> list[IndexVersion]:
        """The active version, then the other one."""
        ...

    def begin_version(self, model: str, name: str | None = None) -> str:
        """Begin a version with vectors of a model, or continue the one that is being built; return its name.

        It replaces a formerly active version. Without a name, it gets the next number.

        Raises:
            FatalError: another one is being built, or that name is the active one's.
        """
        ...

    def note_way(self, fingerprint: str) -> None:
        """Record a fingerprint that documents have if they are made in the way of this version."""
        ...

    def unfinished(self) -> list[str]:
        """The ids of documents that this version lacks, or that were made in another way; none if it is the only
        version.
        """
        ...

    def switch_version(self, name: str) -> str:
        """Make a version active in one short transaction; return the name of the previous one."""
        ...

    def remove_version(self, name: str) -> None:
        """Remove the inactive version with all data that only it has. Safe to repeat after an interruption."""
        ...


class IndexProof(Protocol):
    """Finds and repairs damage in an index without reading its sources; damaged vectors must be recomputed."""

    def flaws(self) -> list[Flaw]:
        """The rows that are damaged or orphaned."""
        ...

    def mend(self, flaws: Sequence[Flaw]) -> int:
        """Remove orphans, and make hidden passages visible to searches; return their number. Damaged vectors must be
        recomputed.
        """
        ...

    def mend_texts(self, chunks: Sequence[Chunk]) -> int:
        """Rewrite differing texts of stored chunks (a chunk's id determines its text); return their number."""
        ...


class IndexStore(IndexReader, IndexWriter, IndexSearch, IndexUpkeep, IndexSources, IndexVersions, IndexProof, Protocol):
    """A whole index, as `open_index` returns it."""

    def close(self) -> None: ...
