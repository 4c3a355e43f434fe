"""`refuse_unrelated`: "nothing found", if the documents contain nothing about a question."""

from collections.abc import Sequence
from typing import Any

from flows.author import Call, handler
from handlers.records import Hit
from handlers.retrieval.understanding import Question

UNRELATED_BELOW = {"bge-small-en-v1.5": 0.57}
"""A cosine by model; for nine in ten questions on another subject than the documents, every passage is below it."""


@handler(writes=("results", "nothing_found"), effects=())
def refuse_unrelated(
    results: Sequence[Hit], question: Question, *, unrelated_below: float | None = None, call: Call
) -> dict[str, Any]:
    """Return no results if they are unrelated to the question: none of its words occurs, and every cosine is too low.

    `unrelated_below` is the lowest cosine of a related passage; by default, the known value of the model. `braid
    evaluate` prints a value for an index. For an unknown model, all results are kept.
    """
    if unrelated_below is None and "embedder" in call.services:
        unrelated_below = UNRELATED_BELOW.get(call.services["embedder"].name)
    nothing = not results or is_unrelated(results, question, unrelated_below)
    return {"results": [] if nothing else list(results), "nothing_found": nothing}


def is_unrelated(results: Sequence[Hit], question: Question, below: float | None) -> bool:
    """Whether none of the question's words occurs, and every result is known to be far from it in meaning."""
    if question.occurs or below is None:
        return False
    return all("vector" in hit.own_scores and hit.own_scores["vector"] < below for hit in results)
