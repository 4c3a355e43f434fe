"""Merge and split strategies: none, one, all failures, and ties."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.author import SPLIT_STRATEGIES, BranchResult, merge_results, merge_strategy, split_items, split_strategy
from flows.author.strategies import NothingToMerge
from flows.errors import FatalError, UnknownName


def branches(*values: Any, **fields: Any) -> list[BranchResult]:
    return [BranchResult(f"b{i}", True, value, finished=len(values) - i, **fields) for i, value in enumerate(values)]


FAILED = [BranchResult("x", False, error="broken"), BranchResult("y", False, error="late")]


@pytest.mark.parametrize(
    "strategy", ["first_success", "fastest_success", "best_quality", "combine_outputs", "majority"]
)
@pytest.mark.parametrize("results", [[], FAILED])
def test_without_a_success_there_is_nothing_to_merge(strategy: str, results: list[BranchResult]) -> None:
    with pytest.raises(NothingToMerge, match="No successful results"):
        merge_results(strategy, results, {})


@pytest.mark.parametrize(
    ("strategy", "results", "options", "merged"),
    [
        ("collect_all", [], {}, {"success": True, "outputs": [], "errors": []}),
        (
            "collect_all",
            [*branches(1), FAILED[0]],
            {},
            {"success": False, "outputs": [1], "errors": [{"branch": "x", "error": "broken"}]},
        ),
        ("first_success", [FAILED[0], *branches("a", "b")], {}, "a"),
        ("fastest_success", [FAILED[0], *branches("a", "b")], {}, "b"),
        (
            "best_quality",
            branches({"score": 1, "n": 1}, {"score": 2, "n": 2}, {"score": 2, "n": 3}),
            {"score": "score"},
            {"score": 2, "n": 2},
        ),
        (
            "best_quality",
            branches({"score": 1}, {"score": 2}),
            {"score": "score", "higher_is_better": False},
            {"score": 1},
        ),
        ("combine_outputs", branches([1], [2, 3]), {}, [1, 2, 3]),
        ("combine_outputs", branches({"a": 1}, {"b": 2}), {}, {"a": 1, "b": 2}),
        ("combine_outputs", branches("a"), {}, "a"),
        ("combine_outputs", branches("a", "b"), {}, "a\n\nb"),
        (
            "combine_outputs",
            branches([{"id": 1, "score": 9}, {"id": 2, "score": 1}], [{"id": 2, "score": 0.5}]),
            {},
            [{"id": 2, "score": 1}, {"id": 1, "score": 9}],
        ),
        (
            "union",
            branches([{"id": 1, "v": "a"}], [{"id": 1, "v": "b"}, {"id": 2}]),
            {},
            [{"id": 1, "v": "a"}, {"id": 2}],
        ),
        ("majority", branches("x", "y", "y"), {}, "y"),
        ("majority", branches("x", "y"), {}, "x"),
        (
            "reciprocal_rank_fusion",
            branches([{"id": 1}, {"id": 2}], [{"id": 2}, {"id": 3}]),
            {},
            [{"id": 2}, {"id": 1}, {"id": 3}],
        ),
        ("reciprocal_rank_fusion", branches([{"id": 1}], [{"id": 2}]), {}, [{"id": 1}, {"id": 2}]),
    ],
)
def test_merge_strategies(strategy: str, results: list[BranchResult], options: dict[str, Any], merged: Any) -> None:
    assert merge_results(strategy, results, options) == merged


@pytest.mark.parametrize(
    ("strategy", "options", "message"),
    [
        ("combine_outputs", {}, r"Cannot merge different output types: \['list', 'text'\]"),
        ("best_quality", {}, "branch 'b0' has no score"),
        ("reciprocal_rank_fusion", {"k": 0}, "k must be 1 or more"),
        ("first_success", {"speed": 1}, "failed with options"),
    ],
)
def test_what_cannot_be_merged_is_explained(strategy: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(FatalError, match=message):
        merge_results(strategy, branches("a", [1]), options)


def test_strategies_of_ones_own_may_raise_anything() -> None:
    @merge_strategy("broken_in_test")
    def broken_merge(results: Any) -> Any:
        return results[0].value["key"]

    @split_strategy("broken_in_test")
    def broken_split(items: Any, branches: int) -> Any:
        raise RuntimeError("no way")

    with pytest.raises(FatalError, match="the merge strategy 'broken_in_test' failed with options {}: KeyError: 'key'"):
        merge_results("broken_in_test", [BranchResult("a", True, {})], {})
    with pytest.raises(FatalError, match="the split strategy 'broken_in_test' failed with options {}: RuntimeError"):
        split_items("broken_in_test", [1], 2, {})


def test_an_unknown_strategy_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="no merge strategy named 'colect_all'; did you mean 'collect_all'"):
        merge_results("colect_all", [], {})


@given(st.lists(st.integers(), max_size=30), st.integers(1, 7), st.sampled_from(["round_robin", "chunk", "hash_by"]))
def test_a_split_loses_nothing_and_repeats_nothing(items: list[int], count: int, strategy: str) -> None:
    shares = split_items(strategy, items, count, {})
    assert len(shares) == count
    assert sorted(item for share in shares for item in share) == sorted(items)


def test_split_strategies_in_numbers() -> None:
    items = list(range(10))
    assert [len(share) for share in split_items("round_robin", items, 3, {})] == [4, 3, 3]
    assert split_items("chunk", items, 3, {}) == [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert split_items("duplicate", items, 2, {}) == [items, items]
    assert set(SPLIT_STRATEGIES) >= {"duplicate", "round_robin", "chunk", "hash_by"}
    rows = [{"id": i % 3} for i in range(9)]
    for share in split_items("hash_by", rows, 2, {"key": "id"}):
        for other in split_items("hash_by", rows, 2, {"key": "id"}):
            assert share == other or not {row["id"] for row in share} & {row["id"] for row in other}


def test_rank_fusion_weighs_branches_by_name() -> None:
    results = branches(["x"], ["y", "x"], ["z"])
    names = [result.branch for result in results]
    options: dict[str, Any] = {"weights": {names[2]: 3.0}}
    assert merge_results("reciprocal_rank_fusion", results, options) == ["z", "x", "y"]
    with pytest.raises(UnknownName, match="weights: no branch named 'other'"):
        merge_results("reciprocal_rank_fusion", results, {"weights": {"other": 1.0}})
    with pytest.raises(FatalError, match="weights of 0 or more"):
        merge_results("reciprocal_rank_fusion", results, {"weights": {names[0]: -1.0}})
