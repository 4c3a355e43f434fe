"""`batch_size: auto`: chosen from earlier runs, and kept for resumed runs."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.author import Registry, handler
from flows.calling import run_to_end
from flows.engine import Event, LoopStarted, Prepared, item_seconds, run_plan
from flows.engine.batching import choose_batch_size
from flows.engine.journal import MemoryJournal
from flows.model import Pipeline
from flows.planning import Overrides, make_plan
from flows.state import Context


@pytest.mark.parametrize(
    ("count", "at_once", "item_s", "size"),
    [
        (20, 10, 0.003, 10),  # 60 ms of work: two calls are as fast as ten, and cost a fifth
        (1000, 10, 0.003, 100),  # 3 s of work: one call for each slot
        (1000, 10, 0.1, 10),  # 100 s: a second each, in full rounds
        (1000, 4, 5.0, 1),  # an item takes longer than a call should
        (1000, 10, 0.0, 1000),
        (1000, 10, None, 100),
        (20, 10, None, 2),
        (100_000, 2, None, 100),
        (0, 4, None, 1),
    ],
)
def test_a_call_lasts_about_a_second(count: int, at_once: int, item_s: float | None, size: int) -> None:
    assert choose_batch_size(count, at_once=at_once, item_s=item_s).items == size


@given(st.integers(0, 100_000), st.integers(1, 64), st.none() | st.floats(0, 1000))
def test_batches_are_never_empty_and_never_last_much_longer_than_a_second(
    count: int, at_once: int, item_s: float | None
) -> None:
    size = choose_batch_size(count, at_once=at_once, item_s=item_s).items
    assert 1 <= size <= max(1, count)
    assert item_s is None or size == 1 or size * item_s <= 1.0 + item_s


def test_earlier_runs_say_what_an_item_takes() -> None:
    rows = [
        {"path": "1[0].0", "seconds": 1.0, "batch_size": 10},
        {"path": "1[1].0", "seconds": 3.0, "batch_size": 10},
        {"path": "1[2].0", "seconds": 2.0, "batch_size": 10},
        {"path": "1[0].1", "seconds": 0.5, "batch_size": 10},
        {"path": "0", "seconds": 9.0},
        {"path": "2[0].0", "seconds": 9.0},
    ]
    assert item_seconds(rows) == {"1": 0.2}


def _prepared(journal: MemoryJournal, seen: list[Any], limit: int) -> Prepared:
    registry = Registry()

    @handler(registry=registry, writes="length")
    def measure(batch: list[int]) -> int:
        if journal.kept and len(seen) > 2:
            raise AssertionError("a finished batch ran again")
        return len(batch)

    loop = {"for_each": "numbers", "as": "batch", "batch_size": "auto", "steps": ["measure"], "collect": ["length"]}
    pipeline = Pipeline.model_validate({"name": "lengths", "steps": [loop]})
    plan = make_plan(pipeline, registry=registry, given=["numbers"], overrides=Overrides(max_concurrency=limit))

    def observe(event: Event) -> None:
        if isinstance(event, LoopStarted):
            seen.append((event.batch_size, event.chosen))

    return Prepared(plan, Context({"numbers": list(range(40))}), observe, journal=journal)


def test_a_resumed_run_keeps_the_batches_whatever_it_would_choose_now() -> None:
    journal, seen = MemoryJournal(), list[Any]()
    first = run_to_end(run_plan(_prepared(journal, seen, limit=4)))
    again = _prepared(journal, seen, limit=2)
    second = run_to_end(run_plan(replace(again, item_seconds={again.plan.root.path or "0": 0.5})))
    assert first.status == second.status == "succeeded"
    assert first.context.data["length"] == second.context.data["length"] == [10] * 4
    assert [size for size, _ in seen] == [10, 10]
    assert seen[1][1] == "as before"
    assert all(outcome.reused for outcome in second.outcomes if outcome.is_leaf)


def test_without_a_journal_what_earlier_runs_took_decides() -> None:
    seen = list[Any]()
    prepared = _prepared(MemoryJournal(), seen, limit=4)
    run_to_end(run_plan(replace(prepared, item_seconds={"0": 0.5})))
    assert seen == [(2, "an item took 500 ms in earlier runs")]
