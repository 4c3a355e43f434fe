"""Races in which several branches succeed before they can be stopped: one of them wins."""

import asyncio
from typing import Any

import pytest

from flows.author import FatalFailure, Registry, RunResult, handler
from flows.engine import Prepared, run_plan
from flows.model import Pipeline
from flows.planning import make_plan
from flows.state import Context
from flows.testkit import run_virtually
from tests.support import truth_table
from tests.support.truth_table import Row, tables


def run_race(ends: dict[str, str], *, before: dict[str, list[Any]] | None = None) -> RunResult:
    """Run a race whose branches all end in the same instant, as `ends` says, and a step that collects its results.

    Those that end as `cancelled` are those that would last longer. `before` has steps by name of the branch.
    """
    made = Registry()

    @handler(registry=made, writes="out")
    async def racer(*, name: str) -> str | FatalFailure:
        try:
            await asyncio.sleep(2 if ends[name] == "cancelled" else 1)
        except asyncio.CancelledError:
            if ends[name] == "cancelled":
                raise
        return FatalFailure("stumbled") if ends[name] == "failed" else name

    @handler(registry=made, effects=())
    async def fatal() -> FatalFailure:
        return FatalFailure("stumbled")

    @handler(registry=made, effects=())
    async def ok() -> None: ...

    branches = [
        [
            *(before or {}).get(name, []),
            {"handler": "racer", "id": name, "options": {"name": name}, "writes": {"out": name}},
        ]
        for name in ends
    ]
    group = {"id": "race", "merge": {"strategy": "fastest_success", "output": "winner"}, "parallel": branches}
    collect = {"merge_results": "race", "strategy": "collect_all", "output": "all"}
    plan = make_plan(Pipeline.model_validate({"name": "p", "steps": [group, collect]}), registry=made)
    return run_virtually(run_plan(Prepared(plan, Context({}))))


def name_of(row: Any) -> str:
    return "/".join(row.values())


@pytest.mark.parametrize("row", tables("### Several succeed in the same instant"), ids=name_of)
def test_the_first_in_declared_order_wins(row: Row) -> None:
    names = ("first", "second", "third")
    result = run_race({name: row[name] for name in names})
    ended = {outcome.id: outcome.status for outcome in result.outcomes}
    assert {name: ended[name] for name in ("race", *names)} == {name: row[name] for name in ("race", *names)}
    assert (result.status, "Completed") == (row["run"], row["Prefect"])
    data = result.context.data
    assert [name for name in data if name in names] == truth_table.merged(row)
    assert data["winner"] == row["merged"]
    assert data["all"]["outputs"] == [row["merged"]]


def test_a_failure_in_a_branch_that_was_as_fast_does_not_make_the_run_partial() -> None:
    partial = {"parallel": ["fatal", "ok"], "policy": "best_effort"}
    both = {"first": "succeeded", "second": "succeeded"}
    assert run_race(both, before={"second": [partial]}).status == "succeeded"
    assert run_race(both, before={"first": [partial]}).status == "partial"
