"""Runs the same questions with each way of searching, and measures rankings and times."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flows.author import Call
from handlers.records import Hit
from handlers.retrieval.fusion import reciprocal_rank_fusion
from handlers.retrieval.graph import graph_search
from handlers.retrieval.merging import hybrid_merge, rerank
from handlers.retrieval.rewriting import extract_entities_from_query, query_rewrite
from handlers.retrieval.searching import embed_query, keyword_search, vector_search
from handlers.retrieval.understanding import Question, read_question

MOST = 100
RRF, DEFAULT = "reciprocal ranks", "fused"


@dataclass(frozen=True)
class SearchRun:
    """The hits of every question, best first, and the seconds each took."""

    hits: Mapping[str, Sequence[Hit]]
    seconds: Mapping[str, float]

    @property
    def median_ms(self) -> float:
        return statistics.median(self.seconds.values()) * 1e3

    @property
    def answered(self) -> int:
        """The number of questions with any hit."""
        return sum(bool(found) for found in self.hits.values())

    def lowest_relevant(self, name: Callable[[Hit], str], judged: Mapping[str, Mapping[str, float]]) -> float | None:
        """The cosine that the best relevant passage reaches in 99 of 100 questions; None without relevant passages.

        Below it, a passage that shares no word with its question is hardly an answer.
        """
        best: list[float] = []
        for question, found in self.hits.items():
            gains = judged.get(question, {})
            relevant = [hit.own_scores.get("vector") for hit in found if gains.get(name(hit), 0) > 0]
            best += [max(known)] if (known := [cosine for cosine in relevant if cosine is not None]) else []
        return float(np.quantile(best, 0.01)) if best else None

    def documents(self, name: Callable[[Hit], str]) -> dict[str, list[str]]:
        """For each question the documents of its hits, each at the rank of its best hit."""
        return {question: list(dict.fromkeys(map(name, found))) for question, found in self.hits.items()}


def ways_of_searching(call: Call, *, reranked: bool = False) -> dict[str, Callable[[str], list[Hit]]]:
    """Each retriever alone, fused by reciprocal ranks, and fused as in the pipeline `search`."""

    def by_vector(query: str, question: Question | None = None) -> list[Hit]:
        question = question or read_question(query, call=call)
        return vector_search(query, embed_query(query, question, call=call), question=question, top_k=MOST, call=call)

    def by_words(query: str, question: Question | None = None) -> list[Hit]:
        question = question or read_question(query, call=call)
        queries = query_rewrite(query, question=question, call=call)
        return keyword_search(query, queries, question=question, top_k=MOST, call=call)

    def by_ranks(query: str) -> list[Hit]:
        question = read_question(query, call=call)
        return reciprocal_rank_fusion([by_vector(query, question), by_words(query, question)])[:MOST]

    def by_graph(query: str) -> list[Hit]:
        names = extract_entities_from_query(query, query_rewrite(query, call=call), call=call)
        return graph_search(query, names, top_k=MOST, call=call)

    def fused(query: str, **options: Any) -> list[Hit]:
        question = read_question(query, call=call)
        queries, vector = query_rewrite(query, question=question, call=call), embed_query(query, question, call=call)
        return hybrid_merge(
            query,
            question,
            queries,
            vector,
            vector_search(query, vector, question=question, top_k=MOST, with_text=False, call=call),
            keyword_search(query, queries, question=question, top_k=MOST, with_text=False, call=call),
            limit=MOST,
            call=call,
            **options,
        )["results"]

    ways: dict[str, Callable[[str], list[Hit]]] = {
        "keyword": by_words,
        "vector": by_vector,
        "graph": by_graph,
        RRF: by_ranks,
        DEFAULT: fused,
    }
    if reranked:
        ways[f"{DEFAULT}, reranked"] = lambda query: rerank(query, fused(query), enabled=True, call=call)
    return ways


def run_questions(search: Callable[[str], list[Hit]], questions: Mapping[str, str]) -> SearchRun:
    """Ask all questions one after another; the first one is asked once more beforehand, to load models and vectors."""
    hits: dict[str, Sequence[Hit]] = {}
    seconds: dict[str, float] = {}
    for text in list(questions.values())[:1]:
        search(text)
    for name, text in questions.items():
        began = time.perf_counter()
        hits[name] = search(text)
        seconds[name] = time.perf_counter() - began
    return SearchRun(hits, seconds)
