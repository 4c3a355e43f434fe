"""Every row of docs/failure.md, by direct calls."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from flows.author import Registry, RunResult, handler
from flows.engine import Prepared, run_plan
from flows.errors import FatalError
from flows.model import Pipeline
from flows.planning import make_plan
from flows.state import Context
from flows.testkit import run_virtually
from tests.support import truth_table
from tests.support.truth_table import ANSWERS, WAYS, Row, Stage, tables

FOUR = [(answer, row) for answer in ANSWERS for row in tables(f"### `on_branch_failure: {answer}`")]
SKIPPED = tables("## A branch is skipped")
LOOPS = tables("## Items of a loop")
PREFECT = {"succeeded": "Completed", "partial": "PartialSuccess", "failed": "Failed"}


def name_of(row: Any) -> str:
    return "/".join(row.values()) if isinstance(row, dict) else str(row)


def run(stage: Stage, group: dict[str, Any]) -> RunResult:
    """The result of the group and a step after it, in virtual time: a timeout comes when nothing else can happen."""
    steps = [group, {"handler": "quick", "id": "next", "options": {"value": "next"}, "writes": {"out": "next"}}]
    pipeline = Pipeline.model_validate({"name": "p", "steps": steps, "resources": {"desk": {"concurrency": 1}}})
    try:
        plan = make_plan(pipeline, registry=truth_table.registry(stage))
        return run_virtually(run_plan(Prepared(plan, Context({}), observer=stage)))
    finally:
        stage.released.set()


def check(result: RunResult, row: Row, b: str) -> None:
    outcomes = {outcome.id: outcome for outcome in result.outcomes}
    ended = {branch: outcomes[branch].status for branch in "abcd"}
    assert ended == {"a": row["a"], "b": b, "c": row["c"], "d": row["d"]}
    assert outcomes["group"].status == row["group"]
    assert (result.status, PREFECT[result.status]) == (row["run"], row["Prefect"])
    assert [name for name in result.context.data if name != "next"] == truth_table.merged(row)
    assert outcomes["next"].status == {"runs": "succeeded", "skipped": "skipped"}[row["next step"]]
    if row["group"] == "failed":
        assert outcomes["group"].error is not None
        assert outcomes["group"].reason


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("answer", "row"), FOUR, ids=name_of)
def test_a_branch_fails(answer: str, row: Row, way: str) -> None:
    stage = Stage()
    group = truth_table.four_branches(stage, "", answer, row, way)
    result = run(stage, {**group, "id": "group"})
    expected = WAYS[way]
    check(result, row, expected["status"])
    bad = next(outcome for outcome in result.outcomes if outcome.id == "bad")
    assert (bad.status, bad.attempts) == (expected["status"], int(expected["attempts"]))
    assert bad.error is not None
    assert bad.error.transient is (expected["transient"] == "yes")
    if result.status == "failed":
        assert result.transient is bad.error.transient


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("row", SKIPPED, ids=name_of)
def test_a_branch_is_skipped(answer: str, row: Row) -> None:
    check(run(Stage(), {**truth_table.skipping("", answer, row), "id": "group"}), row, "skipped")


@pytest.mark.parametrize("row", LOOPS, ids=name_of)
async def test_items_fail(row: Row) -> None:
    made = Registry()
    bad = [] if row["fail"] == "none" else [int(item) for item in row["fail"].split(", ")]

    @handler(registry=made, writes="kept")
    async def look(item: int) -> int:
        if item in bad:
            raise FatalError("unlucky")
        return item

    loop: dict[str, Any] = {"for_each": "items", "steps": ["look"], "collect": ["kept"], "max_concurrency": 1}
    if row["tolerated_failure"] != "none":
        told = row["tolerated_failure"]
        loop["tolerated_failure"] = told if "%" in told else int(told)
    pipeline = Pipeline.model_validate({"name": "p", "steps": [loop]})
    context = Context({"items": list(range(5))})
    result = await run_plan(Prepared(make_plan(pipeline, registry=made, given=["items"]), context))
    items = Counter(outcome.status for outcome in result.outcomes if outcome.kind == "item")
    assert (
        ", ".join(f"{items[status]} {status}" for status in ("succeeded", "failed", "cancelled") if items[status])
        == row["items"]
    )
    assert (result.outcomes[0].status, result.status) == (row["loop"], row["run"])
    kept = "nothing" if "kept" not in context.data else ", ".join(map(str, context.data["kept"]))
    assert kept == row["collected"].replace("null", "None")


RACERS = ("first", "second", "third")


@pytest.mark.parametrize("row", tables("## A race"), ids=name_of)
def test_a_race(row: Row) -> None:
    made = Registry()

    @handler(registry=made, writes="out")
    async def racer(*, after_s: float, fails: bool) -> float:
        await asyncio.sleep(after_s)
        if fails:
            raise FatalError("stumbled")
        return after_s

    def branch(name: str, after_s: float) -> dict[str, Any]:
        limit = {"timeout_s": after_s} if row[name] == "timed_out" else {}
        options = {"after_s": 2 * after_s if limit else after_s, "fails": row[name] == "failed"}
        return {"handler": "racer", "id": name, "options": options, "writes": {"out": name}, **limit}

    group = {
        "id": "race",
        "merge": {"strategy": "fastest_success", "output": "winner"},
        "parallel": [branch(name, after_s) for after_s, name in enumerate(RACERS, 1)],
    }
    plan = make_plan(Pipeline.model_validate({"name": "p", "steps": [group]}), registry=made)
    result = run_virtually(run_plan(Prepared(plan, Context({}))))
    outcomes = {outcome.id: outcome for outcome in result.outcomes}
    ended = {name: outcomes[name].status for name in ("race", *RACERS)}
    assert ended == {name: row[name] for name in ("race", *RACERS)}
    assert (result.status, PREFECT[result.status]) == (row["run"], row["Prefect"])
    assert [name for name in result.context.data if name != "winner"] == truth_table.merged(row)
    assert {outcome.id for outcome in result.errors} == {
        name for name in RACERS if row[name] in ("failed", "timed_out")
    }


def test_what_failed_in_the_winner_of_a_race_makes_the_run_partial() -> None:
    made = Registry()

    @handler(registry=made)
    async def fatal() -> None:
        raise FatalError("stumbled")

    @handler(registry=made, effects=())
    async def ok() -> None: ...

    for steps, status in ((["fatal", "ok"], "partial"), (["ok"], "succeeded")):
        race = {"parallel": [{"parallel": steps, "policy": "best_effort"}, "fatal"], "merge": "fastest_success"}
        plan = make_plan(Pipeline.model_validate({"name": "p", "steps": [race]}), registry=made)
        assert run_virtually(run_plan(Prepared(plan, Context({})))).status == status


def test_the_page_asks_every_question() -> None:
    """Every combination of the three answers is in the tables."""
    asked = {(answer, row["success_when"].split(":")[0], row["merge_when_failed"]) for answer, row in FOUR}
    assert len(asked) == 3 * 5 * 2
    assert len(WAYS) == 6
