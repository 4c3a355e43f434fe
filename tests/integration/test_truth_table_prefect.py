"""Rows of docs/failure.md on a real Prefect server: the names and types of the states that a person then sees."""

import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest

from flows.author import RunResult
from flows.engine import Prepared
from flows.model import Pipeline
from flows.planning import make_plan
from flows.state import Context
from tests.support import truth_table
from tests.support.truth_table import ANSWERS, WAYS, Row, Stage, tables

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own event and log clients leave sockets to the garbage collector when an event loop ends.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]

TYPES = {
    "Completed": "COMPLETED",
    "PartialSuccess": "COMPLETED",
    "Failed": "FAILED",
    "TimedOut": "FAILED",
    "Cancelled": "CANCELLED",
}
SECONDS = 1.5
"""A step's time where it is to run out; the server takes a while to let a step begin."""


def covering(run: str) -> list[tuple[str, Row, str]]:
    """Rows that end a run in one way: each answer with each way to fail, and with each rule, at least once."""
    rows = [
        (answer, row) for answer in ANSWERS for row in tables(f"### `on_branch_failure: {answer}`") if row["run"] == run
    ]
    ways = list(WAYS)
    step = max(1, len(rows) // 8)
    return [(answer, row, ways[number % len(ways)]) for number, (answer, row) in enumerate(rows[::step])]


@pytest.mark.parametrize("status", ["failed", "partial"])
def test_states_after_a_failure(status: str) -> None:
    chosen, stage = covering(status), Stage()
    assert {way for _, _, way in chosen} == set(WAYS)
    assert {answer for answer, _, _ in chosen} == set(ANSWERS)
    lines: list[Any] = []
    expected: dict[str, str] = {}
    for number, (answer, row, way) in enumerate(chosen):
        name = f"r{number}"
        lines.append(truth_table.four_branches(stage, name, answer, row, way, timeout_s=SECONDS))
        expected |= {f"{name}a": "Completed", f"{name}wait": "Completed"}
        if WAYS[way]["Prefect task run"] != "none":
            expected[f"{name}bad"] = WAYS[way]["Prefect task run"]
        expected[f"{name}c"] = {"succeeded": "Completed", "cancelled": "Cancelled"}[row["c"]]
        if row["d"] == "succeeded":
            expected[f"{name}d"] = "Completed"
    result, states, final = run_side_by_side(stage, lines, expected)
    assert states == {name: (state, TYPES[state]) for name, state in expected.items()}
    groups = {outcome.id: outcome for outcome in result.outcomes if outcome.kind == "group"}
    for number, (_, row, way) in enumerate(chosen):
        assert groups[f"r{number}"].status == row["group"], (row, way)
        kept = [
            name[-1]
            for name in result.context.data
            if name.startswith(f"r{number}") and len(name) == len(f"r{number}a")
        ]
        # The lines are branches of one group; those that failed leave nothing behind.
        assert kept == (truth_table.merged(row) if status == "partial" else []), (row, way)
    assert (result.status, final) == (
        status,
        {"failed": ("Failed", "FAILED"), "partial": ("PartialSuccess", "COMPLETED")}[status],
    )


def test_states_when_branches_are_skipped() -> None:
    rows, stage = [row for row in tables("## A branch is skipped") if row["run"] == "succeeded"][::4], Stage()
    lines = [truth_table.skipping(f"r{number}", ANSWERS[number % 3], row) for number, row in enumerate(rows)]
    expected = {
        f"r{number}{name}": "Completed" for number, row in enumerate(rows) for name in "acd" if row[name] == "succeeded"
    }
    result, states, final = run_side_by_side(stage, lines, expected)
    assert states == dict.fromkeys(expected, ("Completed", "COMPLETED"))
    assert (result.status, final) == ("succeeded", ("Completed", "COMPLETED"))


def run_side_by_side(
    stage: Stage, lines: list[Any], expected: Mapping[str, str]
) -> tuple[RunResult, dict[str, tuple[str | None, str]], tuple[str | None, str]]:
    """Run the lines as branches of one flow run; return its result, and the server's states of the flow run and its task runs."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    from flows.translator import run_as_flow

    name = f"test-{uuid4().hex[:8]}"
    desks = {f"r{number}desk": {"concurrency": 1} for number in range(len(lines))}
    pipeline = Pipeline.model_validate(
        {
            "name": name,
            "resources": desks,
            "steps": [{"parallel": lines, "max_concurrency": "unlimited"}],
        }
    )
    plan = make_plan(pipeline, registry=truth_table.registry(stage))
    try:
        result = run_as_flow(pipeline, {}, lambda _: Prepared(plan, Context({}), stage))
    finally:
        stage.released.set()
    only = FlowFilter(name=FlowFilterName(any_=[name]))
    give_up = time.monotonic() + 60
    with get_client(sync_client=True) as client:
        while True:
            (flow_run,) = client.read_flow_runs(flow_filter=only)
            runs = client.read_task_runs(flow_filter=only)
            states = {r.name.partition(" ")[0]: (r.state.name, r.state.type.value) for r in runs if r.state}
            settled = len(states) >= len(expected) and all(kind in TYPES.values() for _, kind in states.values())
            if (settled and flow_run.state) or time.monotonic() > give_up:
                assert flow_run.state is not None
                return result, states, (flow_run.state.name, flow_run.state.type.value)
            time.sleep(0.3)
