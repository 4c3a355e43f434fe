"""Items that a step sets aside are visible only to later steps of the same branch and item."""

import asyncio
from collections.abc import Sequence
from typing import Any

from flows.author import Call, Registry, handler
from flows.engine import Prepared, run_plan
from flows.engine.journal import MemoryJournal
from flows.model import Pipeline
from flows.planning import make_plan
from flows.state import Context


def registry_of(seen: dict[str, list[str]]) -> Registry:
    registry = Registry()

    @handler(registry=registry, writes=())
    def refuse(items: Sequence[str], *, bad: list[str], call: Call) -> None:
        for item in bad:
            if item in items:
                call.fail_item(item, f"{item} is bad", transient=item == "b")

    @handler(registry=registry, writes=())
    def look(items: Sequence[str], *, call: Call) -> None:
        seen[call.step_id] = [f"{name}: {each.error}" for name, each in call.aside.items()]

    return registry


def run(steps: list[Any], journal: MemoryJournal | None = None) -> dict[str, list[str]]:
    seen: dict[str, list[str]] = {}
    pipeline = Pipeline.model_validate({"name": "p", "steps": steps})
    start = {"items": ["a", "b"], "batches": [["a"], ["b"], ["c"]]}
    plan = make_plan(pipeline, registry=registry_of(seen), given=start)
    result = asyncio.run(run_plan(Prepared(plan, Context(start), journal=journal or MemoryJournal())))
    assert result.status == "partial"
    return seen


def refusing(*bad: str) -> dict[str, Any]:
    return {"handler": "refuse", "options": {"bad": list(bad)}}


def test_later_steps_know_what_was_set_aside_and_the_first_reason():
    steps = [{"handler": "look", "id": "before"}, refusing("b", "a"), refusing("a"), {"handler": "look", "id": "after"}]
    assert run(steps) == {"before": [], "after": ["b: b is bad", "a: a is bad"]}


def test_branches_do_not_see_each_other_and_are_joined_in_their_order():
    group = [
        [refusing("b"), {"handler": "look", "id": "first"}],
        [refusing("a", "b"), {"handler": "look", "id": "second"}],
    ]
    assert run([{"parallel": group}, {"handler": "look", "id": "after"}]) == {
        "first": ["b: b is bad"],
        "second": ["a: a is bad", "b: b is bad"],
        "after": ["b: b is bad", "a: a is bad"],
    }


def test_items_of_a_loop_keep_it_to_themselves():
    inside = [refusing("a", "c"), {"handler": "look", "id": "inside"}]
    steps = [{"for_each": "batches", "as": "items", "steps": inside}, {"handler": "look", "id": "after"}]
    assert run(steps) == {
        "inside[0]": ["a: a is bad"],
        "inside[1]": [],
        "inside[2]": ["c: c is bad"],
        "after": [],
    }


def test_a_resumed_run_knows_it_too():
    journal = MemoryJournal()
    steps = [refusing("b"), {"handler": "look", "id": "after"}]
    first = run(steps, journal)
    journal.kept = {key: kept for key, kept in journal.kept.items() if "after" not in key}
    assert run(steps, journal) == first
