"""Writes to the index: each store handler stages its part, and `publish_documents` makes a document visible whole.

They may run in any order and side by side; repeated, they change nothing.
"""

from collections.abc import Mapping, Sequence

from flows.author import Call, ItemFailure, handler
from flows.errors import StorageError
from flows.state import chunked
from flows.storage import Storage
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

    The revisions of their `sources` and the fingerprint of this pipeline are stored with them. A resumed run leaves
    out documents whose sources have changed since they were listed: either another run has stored them as they are
    now, or the next one will.
    """
    documents = _unchanged(documents, sources, call)
    stored = _writer(call).put_documents(
        documents,
        chunks,
        summaries=summaries,
        artifacts=artifacts,
        run_id=call.run_id,
        fingerprint=format_facets(wanted_facets(call)),
        revisions={each.document_id: each.revision for each in sources},
    )
    call.report_progress(len(stored), len(documents))
    return stored


@handler(writes="stored_vectors", effects="index.vectors", stages=True)
def store_dense_vectors(chunks: Sequence[Chunk], embeddings: Embeddings, *, call: Call) -> int:
    """Stage one vector per chunk; the number stored."""
    return _writer(call).put_vectors(chunks, embeddings, run_id=call.run_id)


@handler(writes="stored_terms", effects="index.terms", stages=True)
def store_sparse_vectors(chunks: Sequence[Chunk], sparse: Sequence[SparseVector], *, call: Call) -> int:
    """Stage the term counts of chunks; the number of chunks."""
    return _writer(call).put_terms(chunks, sparse, run_id=call.run_id)


@handler(writes="stored_facts", effects="index.graph", stages=True)
def store_graph(
    chunks: Sequence[Chunk], entities: Sequence[Entity], relations: Sequence[Relation] = (), *, call: Call
) -> int:
    """Stage the facts of chunks: their entities and relations; the number of mentions and relations."""
    return _writer(call).put_graph(chunks, entities, relations, run_id=call.run_id)


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
    """Make staged documents visible, each in one transaction that removes its old version; the number of documents.

    Every chunk must have a vector if `stored_vectors` is in the context, its terms if `stored_terms` is, and its facts
    if `stored_facts` is.

    Raises:
        FatalError: a chunk lacks one; the old version stays visible.
    """
    expected: dict[Facet, int | None] = {"vectors": stored_vectors, "terms": stored_terms, "facts": stored_facts}
    expect: list[Facet] = [facet for facet, stored in expected.items() if stored is not None]
    published = _writer(call).publish(stored_documents, expect=expect)
    call.done_items(each.name for each in sources if each.document_id in stored_documents)
    call.logger.info("index %s: published %d documents", call.index, published)
    return published


@handler(writes="recorded_failures", effects="index.failures")
def record_failures(failures: Sequence[ItemFailure], sources: Sequence[SourceFile] = (), *, call: Call) -> int:
    """Note quarantined documents with their reasons in the document table; the number noted.

    The item of a failure is the name, URI or document id of its source.
    """
    known = {key: source for source in sources for key in (source.document_id, source.uri, source.name)}
    noted = [_failed_document(failure, known.get(failure.item), call) for failure in failures]
    return _writer(call).put_failures(noted, run_id=call.run_id)


@handler(writes="removed_documents", effects=("index.documents", "index.vectors", "index.terms", "index.graph"))
def remove_documents(vanished: Sequence[str], *, call: Call) -> int:
    """Remove documents by id, with their pictures and the facts that only they support; the number that were there."""
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
    """The documents that a run may still store: all, unless it resumes an earlier run and its listing."""
    if not call.identity.resumes:
        return list(documents)
    known = {each.document_id: each for each in sources}
    kept = [each for each in documents if each.id not in known or _is_as_listed(known[each.id], call)]
    if len(kept) < len(documents):
        call.logger.warning(
            "index %s: %d documents have changed since they were listed; the next ingestion takes them",
            call.index,
            len(documents) - len(kept),
        )
        stored = {each.id for each in kept}
        call.done_items((each.name for each in documents if each.id not in stored), POSTPONED)
    return kept


def _is_as_listed(source: SourceFile, call: Call) -> bool:
    storage: Storage = call.services["storage"]
    try:
        now = next(iter(storage.list(source.uri)), None)
    except StorageError:
        return False
    return now is not None and (now.size, now.etag, now.modified) == (source.size, source.etag, source.modified)


def _failed_document(failure: ItemFailure, source: SourceFile | None, call: Call) -> FailedDocument:
    if source is None:
        return FailedDocument(stable_id("doc", failure.item), failure.item, "", failure.error)
    return FailedDocument(source.document_id, source.name, source.uri, failure.error, attempt_key(source, call))


def _writer(call: Call) -> IndexWriter:
    return call.services["index_store"]
