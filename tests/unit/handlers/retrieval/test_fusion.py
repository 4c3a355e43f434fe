"""Fusion: its scores, and their invariances."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.records import Hit
from handlers.retrieval.fusion import Voice, reciprocal_rank_fusion, shared_ranks, weighted_fusion


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
        reciprocal_rank_fusion([[], []], weights=weights)
    with pytest.raises(ValueError, match="weights must be 0 or more"):
        weighted_fusion("a", [Voice("vector", {}, -1.0)])


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


def test_equal_scores_share_a_rank() -> None:
    assert shared_ranks([3.0, 2.0, 2.0, 1.0]) == [1, 2, 2, 4]
    fused = reciprocal_rank_fusion([ranking("keyword", "abc", [2.0, 2.0, 1.0])])
    assert [hit.score for hit in fused] == pytest.approx([1 / 61, 1 / 61, 1 / 63])


def test_weighted_fusion_is_the_mean_of_scores_scaled_over_the_candidates() -> None:
    vector = Voice("vector", {"a": 0.9, "b": 0.5, "c": 0.7, "d": 0.5})
    keyword = Voice("keyword", {"a": 0.0, "b": 40.0, "c": 20.0, "d": 0.0}, 0.5)
    assert weighted_fusion("abcd", [vector, keyword]) == pytest.approx({"a": 2 / 3, "c": 0.5, "b": 1 / 3, "d": 0.0})
    assert list(weighted_fusion("ab", [Voice("vector", {"b": 1.0})])) == ["b", "a"]
    assert weighted_fusion("ab", []) == {"a": 0.0, "b": 0.0}


def test_passages_that_a_partial_ranking_lacks_are_scored_by_the_others() -> None:
    vector = Voice("vector", {"a": 1.0, "b": 0.5, "c": 0.0})
    token = Voice("token", {"a": 0.9, "c": 0.1}, partial=True)
    # b gains .5 from the vectors; a and c gain as much from their tokens as from their vectors.
    assert weighted_fusion("abc", [vector, token]) == pytest.approx({"a": 1.0, "b": 0.5, "c": 0.0})
    token = Voice("token", {"b": 0.9, "c": 0.1}, partial=True)
    # b and c gain .25 more from their tokens than from their vectors, and so would a, but for the limit.
    assert weighted_fusion("abc", [vector, token]) == pytest.approx({"a": 1.0, "b": 0.75, "c": 0.0})
    assert weighted_fusion("abc", [vector, Voice("token", {"z": 1.0}, partial=True)]) == weighted_fusion(
        "abc", [vector]
    )
    assert weighted_fusion("ab", [Voice("token", {"b": 1.0}, partial=True)]) == {"a": 1.0, "b": 1.0}


scored = st.dictionaries(st.sampled_from("abcdef"), st.floats(-5, 5), min_size=1)


@given(st.lists(scored, min_size=1, max_size=3))
def test_weighted_fusion_depends_on_scores_alone(voices: list[dict[str, float]]) -> None:
    made = [Voice(str(place), scores) for place, scores in enumerate(voices)]
    fused = weighted_fusion("abcdef", made)
    assert all(0 <= score <= 1 for score in fused.values())
    assert fused == weighted_fusion("fedcba", made[::-1])
    for better in "abcdef":
        for worse in "abcdef":
            if all(voice.scores.get(better, -9) >= voice.scores.get(worse, -9) for voice in made):
                assert fused[better] >= fused[worse] - 1e-9  # sums are rounded


@given(st.lists(scored, min_size=1, max_size=2), scored)
def test_a_partial_voice_is_fair(voices: list[dict[str, float]], known: dict[str, float]) -> None:
    complete = [Voice(str(place), scores) for place, scores in enumerate(voices)]
    partial = Voice("token", known, partial=True)
    fused, without = weighted_fusion("abcdef", [*complete, partial]), weighted_fusion("abcdef", complete)
    assert all(0 <= score <= 1 for score in fused.values())
    assert fused == weighted_fusion("fedcba", [partial, *complete[::-1]])
    for better in "abcdef":
        for worse in "abcdef":
            # Those that it does not know keep the order of the others, and of those that it knows none is held back.
            if {better, worse}.isdisjoint(known) and without[better] >= without[worse]:
                assert fused[better] >= fused[worse] - 1e-9  # sums are rounded
            if known.get(better, -9) >= known.get(worse, 9) and without[better] >= without[worse]:
                assert fused[better] >= fused[worse] or fused[better] == pytest.approx(fused[worse])
    if known.keys() >= set("abcdef"):
        assert fused == weighted_fusion("abcdef", [*complete, Voice("token", known)])
