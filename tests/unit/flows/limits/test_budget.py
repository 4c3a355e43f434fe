"""Costs of all calls are counted; a budget stops a run gracefully, and the message explains how to continue."""

import asyncio
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.author import Call, Registry, RunResult, handler
from flows.engine import Prepared, run_plan
from flows.errors import FatalError, TransientError
from flows.limits import Budget
from flows.model import Pipeline
from flows.planning import Overrides, make_plan
from flows.state import Context

PAY = {"handler": "pay"}


@pytest.fixture(scope="module")
def registry() -> Registry:
    made = Registry()

    @handler(registry=made, effects=())
    async def pay(*, call: Call, usd: float = 0.3, turns: int = 0) -> None:
        call.report_cost(usd=usd, tokens=10)
        for _ in range(turns):
            await asyncio.sleep(0)

    @handler(registry=made, effects=())
    async def pay_and_fail(*, call: Call, usd: float = 0.3) -> None:
        call.report_cost(usd=usd)
        raise TransientError("busy", retry_after_s=0)

    return made


def plan_of(steps: Any, registry: Registry, **fields: Any) -> Any:
    overrides = Overrides(budget=fields.pop("override", {}))
    model = Pipeline.model_validate({"name": "p", "steps": steps, **fields})
    return make_plan(model, registry=registry, given=["xs"], overrides=overrides)


async def run(steps: Any, registry: Registry, spent: dict[str, float] | None = None, **fields: Any) -> RunResult:
    return await run_plan(
        Prepared(plan_of(steps, registry, **fields), Context({"xs": list(range(6))}), spent=spent or {})
    )


def statuses(result: RunResult) -> list[str]:
    return [outcome.status for outcome in result.outcomes]


async def test_a_budget_stops_before_the_call_that_would_exceed_it_and_a_higher_one_goes_on(registry: Registry) -> None:
    result = await run([PAY] * 5, registry, budget={"usd": 1.0})
    assert (result.status, result.transient) == ("failed", False)
    assert statuses(result) == ["succeeded"] * 3 + ["cancelled"] * 2
    assert result.cost["usd"] == pytest.approx(0.9)
    reason = "budget: 0.9 usd of 1 usd used, and a call of 'pay' takes about 0.3 usd"
    assert [outcome.reason for outcome in result.outcomes[3:]] == [reason] * 2
    assert result.stopped == f"{reason}; 2 step(s) not started. Go on with: braid resume run --budget usd=2"
    again = await run([PAY] * 2, registry, spent={"usd": 0.9}, override={"usd": 2.0}, budget={"usd": 1.0})
    assert (again.status, again.stopped) == ("succeeded", "")


async def test_what_the_earlier_runs_used_counts(registry: Registry) -> None:
    result = await run([PAY], registry, spent={"usd": 1.0}, budget={"usd": 1.0})
    assert (result.status, statuses(result)) == ("failed", ["cancelled"])
    timed = await run([PAY], registry, spent={"seconds": 60.0}, budget={"seconds": 60})
    assert timed.outcomes[0].reason.startswith("budget: 60")
    assert "--budget seconds=120" in timed.stopped


async def test_running_calls_finish_and_no_other_starts_whatever_the_policy(registry: Registry) -> None:
    group = {
        "parallel": [{"handler": "pay", "id": f"b{i}", "options": {"usd": 1.0, "turns": 5}} for i in range(4)],
        "policy": "best_effort",
        "max_concurrency": 2,
    }
    steps = [group, {"for_each": "xs", "steps": ["pay"]}, {"merge_results": None, "inputs": ["xs"], "output": "y"}]
    result = await run(steps, registry, budget={"usd": 1.5})
    by_path = {str(outcome.path): outcome for outcome in result.outcomes}
    assert [by_path[f"0.{i}"].status for i in range(4)] == ["succeeded", "succeeded", "cancelled", "cancelled"]
    assert [by_path[path].status for path in ("1", "2")] == ["cancelled", "cancelled"]
    assert all(o.reason.startswith("budget: ") for o in result.outcomes if o.status == "cancelled")
    assert result.status == "failed"


async def test_a_group_and_a_loop_that_the_budget_stopped_are_cancelled_not_failed(registry: Registry) -> None:
    loop = {"for_each": "xs", "steps": ["pay"], "max_concurrency": 1}
    result = await run([loop], registry, budget={"tokens": 25})
    assert [(o.path, o.status) for o in result.outcomes if o.kind != "step"] == [
        ("0", "cancelled"),
        ("0[0]", "succeeded"),
        ("0[1]", "succeeded"),
        *((f"0[{i}]", "cancelled") for i in (2, 3, 4, 5)),
    ]


async def test_items_that_the_budget_stopped_do_not_count_as_failed(registry: Registry) -> None:
    for tolerated in (None, 1, "50%"):
        loop = {"for_each": "xs", "steps": [["pay", "pay"]], "max_concurrency": 2, "tolerated_failure": tolerated}
        result = await run([loop], registry, budget={"tokens": 25})
        assert (result.outcomes[0].status, result.outcomes[0].error) == ("cancelled", None)
        assert {one.status for one in result.outcomes if one.kind == "item"} == {"succeeded", "cancelled"}
        assert "exceeded_tolerance" not in str(result.outcomes)


async def test_a_call_waiting_for_its_turn_does_not_start_and_a_failure_is_not_tried_again(registry: Registry) -> None:
    # All four are past the first check when the first of them uses the budget up.
    group = {"parallel": [{"handler": "pay", "id": f"b{i}", "options": {"usd": 2.0}} for i in range(4)]}
    result = await run([group], registry, budget={"usd": 1.5}, max_concurrency=1)
    assert [o.status for o in result.outcomes if o.is_leaf] == ["succeeded", "cancelled", "cancelled", "cancelled"]
    retry = {"handler": "pay_and_fail", "retry": {"max_attempts": 9, "delay_s": 0}}
    failing = await run([retry, "pay"], registry, budget={"usd": 1.0})
    assert [(o.status, o.attempts) for o in failing.outcomes] == [("failed", 3), ("skipped", 0)]
    assert failing.cost["usd"] == pytest.approx(0.9)


def test_a_refusal_is_final_and_the_cost_of_running_calls_is_counted() -> None:
    meter = Budget({"usd": 10})
    first = meter.start("ask")
    first.add({"usd": 4})
    assert meter.end(first) == {"usd": 4}
    second = meter.start("ask")
    second.add({"usd": 1})
    # 5 are used, the second will take about 3 more, and a third 4.
    assert not meter.may_start("ask")
    assert (
        meter.refusal
        == "budget: 5 usd of 10 usd used, and a call of 'ask' takes about 4 usd and running calls about 3 usd"
    )
    assert not meter.may_start("something else")
    meter.end(second)
    second.add({"usd": 2})
    assert (meter.late, meter.total) == ({"usd": 2}, {"usd": 7})


def test_a_time_budget_ends_with_the_clock() -> None:
    times = iter([100.0, 105.0, 111.0])
    meter = Budget({"seconds": 30}, spent={"seconds": 20}, clock=lambda: next(times))
    assert meter.may_start("ask")
    assert not meter.may_start("ask")
    assert meter.refusal == "budget: 31 seconds of 30 seconds used"


async def test_what_a_call_reports_after_it_was_given_up_is_in_the_cost_of_the_run() -> None:
    made, go, reported = Registry(), threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    @handler(registry=made, effects=())
    def goes_on(*, call: Call) -> None:
        call.report_cost(usd=1)
        go.wait(30)
        call.report_cost(usd=2)
        loop.call_soon_threadsafe(reported.set)

    @handler(registry=made)
    async def waits() -> None:
        go.set()
        await reported.wait()

    result = await run(
        [{"parallel": [{"handler": "goes_on", "timeout_s": 0.05}], "policy": "best_effort"}, "waits"], made
    )
    assert result.outcomes[1].status == "abandoned"
    assert result.outcomes[1].cost == {"usd": 1}
    assert (result.cost, result.late_cost) == ({"usd": 3}, {"usd": 2})


FATES = ["ok", "fatal", "transient", "hangs", "returns a failure", "fails to merge"]


@given(
    fates=st.lists(st.sampled_from(FATES), min_size=1, max_size=6),
    policy=st.sampled_from(["all_or_nothing", "fail_fast", "best_effort"]),
    attempts=st.integers(1, 3),
)
def test_the_costs_of_all_outcomes_add_up_to_what_was_reported(fates: list[str], policy: str, attempts: int) -> None:
    reported: list[float] = []
    made = Registry()

    @handler(registry=made, writes=())
    async def act(*, fate: str, call: Call) -> Any:
        amount = 2.0 ** -len(reported)  # a sum of these tells which are in it
        reported.append(amount)
        call.report_cost(usd=amount)
        await asyncio.sleep(0)
        match fate:
            case "fatal":
                raise FatalError("broken")
            case "transient":
                raise TransientError("busy", retry_after_s=0)
            case "hangs":
                await asyncio.Event().wait()
            case "fails to merge":
                return {"shared": object()}
        return None

    branches = [
        {"handler": "act", "id": f"b{i}", "options": {"fate": fate}, "timeout_s": 0.01 if fate == "hangs" else None}
        for i, fate in enumerate(fates)
    ]
    steps = [
        {"parallel": branches, "policy": policy, "max_concurrency": 2},
        {"handler": "act", "options": {"fate": "ok"}},
    ]
    plan = make_plan(
        Pipeline.model_validate({"name": "p", "steps": steps, "retry": {"max_attempts": attempts, "delay_s": 0}}),
        registry=made,
        given=[],
    )
    result = asyncio.run(run_plan(Prepared(plan, Context())))
    assert result.cost.get("usd", 0.0) == sum(reported)
    assert sum(o.cost.get("usd", 0.0) for o in result.outcomes) == sum(reported)
    assert sum(o.attempts for o in result.outcomes if o.is_leaf) == len(reported)
