"""Chunks to vectors: dense ones that carry meaning, sparse ones that carry words."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from flows.author import Call, handler
from flows.state import chunked
from handlers.ingestion.facets import chunks_to_make
from handlers.models import Embedder, count_tokens
from handlers.records import Chunk, Embeddings, SparseVector
from handlers.text import terms

AT_A_TIME = 16


@handler(writes="embeddings")
def generate_dense_embeddings(chunks: Sequence[Chunk], redo: Sequence[str] = (), *, call: Call) -> Embeddings:
    """A vector for each chunk that the index has none of, made of its headings and its text.

    Visible vectors that the same model made in the same way are not computed again, unless `redo` names `vectors`.
    """
    chunks = chunks_to_make(chunks, "vectors", redo, call)
    embedder: Embedder = call.services["embedder"]
    parts: list[np.ndarray] = []
    done = 0
    for group in chunked(map(embedded_text, chunks), AT_A_TIME):
        call.check_cancelled()
        parts.append(embedder.embed_documents(group))
        call.report_cost(chunks=len(group), tokens=sum(map(count_tokens, group)))
        done += len(group)
        call.report_progress(done, len(chunks))
    vectors = np.concatenate(parts) if parts else np.zeros((0, embedder.dim), dtype=np.float32)
    return Embeddings(tuple(chunk.id for chunk in chunks), vectors, embedder.name)


def embedded_text(chunk: Chunk) -> str:
    """The headings and the text of a chunk."""
    return f"{chunk.heading}\n{chunk.text}" if chunk.heading else chunk.text


@handler(writes="sparse", version="2")
def generate_sparse_embeddings(
    chunks: Sequence[Chunk], redo: Sequence[str] = (), *, call: Call
) -> tuple[SparseVector, ...]:
    """Term counts for each chunk that the index has none of, its headings included; BM25 is computed from them later.

    If `redo` names `terms`, all of them are counted again.
    """
    chunks = chunks_to_make(chunks, "terms", redo, call)
    found: list[SparseVector] = []
    for done, chunk in enumerate(chunks, start=1):
        words = terms(embedded_text(chunk))
        found.append(SparseVector(chunk.id, tuple(sorted(Counter(words).items())), len(words)))
        if done % 100 == 0 or done == len(chunks):
            call.check_cancelled()
            call.report_progress(done, len(chunks))
    return tuple(found)
