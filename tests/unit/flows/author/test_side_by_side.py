"""Items of a batch side by side: in order, within the limit, and stopped when the call is no longer needed."""

import threading

import pytest

from flows.author import Call
from flows.errors import StepCancelled


@pytest.mark.parametrize("at_once", [1, 3, 50])
def test_results_are_in_the_order_of_the_items_and_the_limit_holds(at_once: int) -> None:
    running, most, lock = 0, 0, threading.Lock()
    full = threading.Barrier(at_once) if at_once < 50 else None

    def double(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        if full is not None:
            full.wait(30)
        with lock:
            running -= 1
        return 2 * number

    assert Call().each(double, range(12), at_once=at_once) == [2 * number for number in range(12)]
    assert most <= at_once
    assert full is None or most == at_once


def test_the_ceiling_of_the_run_holds() -> None:
    threads: set[int] = set()
    Call(ceiling=1).each(lambda _: threads.add(threading.get_ident()), range(20), at_once=8)
    assert threads == {threading.get_ident()}


def test_a_call_that_is_not_wanted_begins_no_further_item() -> None:
    call, begun = Call(), list[int]()

    def work(number: int) -> None:
        begun.append(number)
        call.cancel()

    with pytest.raises(StepCancelled):
        call.each(work, range(100), at_once=2)
    assert len(begun) <= 2


def test_after_a_failure_no_further_item_begins_and_it_is_raised() -> None:
    begun = list[int]()

    def work(number: int) -> None:
        begun.append(number)
        raise ValueError(f"item {number}")

    with pytest.raises(ValueError, match=r"item \d"):
        Call().each(work, range(100), at_once=2)
    assert len(begun) <= 2


def test_no_items_and_no_threads() -> None:
    assert Call().each(str, []) == []
    with pytest.raises(ValueError, match="at_once must be 1 or more, not 0"):
        Call().each(str, [1], at_once=0)
