"""The matches in a result: ranges of the passage with words of the question or names found through the graph."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from flows.author import handler
from handlers.languages import ENGLISH
from handlers.records import Hit
from handlers.retrieval.understanding import Question
from handlers.text import compounds, located_terms, terms


@handler(writes="results")
def highlight_matches(
    query: str,
    results: Sequence[Hit],
    queries: Sequence[str] = (),
    query_entities: Sequence[str] = (),
    question: Question | None = None,
) -> list[Hit]:
    """The results, each with the `highlights` of words that the question, its rewritings or its entities have, and
    its `relevance`."""
    question = question or Question(query, dict.fromkeys((*terms(query), *compounds(query)), 1.0))
    wanted = {*question.weights, *(term for text in (*queries, *query_entities) for term in question.terms_of(text))}
    return [
        replace(
            hit,
            highlights=highlights(hit.content, wanted, question.languages),
            relevance=relevance(hit, question),
        )
        for hit in results
    ]


def relevance(hit: Hit, question: Question) -> float | None:
    """The mean of the cosine and of the share of the question's words that the passage has; None without a cosine.

    It depends on nothing else, so values of different questions are comparable.
    """
    cosine = hit.own_scores.get("vector")
    if cosine is None:
        return None
    cosine = max(cosine, 0.0)
    if not question.groups:
        return cosine
    having = {term for term, _, _ in located_terms(hit.content, question.languages)}
    share = sum(not having.isdisjoint(group) for group in question.groups) / len(question.groups)
    return (cosine + share) / 2


def highlights(
    text: str, wanted: Collection[str], languages: Collection[str] = (ENGLISH,)
) -> tuple[tuple[int, int], ...]:
    """Start and end of each range of `text` with any of the terms, in order; overlapping ranges are joined."""
    found: list[tuple[int, int]] = []
    for term, start, end in located_terms(text, languages):
        if term not in wanted:
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return tuple(found)
