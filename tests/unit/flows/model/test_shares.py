"""Shares of a number are counted as they are written, not as floating point rounds them."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.limits import RetryCount
from flows.model import MinRatio, Policy, RetryBudget, Tolerance


@given(st.integers(0, 100), st.integers(0, 1000), st.integers(0, 1000))
def test_a_ratio_is_met_exactly_where_the_percentage_says(percent: int, total: int, succeeded: int) -> None:
    enough = Fraction(percent, 100) * total <= succeeded
    assert Policy(success_when=MinRatio(ratio=percent / 100)).satisfied(succeeded, total) == enough


@given(st.integers(0, 100), st.integers(0, 1000), st.integers(0, 1000))
def test_a_tolerance_is_exceeded_exactly_where_the_percentage_says(percent: int, total: int, failed: int) -> None:
    too_many = failed > Fraction(percent, 100) * total
    assert Tolerance(ratio=percent / 100).exceeded(failed, total) == too_many
    assert Tolerance.model_validate(f"{percent}%").exceeded(failed, total) == too_many


@given(st.integers(1, 100), st.integers(0, 1000))
def test_a_retry_budget_allows_the_share_of_the_calls_rounded_up(percent: int, calls: int) -> None:
    count = RetryCount(RetryBudget.model_validate(f"{percent}%"), calls=calls)
    assert count.left() == -(-percent * calls // 100)


def test_seven_of_twenty_five_are_28_percent() -> None:
    assert Policy(success_when=MinRatio(ratio=0.28)).satisfied(7, 25)


@pytest.mark.parametrize("text", ["x%", "nan%", "inf%", "%", "5 %%"])
def test_no_percentage_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Tolerance.model_validate(text)
