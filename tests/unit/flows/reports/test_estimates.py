"""Estimated time and cost of a run, from recorded runs."""

import pytest

from flows.author import Registry, handler
from flows.model import Pipeline
from flows.planning import Plan, make_plan
from flows.reports import estimate
from flows.reports.estimates import percentile


@pytest.fixture
def plan() -> Plan:
    made = Registry()

    @handler(registry=made, effects=())
    def work() -> None: ...

    def step(id: str) -> dict[str, str]:
        return {"handler": "work", "id": id}

    steps = [
        "work",
        {"parallel": [step("slow"), [step("a"), step("b")], step("quick")], "max_concurrency": 2, "id": "three"},
        {"for_each": "xs", "steps": [step("each")], "max_concurrency": 2, "id": "all"},
        {"parallel": [step("tiny1"), step("tiny2")], "id": "tiny"},
    ]
    return make_plan(Pipeline.model_validate({"name": "p", "steps": steps}), registry=made, given=["xs"])


def test_time_follows_limits_and_loops_and_what_is_not_worth_it_is_named(plan: Plan) -> None:
    took = {"0": 1.0, "1.0": 4.0, "1.1.0": 1.0, "1.1.1": 1.0, "1.2": 3.0, "3.0": 0.03, "3.1": 0.02}
    rows = [{"run_id": "r", "path": path, "seconds": seconds, "cost": {"usd": 0.5}} for path, seconds in took.items()]
    rows += [{"run_id": "r", "path": f"2[{i}].0", "seconds": 0.5, "cost": {}} for i in range(6)]
    found = estimate(plan, rows)
    assert found is not None
    # 1, then two at a time: 4 beside 2 and 3 after it, then six halves two at a time, then 0.03.
    assert found.seconds_p50 == pytest.approx(1 + 5 + 1.5 + 0.03)
    assert found.in_order_s == pytest.approx(1 + 9 + 3 + 0.05)
    assert found.cost_p50 == {"usd": 3.5}
    assert found.critical_path == ("0.work", "quick", "each", "tiny1")
    assert {group.id: group.worth_it for group in found.groups} == {"three": True, "all": True, "tiny": False}
    assert found.unknown == ()


def test_percentiles_are_per_call_and_steps_without_a_record_are_named(plan: Plan) -> None:
    rows = [{"run_id": str(i), "path": "0", "seconds": float(i), "cost": {"tokens": i}} for i in range(1, 11)]
    found = estimate(plan, rows)
    assert found is not None
    assert (found.runs, found.seconds_p50, found.seconds_p90, found.cost_p90) == (10, 5.0, 9.0, {"tokens": 9.0})
    assert "slow" in found.unknown
    assert estimate(plan, []) is None
    assert [percentile([3, 1, 2], share) for share in (0.0, 0.5, 0.9, 1.0)] == [1, 2, 3, 3]


def test_steps_that_share_a_resource_take_their_turns() -> None:
    made = Registry()

    @handler(registry=made, effects=())
    def work() -> None: ...

    steps = [{"handler": "work", "id": f"s{number}", "uses": ["api"]} for number in range(8)]
    limits = {"resources": {"api": {"concurrency": 2}}}
    model = {"name": "p", **limits, "steps": [{"parallel": steps, "max_concurrency": "unlimited"}]}
    rows = [{"run_id": "r", "path": f"0.{number}", "seconds": 1.0, "cost": {}} for number in range(8)]
    found = estimate(make_plan(Pipeline.model_validate(model), registry=made), rows)
    assert found is not None
    assert (found.seconds_p50, found.in_order_s) == (4.0, 8.0)
