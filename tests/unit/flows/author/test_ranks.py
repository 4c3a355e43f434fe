"""Rank fusion: the sums that it computes."""

import pytest

from flows.author import reciprocal_ranks, summed_gains


def test_ranks_count_from_one_and_a_ranking_votes_once_for_an_item() -> None:
    fused = reciprocal_ranks(["abca", "ca"], weights=[1.0, 2.0])
    assert list(fused) == ["c", "a", "b"]
    assert fused == pytest.approx({"c": 1 / 63 + 2 / 61, "a": 1 / 61 + 2 / 62, "b": 1 / 62})


def test_gains_add_up_and_ties_keep_the_order_of_rankings() -> None:
    assert list(summed_gains(["ab", "ca"], [[1.0, 0.5], [1.0, 0.0]]).items()) == [("a", 1.0), ("c", 1.0), ("b", 0.5)]


def test_weights_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="2 rankings need as many weights of 0 or more"):
        reciprocal_ranks(["a", "b"], weights=[1.0])
    with pytest.raises(ValueError, match="k must be 1 or more, not 0"):
        reciprocal_ranks(["a"], k=0)
