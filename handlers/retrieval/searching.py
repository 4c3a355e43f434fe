"""Searches by meaning and by words, each with its own ranking."""

from collections.abc import Mapping, Sequence

import numpy as np

from flows.author import Call, handler
from handlers.options import spread
from handlers.records import Hit
from handlers.retrieval.understanding import Question, read_question
from handlers.stores import Bm25, IndexSearch, TermQuery
from handlers.tags import TagFilter

_EXPANSION_WEIGHT = 0.5


@handler(writes="query_vector")
def embed_query(query: str, question: Question | None = None, *, call: Call) -> np.ndarray:
    """The question's vector: float32, shape (dim,), L2 norm 1."""
    return call.services["embedder"].embed_query(question.text if question and question.text else query)


@handler(writes="vector_hits", needs="index_store")
def vector_search(
    query: str,
    query_vector: np.ndarray | None = None,
    access: Mapping[str, Sequence[str]] | None = None,
    filters: Mapping[str, Sequence[str]] | None = None,
    question: Question | None = None,
    *,
    top_k: int = 50,
    with_text: bool = True,
    call: Call,
) -> list[Hit]:
    """The permitted chunks nearest in meaning to the question, best first.

    Without `query_vector`, the question is embedded here. Without `with_text`, hits have only ids and scores, for
    `hybrid_merge`.

    Raises:
        FatalError: the index was made with another model.
    """
    store: IndexSearch = call.services["index_store"]
    model = call.services["embedder"].name if "embedder" in call.services else None
    if question is None:
        question = read_question(query, access, filters, call=call)
    if query_vector is None:
        query_vector = embed_query(query, question, call=call)
    return store.search_vectors(
        query_vector,
        top_k=top_k,
        model=model,
        where=TagFilter.all_of(access, filters, question.filters),
        words=question.words,
        with_text=with_text,
    )


@handler(writes="keyword_hits", needs="index_store")
@spread
def keyword_search(
    query: str,
    queries: Sequence[str] = (),
    access: Mapping[str, Sequence[str]] | None = None,
    filters: Mapping[str, Sequence[str]] | None = None,
    question: Question | None = None,
    *,
    top_k: int = 50,
    bm25: Bm25,
    with_text: bool = True,
    call: Call,
) -> list[Hit]:
    """The permitted chunks that share words with the question or its rewritings, best BM25 score first.

    Words that only the rewritings have count half. Without `with_text`, hits have only ids and scores, for
    `hybrid_merge`.
    """
    if question is None:
        question = read_question(query, access, filters, call=call)
    store: IndexSearch = call.services["index_store"]
    return store.search_terms(
        term_query(question, queries).weights,
        top_k=top_k,
        bm25=bm25,
        where=TagFilter.all_of(access, filters, question.filters),
        words=question.words,
        with_text=with_text,
    )


def term_query(question: Question, queries: Sequence[str]) -> TermQuery:
    """The terms of a question with their weights; those that only its rewritings have count half."""
    weights = dict(question.weights)
    for rewritten in queries:
        for term in question.terms_of(rewritten):
            weights.setdefault(term, _EXPANSION_WEIGHT)
    return TermQuery(weights)
