"""One ranking each by meaning and by words."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from flows.author import Call, handler
from handlers.options import spread
from handlers.records import Hit
from handlers.stores import Bm25, IndexSearch
from handlers.tags import TagFilter
from handlers.text import terms


@handler(writes="query_vector")
def embed_query(query: str, *, call: Call) -> np.ndarray:
    """The question's vector: float32, shape (dim,), L2 norm 1."""
    return call.services["embedder"].embed_query(query)


@handler(writes="vector_hits", needs="index_store")
def vector_search(
    query: str,
    query_vector: np.ndarray | None = None,
    access: Mapping[str, Sequence[str]] | None = None,
    filters: Mapping[str, Sequence[str]] | None = None,
    *,
    top_k: int = 50,
    call: Call,
) -> list[Hit]:
    """The permitted chunks nearest in meaning to the question, best first.

    Without `query_vector`, the question is embedded here.

    Raises:
        FatalError: the index was made with another model.
    """
    store: IndexSearch = call.services["index_store"]
    model = call.services["embedder"].name if "embedder" in call.services else None
    if query_vector is None:
        query_vector = embed_query(query, call=call)
    return store.search_vectors(query_vector, top_k=top_k, model=model, where=TagFilter.all_of(access, filters))


@handler(writes="keyword_hits", needs="index_store")
@spread
def keyword_search(
    query: str,
    queries: Sequence[str] = (),
    access: Mapping[str, Sequence[str]] | None = None,
    filters: Mapping[str, Sequence[str]] | None = None,
    *,
    top_k: int = 50,
    bm25: Bm25,
    expansion_weight: float = 0.5,
    call: Call,
) -> list[Hit]:
    """The permitted chunks that share words with the question or its rewritings, best BM25 score first.

    Words that only the rewritings have count `expansion_weight`.
    """
    counts: dict[str, float] = dict(Counter(terms(query)))
    for rewritten in queries:
        for term in terms(rewritten):
            counts.setdefault(term, expansion_weight)
    store: IndexSearch = call.services["index_store"]
    return store.search_terms(counts, top_k=top_k, bm25=bm25, where=TagFilter.all_of(access, filters))
