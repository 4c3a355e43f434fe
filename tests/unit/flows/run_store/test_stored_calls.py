"""The stored form of finished calls: every result comes back, also in a process with another main module."""

import sys

import pytest

from flows.calling import CallResult
from flows.engine import FinishedCall
from flows.run_store.stored_calls import pack, unpack


def finished(value: object) -> FinishedCall:
    return FinishedCall("chained", "own", CallResult((), value), step_id="a", cost={"tokens": 7.0})


@pytest.mark.parametrize("value", [None, "short", "to be or not to be " * 1000, ["__main__"] * 2000, bytes(50_000)])
def test_a_result_comes_back_as_it_was(value):
    assert unpack(pack(finished(value)).content) == finished(value)


def test_large_results_take_less_room():
    assert len(pack(finished("to be or not to be " * 10_000)).content) < 2_000


def test_a_class_of_the_main_module_is_kept_with_its_result(monkeypatch):
    square = type("Square", (), {"__module__": "__main__", "area": lambda self: 9})
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["__main__"], "Square", square, raising=False)
        content = pack(finished([square()])).content
    assert unpack(content).result.value[0].area() == 9
