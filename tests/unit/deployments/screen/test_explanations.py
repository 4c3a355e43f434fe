"""The explanation of a search: ranks by each way of searching, and how many candidates have token vectors."""

import io

import pytest
from rich.console import Console

from deployments.screen.hits import explanation, found_json, show_explanation
from handlers.records import Hit


@pytest.mark.parametrize(
    ("scores", "ranks", "said"),
    [
        ({"b": 0.9, "c": 0.9, "a": 0.2}, {"a": 3, "b": 1}, ""),
        ({"b": 0.9}, {"a": None, "b": 1}, "1 of 3 candidates have some"),
        ({}, None, ""),
    ],
)
def test_candidates_without_token_vectors_are_counted(
    scores: dict[str, float], ranks: dict[str, int | None] | None, said: str
) -> None:
    hits = [Hit(each, "d", 1.0, each, "vector", scores={"token": 0.9} if each in scores else {}) for each in "ab"]
    explained = explanation({"vector_hits": hits, "token_scores": scores, "candidates": 3}, hits)
    assert explained["candidates"] == 3
    assert explained["found"] == {"vector": 2} | ({"token": len(scores)} if scores else {})
    assert [each.get("token", "") for each in explained["ranks"]] == ["", ""] if ranks is None else list(ranks.values())
    text = io.StringIO()
    show_explanation(Console(file=text, width=200), explained, found_json({"results": hits})["hits"])
    assert (said in text.getvalue()) if said else ("token vectors" not in text.getvalue())
