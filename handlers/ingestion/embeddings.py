"""Chunks to vectors: dense ones that carry meaning, sparse ones that carry words."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from flows.author import Call, handler
from flows.errors import FatalError
from flows.state import chunked
from handlers.aside import DocumentRefused, by_document, names_of, one_by_one, remaining_chunks, together
from handlers.ingestion.facets import chunks_to_make
from handlers.models import Embedder, count_tokens
from handlers.records import Chunk, Embeddings, SourceFile, SparseVector
from handlers.text import terms

AT_A_TIME = 16
_HARMLESS = "One plain sentence."


@handler(writes="embeddings")
def generate_dense_embeddings(
    chunks: Sequence[Chunk], redo: Sequence[str] = (), sources: Sequence[SourceFile] = (), *, call: Call
) -> Embeddings:
    """A vector for each chunk that the index has none of, made of its headings and its text.

    Visible vectors that the same model made in the same way are not computed again, unless `redo` names `vectors`. A
    document that the model refuses is set aside.
    """
    chunks = chunks_to_make(remaining_chunks(chunks, sources, call), "vectors", redo, call)
    embedder: Embedder = call.services["embedder"]
    documents = by_document(chunks)

    def embed(document_ids: Sequence[str]) -> tuple[list[str], np.ndarray]:
        some = [chunk for document_id in document_ids for chunk in documents[document_id]]
        try:
            return [chunk.id for chunk in some], _embedded(some, embedder, call)
        except FatalError as error:
            embedder.embed_documents([_HARMLESS])
            # The model works: it is these documents that it refuses.
            raise DocumentRefused(str(error)) from error

    done = together(embed, list(documents), names_of(sources), call, doing="embedding it")
    chunk_ids = tuple(chunk_id for some, _ in done for chunk_id in some)
    return Embeddings(chunk_ids, _joined([vectors for _, vectors in done], embedder), embedder.name)


def _embedded(chunks: Sequence[Chunk], embedder: Embedder, call: Call) -> np.ndarray:
    parts: list[np.ndarray] = []
    done = 0
    for group in chunked(map(embedded_text, chunks), AT_A_TIME):
        call.check_cancelled()
        parts.append(embedder.embed_documents(group))
        call.report_cost(chunks=len(group), tokens=sum(map(count_tokens, group)))
        done += len(group)
        call.report_progress(done, len(chunks))
    return _joined(parts, embedder)


def _joined(parts: Sequence[np.ndarray], embedder: Embedder) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros((0, embedder.dim), dtype=np.float32)


def embedded_text(chunk: Chunk) -> str:
    """The headings and the text of a chunk."""
    return f"{chunk.heading}\n{chunk.text}" if chunk.heading else chunk.text


@handler(writes="sparse", version="2")
def generate_sparse_embeddings(
    chunks: Sequence[Chunk], redo: Sequence[str] = (), sources: Sequence[SourceFile] = (), *, call: Call
) -> tuple[SparseVector, ...]:
    """Term counts for each chunk that the index has none of, its headings included; BM25 is computed from them later.

    If `redo` names `terms`, all of them are counted again.
    """
    documents = by_document(chunks_to_make(remaining_chunks(chunks, sources, call), "terms", redo, call))

    def count(document_id: str) -> list[SparseVector]:
        return [_terms_of(chunk) for chunk in documents[document_id]]

    done = one_by_one(count, list(documents), names_of(sources), call, doing="counting its terms")
    return tuple(vector for vectors in done for vector in vectors)


def _terms_of(chunk: Chunk) -> SparseVector:
    words = terms(embedded_text(chunk))
    return SparseVector(chunk.id, tuple(sorted(Counter(words).items())), len(words))
