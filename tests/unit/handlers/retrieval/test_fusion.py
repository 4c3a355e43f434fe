"""Fusion: what it scores, and what it must not depend on."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.records import Hit
from handlers.retrieval.fusion import reciprocal_rank_fusion, weighted_fusion
from handlers.retrieval.merging import hybrid_merge


def ranking(found_by: str, ids: str, scores: list[float] | None = None) -> list[Hit]:
    given_scores = scores or [float(len(ids) - place) for place in range(len(ids))]
    return [Hit(each, f"doc-{each}", score, each, found_by) for each, score in zip(ids, given_scores, strict=True)]


def ids(hits: list[Hit]) -> str:
    return "".join(hit.id for hit in hits)


def test_scores_are_sums_of_reciprocal_ranks() -> None:
    fused = reciprocal_rank_fusion([ranking("vector", "abc"), ranking("keyword", "ca")])
    assert ids(fused) == "acb"
    assert [hit.score for hit in fused] == pytest.approx([1 / 61 + 1 / 62, 1 / 63 + 1 / 61, 1 / 62])


def test_every_retrievers_own_score_and_name_is_kept() -> None:
    fused = reciprocal_rank_fusion([ranking("vector", "ab", [0.9, 0.2]), ranking("keyword", "b", [7.5])])
    assert {hit.id: (hit.found_by, dict(hit.scores)) for hit in fused} == {
        "a": ("vector", {"vector": 0.9}),
        "b": ("vector+keyword", {"vector": 0.2, "keyword": 7.5}),
    }
    again = reciprocal_rank_fusion([fused, ranking("graph", "a", [3.0])])
    assert {hit.id: dict(hit.scores) for hit in again}["a"] == {"vector": 0.9, "graph": 3.0}
    assert {hit.id: dict(hit.scores) for hit in again}["b"] == {"vector": 0.2, "keyword": 7.5}


def test_ties_keep_the_order_of_the_rankings() -> None:
    assert ids(reciprocal_rank_fusion([ranking("vector", "ab"), ranking("keyword", "cd")])) == "acbd"
    assert ids(reciprocal_rank_fusion([ranking("keyword", "cd"), ranking("vector", "ab")])) == "cadb"


def test_a_hit_counts_once_a_ranking() -> None:
    [a, _] = reciprocal_rank_fusion([ranking("vector", "aab")])
    assert a.score == pytest.approx(1 / 61)


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match="k must be 1 or more"):
        reciprocal_rank_fusion([], k=k)


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0]])
def test_weights_must_fit(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="2 rankings need as many weights"):
        weighted_fusion([[], []], weights=weights)


rankings = st.lists(st.permutations("abcdef").map(lambda each: "".join(each[:4])), min_size=1, max_size=4)


@given(rankings)
def test_scores_do_not_depend_on_the_order_of_rankings(orders: list[str]) -> None:
    made = [ranking(f"s{place}", order) for place, order in enumerate(orders)]
    expected = {hit.id: hit.score for hit in reciprocal_rank_fusion(made)}
    for permuted in permutations(made):
        fused = reciprocal_rank_fusion(permuted)
        assert {hit.id: hit.score for hit in fused} == expected
        assert [hit.score for hit in fused] == sorted(expected.values(), reverse=True)


@given(rankings)
def test_what_leads_in_every_ranking_leads(orders: list[str]) -> None:
    made = [ranking(f"s{place}", "z" + order) for place, order in enumerate(orders)]
    assert reciprocal_rank_fusion(made)[0].id == "z"
    assert weighted_fusion(made)[0].id == "z"


def test_weighted_fusion_scales_each_ranking_first() -> None:
    fused = weighted_fusion(
        [ranking("vector", "ab", [0.9, 0.5]), ranking("keyword", "bcd", [40.0, 30.0, 20.0])], weights=[1.0, 0.5]
    )
    assert [(hit.id, hit.score) for hit in fused] == [("a", 1.0), ("b", 0.5), ("c", 0.25), ("d", 0.0)]


def test_what_only_the_graph_found_stays_below_the_first_sixty_of_another_retriever() -> None:
    many = [Hit(f"v{place:02}", "d", 1.0 - place / 100, "", "vector") for place in range(60)]
    graph = [Hit(f"g{place}", "d", 9.0, "", "graph") for place in range(3)]
    merged = hybrid_merge(many, (), graph, limit=100)
    assert [hit.id[0] for hit in merged] == ["v"] * 60 + ["g"] * 3


def test_merging_needs_no_particular_retriever() -> None:
    assert hybrid_merge() == []
    assert ids(hybrid_merge(keyword_hits=ranking("keyword", "ab"))) == "ab"
    assert ids(hybrid_merge(ranking("vector", "abc"), method="weighted", limit=2)) == "ab"
    assert ids(hybrid_merge(ranking("vector", "a"), ranking("keyword", "b"), weights={"vector": 0.0})) == "ba"
    with pytest.raises(
        ValueError, match="no retriever named 'vectors'; there are vector, keyword, graph, multi_query, hyde"
    ):
        hybrid_merge(weights={"vectors": 1.0})
