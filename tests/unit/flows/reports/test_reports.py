"""What a run's artifacts say."""

import asyncio

from flows.author import Call, Registry, handler
from flows.engine import Prepared, run_plan
from flows.errors import FatalError
from flows.model import Pipeline
from flows.planning import make_plan
from flows.reports.pages import outcome_table, plan_outline
from flows.state import Context


def test_the_outline_and_the_table_say_what_runs_and_how_it_ended() -> None:
    registry = Registry()

    @handler(registry=registry)
    def good(*, call: Call) -> None:
        call.report_cost(tokens=7)
        call.fail_item("a|b.pdf", "no text")

    @handler(registry=registry)
    def bad() -> None:
        raise FatalError("broken")

    steps = [
        "good",
        {"parallel": ["bad", ["good", "good"]], "policy": "best_effort", "max_concurrency": 2},
        {"for_each": "xs", "batch_size": 2, "steps": ["good"]},
    ]
    plan = make_plan(Pipeline.model_validate({"name": "p", "steps": steps}), registry=registry, given=["xs"])
    assert plan_outline(plan).splitlines() == [
        "- good",
        "- **2 at once, at most 2 (step)** (best_effort):",
        "  - bad",
        "  - in order:",
        "    - good",
        "    - good",
        "- **for each item of xs, 2 per batch, at once at most 4 (default)**:",
        "  - good",
    ]
    table = outcome_table(asyncio.run(run_plan(Prepared(plan, Context({"xs": [1, 2, 3]})))))
    assert "**p** run: **partial** in" in table
    assert "| 1.0.bad | failed |" in table
    assert "| broken |" in table
    assert "7 tokens" in table
    assert "| a\\|b.pdf | 0.good | no text |" in table
