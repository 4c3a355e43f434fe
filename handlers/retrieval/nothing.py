"""`refuse_unrelated`: "nothing found", if the documents contain nothing about a question."""

from collections.abc import Sequence
from typing import Any

from flows.author import Call, handler
from handlers.records import Hit
from handlers.retrieval.understanding import Question

UNRELATED_BELOW = {"bge-small-en-v1.5": 0.57}
"""By model: of questions to documents of another subject, nine in ten have no passage with so high a cosine."""


@handler(writes=("results", "nothing_found"), effects=())
def refuse_unrelated(
    results: Sequence[Hit], question: Question, *, unrelated_below: float | None = None, call: Call
) -> dict[str, Any]:
    """No results if they have nothing to do with the question: no word of it occurs, and no cosine is high enough.

    `unrelated_below` is the lowest cosine that is; without it, the one that is known of the model. `braid evaluate`
    prints one for an index. Of another model, everything near is shown.
    """
    if unrelated_below is None and "embedder" in call.services:
        unrelated_below = UNRELATED_BELOW.get(call.services["embedder"].name)
    nothing = not results or is_unrelated(results, question, unrelated_below)
    return {"results": [] if nothing else list(results), "nothing_found": nothing}


def is_unrelated(results: Sequence[Hit], question: Question, below: float | None) -> bool:
    """Whether no word of the question occurs and every result is known to be far from it in meaning."""
    if question.occurs or below is None:
        return False
    return all("vector" in hit.own_scores and hit.own_scores["vector"] < below for hit in results)
