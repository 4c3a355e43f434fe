"""Groups with many `depends_on`: the cost is linear in the branches, and each branch sees its dependencies' changes."""

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from flows.author import Registry, RunResult, handler
from flows.engine import Prepared, run_plan
from flows.model import Pipeline
from flows.planning import BranchViews, all_before, make_plan
from flows.state import Context
from tests.support.profiles import scaled


def run_chain(count: int) -> RunResult:
    made = Registry()

    @handler(registry=made, writes="out", effects=())
    async def add(before: int = 0) -> int:
        return before + 1

    branches: list[dict[str, Any]] = [
        {"handler": "add", "id": f"b{n}", "reads": {"before": f"f{n - 1}"}, "writes": {"out": f"f{n}"}}
        | ({"depends_on": [f"b{n - 1}"]} if n else {})
        for n in range(count)
    ]
    pipeline = Pipeline.model_validate({"name": "p", "steps": [{"parallel": branches}]})
    plan = make_plan(pipeline, registry=made, given=["f-1"])
    return asyncio.run(run_plan(Prepared(plan, Context({"f-1": 0}))))


def count_calls(count: int) -> int:
    """The Python calls that it takes to plan and run a chain; the same on every machine."""
    calls = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        result = run_chain(count)
    finally:
        sys.setprofile(before)
    assert (result.status, result.context.data[f"f{count - 1}"]) == ("succeeded", count)
    return calls


def test_twice_as_many_branches_in_one_chain_take_twice_as_much() -> None:
    run_chain(10)
    assert count_calls(400) < 2.5 * count_calls(200)


@settings(max_examples=scaled(200))
@given(st.data(), st.integers(1, 9))
def test_a_branch_finds_the_changes_of_those_it_waits_for_in_declared_order(data: st.DataObject, count: int) -> None:
    after: Sequence[frozenset[int]] = [
        data.draw(st.frozensets(st.integers(0, index - 1), max_size=3)) if index else frozenset[int]()
        for index in range(count)
    ]

    def add(view: list[int], earlier: int) -> None:
        view.append(earlier)

    views = BranchViews[list[int]](after, count, fork=list[int], copy=lambda view: [*view], add=add)
    for index in range(count):
        view = views.begin(index)
        assert view == sorted(all_before(after, index))
        views.end(index, view)
