"""Searches with the help of a language model: with other wordings, or with an invented passage as the query."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from flows.author import Call, handler
from handlers.languages import ENGLISH
from handlers.models import Embedder, ask_model
from handlers.records import Hit
from handlers.retrieval.fusion import reciprocal_rank_fusion
from handlers.retrieval.understanding import Question
from handlers.stores import ANY, IndexSearch
from handlers.tags import TagFilter
from handlers.text import terms

_LIST_MARK = re.compile(r"^\s*(?:[-*•]|\d+[.)])?\s*")


@handler(writes="multi_query_hits", needs="index_store")
def multi_query_search(
    query: str,
    access: Mapping[str, Sequence[str]] | None = None,
    filters: Mapping[str, Sequence[str]] | None = None,
    question: Question | None = None,
    *,
    wordings: int = 3,
    top_k: int = 50,
    with_text: bool = True,
    call: Call,
) -> list[Hit]:
    """The permitted chunks found, by meaning and by words, for other wordings of the question, fused by rank.

    Raises:
        FatalError: no language model is configured.
    Source: RAG-Fusion (Rackauckas, 2024).
    """
    answer = ask_model(
        call,
        f"Write {wordings} other wordings of the search query below, in its language, one on each line and nothing "
        f"else. Use other words that documents about it may use.\n\nQuery: {query}",
        most_tokens=60 * wordings,
    )
    lines = [" ".join(_LIST_MARK.sub("", line).split()) for line in answer.splitlines()]
    others = [line for line in dict.fromkeys(lines) if line and line != query][:wordings]
    where = TagFilter.all_of(access, filters, question.filters if question else None)
    store: IndexSearch = call.services["index_store"]
    embedder: Embedder = call.services["embedder"]
    words, languages = (question.words, question.languages) if question else (ANY, (ENGLISH,))
    rankings: list[list[Hit]] = []
    for other in others:
        vector = embedder.embed_query(other)
        rankings.append(
            store.search_vectors(
                vector, top_k=top_k, model=embedder.name, where=where, words=words, with_text=with_text
            )
        )
        counts = dict.fromkeys((term for language in languages for term in terms(other, language)), 1.0)
        rankings.append(store.search_terms(counts, top_k=top_k, where=where, words=words, with_text=with_text))
    return _found_by("multi_query", reciprocal_rank_fusion(rankings))[:top_k]


@handler(writes="hyde_hits", needs="index_store")
def hyde_search(
    query: str,
    access: Mapping[str, Sequence[str]] | None = None,
    filters: Mapping[str, Sequence[str]] | None = None,
    question: Question | None = None,
    *,
    top_k: int = 50,
    with_text: bool = True,
    call: Call,
) -> list[Hit]:
    """The permitted chunks nearest to a passage that a language model invents as an answer, and to the question.

    The passage itself is never shown; only its vector is used.

    Raises:
        FatalError: no language model is configured, or the index was made with another embedding model.
    Source: Gao et al., Precise Zero-Shot Dense Retrieval without Relevance Labels (HyDE), ACL 2023.
    """
    passage = ask_model(
        call,
        "Write a short passage, as it could stand in a document, that answers the question below. Answer in the "
        f"question's language, with the passage and nothing else.\n\nQuestion: {query}",
        most_tokens=200,
    )
    embedder: Embedder = call.services["embedder"]
    mean = embedder.embed_documents([passage])[0] + embedder.embed_query(query)
    norm = float(np.linalg.norm(mean))
    vector = (mean / norm if norm else mean).astype(np.float32)
    store: IndexSearch = call.services["index_store"]
    where = TagFilter.all_of(access, filters, question.filters if question else None)
    words = question.words if question else ANY
    found = store.search_vectors(
        vector, top_k=top_k, model=embedder.name, where=where, words=words, with_text=with_text
    )
    return _found_by("hyde", found)


def _found_by(retriever: str, hits: Sequence[Hit]) -> list[Hit]:
    return [replace(hit, found_by=retriever, scores={}) for hit in hits]
