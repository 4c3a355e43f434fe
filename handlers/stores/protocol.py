"""Small protocols of an index: it is read, written, searched, kept in order, proven; it has sources and versions.

Annotate with the narrowest that is enough: a step that searches takes an `IndexSearch`. Every
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
    """How the documents of an index are looked up, and the index is measured."""

    def known(self, document_ids: Sequence[str]) -> dict[str, DocumentRow]:
        """The rows of those documents that the table has."""
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
        """A hash of the content: two indexes of any kind with equal hashes answer every query in the same way.

        It covers everything visible and the reasons of failed documents. When, by which run and in which order
        something was stored makes no difference, nor does anything that is only staged.
        """
        ...

    def size_bytes(self) -> int:
        """About how much room the index takes."""
        ...

    def statistics(self) -> dict[str, int]:
        """Counts of what is visible (documents, chunks, chunks with `vectors`, with `token_vectors` and with `terms`,
        entities, relations, artifacts, summaries, tagged_documents) and of documents by status (pending, processed,
        failed)."""
        ...


class IndexWriter(Protocol):
    """How documents get into an index: staged part by part, then published whole.

    The `put_…` methods stage: nothing they write for new chunks is found before `publish` has made the document's new
    version visible, in one transaction that also removes everything that only the old version used. Rows belong to
    chunks, whose ids derive from their content: a chunk that an edit left alone keeps its vector and its terms. Rows
    that are visible, or staged by another run, are never written over: new vectors, terms and facts of such a chunk
    stay invisible until `publish` or `restate` makes the version visible that the same run has staged. Nothing that
    another run has staged becomes visible with it.
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
        """Stage one vector per chunk, with those of its tokens if given, in place of all before; the number stored."""
        ...

    def put_terms(self, chunks: Sequence[Chunk], sparse: Sequence[SparseVector], *, run_id: str = "") -> int:
        """Stage the term counts of chunks, replacing any before; the number of chunks."""
        ...

    def put_graph(
        self, chunks: Sequence[Chunk], entities: Sequence[Entity], relations: Sequence[Relation], *, run_id: str = ""
    ) -> int:
        """Stage all facts of these chunks, replacing those before; the number of mentions and relations."""
        ...

    def publish(self, versions: Mapping[str, str], *, expect: Collection[Facet] = ()) -> int:
        """Make staged versions visible, each at once, and remove the old ones; the number of documents.

        A version that is gone counts, if another run has published the same content meanwhile, made in the same way
        and with the same tags.

        Raises:
            FatalError: a version, or an expected facet of one of its chunks, is not stored (another run may have
                replaced it); or another run has made an expected facet of visible chunks in another way meanwhile. The
                version before stays visible.
        """
        ...

    def put_failures(self, failures: Sequence[FailedDocument], *, run_id: str = "") -> int:
        """Note documents as failed; a version that was searchable before stays so."""
        ...


class IndexSearch(Protocol):
    """How an index is searched: by meaning, by words, and along its graph. Only visible chunks are found."""

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

        Without `with_text`, the hits have only ids and scores, for those that look up the rest of a few later.

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
        the answer is that of an index without the others: neither a score nor an order depends on them.
        """
        ...

    def scores(
        self, chunk_ids: Iterable[str], query: VectorQuery | TermQuery | TokenQuery, *, where: TagFilter | None = None
    ) -> dict[str, float]:
        """The scores that the searches give those of the chunks that they could find with this filter; none for a chunk
        without a vector of the model, or without any of the terms.

        No search finds by tokens: a `TokenQuery` scores those of the chunks that have token vectors of the model, each
        by itself (see `handlers.token_vectors`).

        Raises:
            FatalError: the index has vectors, but none of that model or dimension.
        """
        ...

    def having(
        self, chunk_ids: Iterable[str], terms: Iterable[str], *, where: TagFilter | None = None
    ) -> dict[str, set[str]]:
        """Of each term, those of the chunks that have it and that the searches could find with this filter."""
        ...

    def occurring(self, terms: Iterable[str], *, where: TagFilter | None = None) -> set[str]:
        """Those of the terms that visible chunks have."""
        ...

    def terms_from(self, prefix: str, *, limit: int = 100_000) -> list[str]:
        """The terms with this prefix, in order.

        Documents that a filter excludes may be the only ones that have them: ask `occurring` before anything shows.
        """
        ...

    def containing(self, phrase: str, *, top_k: int = 50, where: TagFilter | None = None) -> list[str]:
        """The ids of visible chunks that have the phrase word for word (see `handlers.text.contains`).

        It reads every text: for phrases that have no terms to be found by.
        """
        ...

    def tag_values(self, name: str, *, where: TagFilter | None = None) -> list[str]:
        """The values that a tag has on visible documents, sorted."""
        ...

    def find_entities(self, names: Iterable[str], *, where: TagFilter | None = None) -> dict[str, str]:
        """Those of the names that visible chunks mention or relate: name as given to the stored spelling."""
        ...

    def neighbours(self, names: Iterable[str], *, limit: int = 1000, where: TagFilter | None = None) -> list[Edge]:
        """The visible relations to or from these entities, heaviest first, then by name.

        With `where`, only the facts of the documents it lets through count, in the weights too.
        """
        ...

    def mentions(self, names: Iterable[str], *, where: TagFilter | None = None) -> list[Mention]:
        """The visible chunks that name these entities, by chunk id and name."""
        ...

    def hits(self, scores: Mapping[str, float], *, found_by: str, where: TagFilter | None = None) -> list[Hit]:
        """The visible ones of these chunks with their scores, best first; ties by chunk id."""
        ...


class IndexUpkeep(Protocol):
    """How an index is kept in order between ingestions: documents that go, move or change without new content."""

    def delete(self, document_ids: Sequence[str]) -> int:
        """Remove documents and every fact that only they support; the number that were there."""
        ...

    def rename(self, renames: Sequence[Rename]) -> int:
        """Move searchable documents to other ids, names and URIs with everything stored of them; the number moved.

        Nothing is computed again; a query sees either the old name or the new one. Anything that was staged under the
        old or the new name is dropped. A document that is not searchable is not moved; one that could not be read
        under its old name counts as processed under the new one.

        Raises:
            FatalError: another document is searchable under the new name.
            ValueError: a chunk has no new id.
        """
        ...

    def restate(self, restatements: Sequence[Restatement]) -> int:
        """Note tags, URI, revision or fingerprint of searchable documents, with everything that a run has staged over
        them; the number that were there. All of it becomes visible at once. A document with a new fingerprint, given
        with a run, is processed.

        Raises:
            FatalError: a new fingerprint, given with a run, is not true, since another run has made a facet of the
                document in another way meanwhile; nothing is noted.
        """
        ...

    def name_documents(self, names: Mapping[str, str]) -> int:
        """Give documents (by id) other names, whatever their status; the number that were there."""
        ...

    def requeue(self, document_ids: Sequence[str]) -> int:
        """Let failed documents be tried again by the next ingestion, as if they were new; how many were failed."""
        ...

    def sweep(
        self, *, alive: Collection[str] = (), dead: Collection[str] = (), older_than_s: float = 86_400.0
    ) -> SweepCounts:
        """Remove everything that runs staged and never published.

        Nothing of a run in `alive` is touched, nor, unless its run is in `dead`, anything staged less than
        `older_than_s` ago: let that be longer than any run takes from staging a batch to publishing it.
        """
        ...


class IndexSources(Protocol):
    """Which sources an index has, what they leave out, and what became of everything that they hold."""

    def sources(self) -> list[SourceRecord]:
        """All sources, by URI and pattern."""
        ...

    def put_source(self, source: SourceRecord, left_out: Iterable[LeftOut] | None = None) -> None:
        """Note a source in place of the one with its URI and pattern.

        With `left_out`, that replaces the objects that the source was known to leave out.
        """
        ...

    def forget_sources(self, sources: Iterable[tuple[str, str]]) -> int:
        """Forget sources (URI and pattern) with what they leave out; the number that were there. Documents stay."""
        ...

    def left_out(
        self, uri: str, pattern: str, *, rule: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[LeftOut]:
        """A page of the objects that a source left out when it was last listed, in the order of the listing."""
        ...


class IndexVersions(Protocol):
    """The versions of an index: the active one, which questions go to, and at most one beside it.

    A version that is begun is at first the active one, without a copy: texts, terms, facts and vectors are shared as
    long as they are the same. A `PinnedIndex` reads and writes it. What is written to the active version lands in both,
    so that nothing is lost meanwhile; what is written to the other one only there. Terms and facts belong to passages,
    and both versions have them as they were last made; vectors belong to a passage and a model.
    """

    def versions(self) -> list[IndexVersion]:
        """The active version, then the other one."""
        ...

    def begin_version(self, model: str, name: str | None = None) -> str:
        """Begin a version with vectors of a model, or go on with the one that is being built; its name.

        It takes the place of one that questions went to before. Without a name, it gets the next number.

        Raises:
            FatalError: another one is being built, or that name is the active one's.
        """
        ...

    def note_way(self, fingerprint: str) -> None:
        """Note a fingerprint that documents have when they are made as this version is to be."""
        ...

    def unfinished(self) -> list[str]:
        """The ids of documents that this version lacks, or that were not made as it is to be; none if it is alone."""
        ...

    def switch_version(self, name: str) -> str:
        """Let questions go to a version from now on, in one short transaction; the name of the one before."""
        ...

    def remove_version(self, name: str) -> None:
        """Remove the version that is not active with all that only it has. Safe to repeat after an interruption."""
        ...


class IndexProof(Protocol):
    """How an index is looked through for damage that its sources need not be read for."""

    def flaws(self) -> list[Flaw]:
        """The rows that cannot be as they were written."""
        ...

    def mend(self, flaws: Sequence[Flaw]) -> int:
        """Remove orphans, and let searches find hidden passages; their number. Vectors have to be made again."""
        ...

    def mend_texts(self, chunks: Sequence[Chunk]) -> int:
        """Write the texts of stored chunks again where they differ; their number. A chunk's id determines its text."""
        ...


class IndexStore(IndexReader, IndexWriter, IndexSearch, IndexUpkeep, IndexSources, IndexVersions, IndexProof, Protocol):
    """A whole index, for those who open one."""

    def close(self) -> None: ...
