"""The matches in a result: stretches of the passage with words of the question or names that the graph led to."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from flows.author import handler
from handlers.records import Hit
from handlers.text import located_terms, terms


@handler(writes="results")
def highlight_matches(
    query: str, results: Sequence[Hit], queries: Sequence[str] = (), query_entities: Sequence[str] = ()
) -> list[Hit]:
    """The results, each with the `highlights` of words that the question, its rewritings or its entities have."""
    wanted = {term for text in (query, *queries, *query_entities) for term in terms(text)}
    return [replace(hit, highlights=highlights(hit.content, wanted)) for hit in results]


def highlights(text: str, wanted: Collection[str]) -> tuple[tuple[int, int], ...]:
    """Start and end of each stretch of `text` with any of the terms, in order; those that overlap or touch are one."""
    found: list[tuple[int, int]] = []
    for term, start, end in located_terms(text):
        if term not in wanted:
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return tuple(found)
