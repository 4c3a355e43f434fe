"""Writes to the index: each store handler stages its part, and `publish_documents` makes a document visible whole.

They may run in any order or in parallel; repeating one changes nothing.
"""

from collections.abc import Callable, Mapping, Sequence

from flows.author import Call, ItemFailure, handler
from flows.state import chunked
from flows.storage import Storage
from handlers.aside import by_document, ids_aside, names_of, remaining, remaining_chunks, together
from handlers.ingestion.comparison import attempt_key
from handlers.ingestion.facets import wanted_facets
from handlers.ingestion.settling import POSTPONED
from handlers.records import (
    Artifact,
    Chunk,
    Document,
    Embeddings,
    Entity,
    Relation,
    SourceFile,
    SparseVector,
    stable_id,
)
from handlers.sources import is_as_listed
from handlers.stores import Facet, FailedDocument, IndexStore, IndexWriter, format_facets


@handler(writes="stored_documents", effects="index.documents", stages=True)
def store_documents(
    documents: Sequence[Document],
    chunks: Sequence[Chunk],
    summaries: Mapping[str, str] | None = None,
    artifacts: Sequence[Artifact] = (),
    sources: Sequence[SourceFile] = (),
    *,
    call: Call,
) -> dict[str, str]:
    """Stage documents with chunks, summaries (by document id) and artifacts; the staged version by document id.

    The revisions of their `sources` and the fingerprint of this pipeline are stored with them. A resumed run leaves out
    documents whose sources have changed since the listing; another run has stored their new content, or the next run
    will.
    """
    known = {each.id: each for each in remaining(_unchanged(documents, sources, call), call)}
    passages, found = by_document(chunks), by_document(artifacts)

    def store(document_ids: Sequence[str]) -> dict[str, str]:
        return _writer(call).put_documents(
            [known[each] for each in document_ids],
            [chunk for each in document_ids for chunk in passages.get(each, ())],
            summaries=summaries,
            artifacts=[artifact for each in document_ids for artifact in found.get(each, ())],
            run_id=call.run_id,
            fingerprint=format_facets(wanted_facets(call)),
            revisions={each.document_id: each.revision for each in sources},
        )

    done = together(store, list(known), lambda each: known[each].name, call, doing="storing it")
    return {document_id: version for stored in done for document_id, version in stored.items()}


@handler(writes="stored_vectors", effects="index.vectors", stages=True)
def store_dense_vectors(
    chunks: Sequence[Chunk], embeddings: Embeddings, sources: Sequence[SourceFile] = (), *, call: Call
) -> int:
    """Stage one vector per chunk, with the vectors of its tokens if there are any; return the number stored."""
    rows = {chunk_id: row for row, chunk_id in enumerate(embeddings.chunk_ids)}

    def store(some: Sequence[Chunk]) -> int:
        made = [chunk.id for chunk in some if chunk.id in rows]
        return _writer(call).put_vectors(some, embeddings.at([rows[each] for each in made]), run_id=call.run_id)

    return _store_chunks(store, chunks, sources, call, doing="storing its vectors")


@handler(writes="stored_terms", effects="index.terms", stages=True)
def store_sparse_vectors(
    chunks: Sequence[Chunk], sparse: Sequence[SparseVector], sources: Sequence[SourceFile] = (), *, call: Call
) -> int:
    """Stage the term counts of chunks; return the number of chunks."""

    def store(some: Sequence[Chunk]) -> int:
        ids = {chunk.id for chunk in some}
        return _writer(call).put_terms(some, [each for each in sparse if each.chunk_id in ids], run_id=call.run_id)

    return _store_chunks(store, chunks, sources, call, doing="storing its terms")


@handler(writes="stored_facts", effects="index.graph", stages=True)
def store_graph(
    chunks: Sequence[Chunk],
    entities: Sequence[Entity],
    relations: Sequence[Relation] = (),
    sources: Sequence[SourceFile] = (),
    *,
    call: Call,
) -> int:
    """Stage the entities and relations of chunks; return the number of mentions and relations."""

    def store(some: Sequence[Chunk]) -> int:
        ids = {chunk.id for chunk in some}
        return _writer(call).put_graph(
            some,
            [each for each in entities if each.chunk_id in ids],
            [each for each in relations if each.chunk_id in ids],
            run_id=call.run_id,
        )

    return _store_chunks(store, chunks, sources, call, doing="storing its facts")


@handler(
    writes="published_documents",
    effects=("index.documents", "index.vectors", "index.terms", "index.graph"),
    publishes=True,
)
def publish_documents(
    stored_documents: Mapping[str, str],
    stored_vectors: int | None = None,
    stored_terms: int | None = None,
    stored_facts: int | None = None,
    sources: Sequence[SourceFile] = (),
    *,
    call: Call,
) -> int:
    """Make staged documents visible, each in one transaction that removes its old version; return their number.

    Every chunk must have a vector if `stored_vectors` is in the context, its terms if `stored_terms` is, and its facts
    if `stored_facts` is. A document that lacks one, or that an earlier step has set aside, keeps its old version.

    Raises:
        FatalError: no document can be published.
    """
    expected: dict[Facet, int | None] = {"vectors": stored_vectors, "terms": stored_terms, "facts": stored_facts}
    expect: list[Facet] = [facet for facet, stored in expected.items() if stored is not None]
    gone = ids_aside(sources, call)
    left = [each for each in stored_documents if each not in gone]

    def publish(document_ids: Sequence[str]) -> list[str]:
        _writer(call).publish({each: stored_documents[each] for each in document_ids}, expect=expect)
        return list(document_ids)

    done = together(publish, left, names_of(sources), call, doing="publishing it")
    published = {each for some in done for each in some}
    call.done_items(each.name for each in sources if each.document_id in published)
    call.logger.info("index %s: published %d documents", call.index, len(published))
    return len(published)


@handler(writes="recorded_failures", effects="index.failures")
def record_failures(failures: Sequence[ItemFailure] = (), sources: Sequence[SourceFile] = (), *, call: Call) -> int:
    """Record the set-aside documents of earlier steps, with their reasons, in the document table; return their number.

    `failures` are recorded as well. The item of a failure is the name, URI or document id of its source.
    """
    known = {key: source for source in sources for key in (source.document_id, source.uri, source.name)}
    all_failures = {failure.item: failure for failure in (*call.aside.values(), *failures)}.values()
    noted = [_failed_document(failure, known.get(failure.item), call) for failure in all_failures]
    return _writer(call).put_failures(noted, run_id=call.run_id)


@handler(writes="removed_documents", effects=("index.documents", "index.vectors", "index.terms", "index.graph"))
def remove_documents(vanished: Sequence[str], *, call: Call) -> int:
    """Remove documents by id, with their pictures and the facts that only they support; return the number removed."""
    store: IndexStore = call.services["index_store"]
    removed = 0
    for some in chunked(vanished):
        names = [row.name for row in store.known(some).values()]
        removed += store.delete(some)
        call.done_items(names, "removed")
        if "artifacts_url" in call.services:
            storage: Storage = call.services["storage"]
            for document_id in some:
                storage.delete(storage.join(call.services["artifacts_url"], call.index, document_id), recursive=True)
    return removed


def _unchanged(documents: Sequence[Document], sources: Sequence[SourceFile], call: Call) -> list[Document]:
    """The documents that a run may still store: all, unless the run resumes an earlier one and its listing."""
    if not call.identity.resumes:
        return list(documents)
    known = {each.document_id: each for each in sources}
    kept = [each for each in documents if each.id not in known or is_as_listed(known[each.id], call)]
    if len(kept) < len(documents):
        call.logger.warning(
            "index %s: %d documents have changed since they were listed; the next ingestion processes them",
            call.index,
            len(documents) - len(kept),
        )
        stored = {each.id for each in kept}
        call.done_items((each.name for each in documents if each.id not in stored), POSTPONED)
    return kept


def _failed_document(failure: ItemFailure, source: SourceFile | None, call: Call) -> FailedDocument:
    if source is None:
        return FailedDocument(stable_id("doc", failure.item), failure.item, "", failure.error)
    tried = "" if failure.transient else attempt_key(source, call)
    return FailedDocument(source.document_id, source.name, source.uri, failure.error, tried)


def _store_chunks(
    store: Callable[[Sequence[Chunk]], int],
    chunks: Sequence[Chunk],
    sources: Sequence[SourceFile],
    call: Call,
    *,
    doing: str,
) -> int:
    """The sum of what `store` returns for the chunks of all documents that are not set aside."""
    documents = by_document(remaining_chunks(chunks, sources, call))

    def store_documents(document_ids: Sequence[str]) -> int:
        return store([chunk for each in document_ids for chunk in documents[each]])

    return sum(together(store_documents, list(documents), names_of(sources), call, doing=doing))


def _writer(call: Call) -> IndexWriter:
    return call.services["index_store"]
