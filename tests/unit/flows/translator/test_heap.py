"""Garbage collection during runs: what was there before is left alone, and is collected again afterwards."""

import gc
from collections.abc import Iterator

import pytest

from flows.translator.heap import heap_frozen


@pytest.fixture(autouse=True)
def nothing_is_frozen() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


def test_until_the_last_run_ends_the_objects_from_before_the_first_are_not_collected() -> None:
    first, second = heap_frozen(), heap_frozen()
    first.__enter__()
    frozen = gc.get_freeze_count()
    assert frozen > 0
    second.__enter__()
    first.__exit__(None, None, None)
    assert gc.get_freeze_count() == pytest.approx(frozen, rel=0.1)
    second.__exit__(None, None, None)
    assert gc.get_freeze_count() == 0


def test_objects_are_collected_again_after_a_run_that_failed() -> None:
    with pytest.raises(ValueError, match="no"), heap_frozen():
        raise ValueError("no")
    assert gc.get_freeze_count() == 0


def test_a_program_that_exempts_objects_itself_keeps_control() -> None:
    gc.freeze()
    with heap_frozen():
        pass
    assert gc.get_freeze_count() > 0
