"""The kit can fail: it catches engines broken on purpose and mistakes of handler authors, shrinks them, and repeats them by seed."""

import asyncio
from typing import Any

import pytest

from flows.author import Call, Outcome, Registry, handler
from flows.engine import Prepared, groups, run_plan, run_state
from flows.engine import engine as real_engine
from flows.errors import FatalError
from flows.limits import Slot, Window
from flows.model import Pipeline
from flows.state import Context, Identity, Services
from flows.testkit import Exploration, Faults, explore, replay_schedule
from tests.support.random_pipelines import mixing_registry

START = {"seed": "s", "items": ["a", "b", "c"]}


def pipeline(*steps: Any, **rest: Any) -> Pipeline:
    return Pipeline.model_validate({"name": "probe", "steps": list(steps), **rest})


def leaf(target: str, **rest: Any) -> dict[str, Any]:
    return {
        "handler": "mix",
        "reads": {"first": "seed"},
        "writes": {"out": target},
        "options": {"salt": target},
        **rest,
    }


def explored(steps: list[Any], faults: Faults | None = None, **rest: Any) -> Exploration:
    return explore(
        pipeline(*steps, **rest),
        lambda: Context(START),
        schedules=200,
        faults=faults,
        registry=mixing_registry(lambda: 0),
    )


FOUR = {"parallel": [leaf(name) for name in "abcd"], "max_concurrency": 2}
DROPS = {"parallel": [{"handler": "drop", "options": {"salt": salt}} for salt in "abc"], "reducers": {"bag": "append"}}


def told(shown: Exploration) -> str:
    assert not shown.ok, f"nothing was found in {shown.schedules} schedules"
    with pytest.raises(AssertionError, match="a promise was broken"):
        shown.check()
    return str(shown)


def test_the_same_pipelines_are_fine_on_an_engine_that_is_not_broken() -> None:
    for steps in ([FOUR], [DROPS], [{**FOUR, "policy": "fail_fast"}]):
        explored(steps, Faults()).check()


def test_a_window_that_lets_one_too_many_in(monkeypatch: pytest.MonkeyPatch) -> None:
    class Leaky(Window):
        def __init__(self, limit: int | None) -> None:
            super().__init__(None if limit is None else limit + 1)

    monkeypatch.setattr(groups, "Window", Leaky)
    assert "3 at once, more than its limit of 2" in told(explored([FOUR]))


def test_a_place_that_is_never_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Slot, "let_go", lambda self: None)
    report = told(explored([FOUR]))
    assert "the run waits for ever" in report
    assert "0.3" in report


def test_a_merge_in_the_order_of_completion(monkeypatch: pytest.MonkeyPatch) -> None:
    in_order = groups.merge_deltas
    finished: list[str] = []
    record = run_state.RunState.record

    def noted(self: Any, outcome: Outcome) -> None:
        finished.append(outcome.path)
        record(self, outcome)

    def as_they_finished(parent: Context, branches: Any, **rest: Any) -> None:
        order = [path for path in finished if path.startswith("0.")][-len(branches) :]
        in_order(parent, [branches[int(path[2:])] for path in order], **rest)

    monkeypatch.setattr(run_state.RunState, "record", noted)
    monkeypatch.setattr(groups, "merge_deltas", as_they_finished)
    assert "the run leaves bag [" in told(explored([DROPS]))


def test_a_lost_outcome_of_what_never_started(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_state.RunState.never_started

    def forgetful(self: Any, node: Any, scope: Any, status: Any, reason: str) -> Any:
        if reason.endswith(("failed", "timed_out")):
            return run_state.NodeResult(status, reason=reason, transient=True)
        return whole(self, node, scope, status, reason)

    monkeypatch.setattr(run_state.RunState, "never_started", forgetful)
    shown = explored([leaf("a"), leaf("b")], Faults(crash=0, cancel=0))
    assert "1 (mix): has no outcome" in told(shown)
    assert shown.failure is not None
    assert [cause.split(" fault")[0] for cause in shown.failure.causes] == ["0#1"]


def test_a_policy_that_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "_cancel_others", lambda branches, position: None)
    slow = {
        "parallel": [[leaf("a1"), leaf("a2"), leaf("a3")], [leaf("b1"), leaf("b2"), leaf("b3")]],
        "policy": "fail_fast",
        "max_concurrency": 2,
    }
    assert "which stops the branches of 0" in told(explored([slow], Faults(crash=0, cancel=0)))


def test_a_failure_that_reads_as_success(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real_engine, "_run_status", lambda result, outcomes: "succeeded")
    report = told(explored([leaf("a")], Faults(crash=0, cancel=0)))
    assert "the run reports succeeded, but it failed: a required step did not succeed" in report


def test_an_engine_that_tries_again_what_failed_for_good() -> None:
    async def engine(prepared: Prepared, *, run_leaf: Any) -> Any:
        async def run(leaf: Any) -> Any:
            ended = await run_leaf(leaf)
            return await run_leaf(leaf) if isinstance(ended.ending.error, FatalError) else ended

        return await run_plan(prepared, run_leaf=run)

    shown = explore(
        pipeline(leaf("a")),
        lambda: Context(START),
        faults=Faults(cancel=0, crash=0),
        schedules=200,
        registry=mixing_registry(lambda: 0),
        engine=engine,
    )
    assert "0: was called again after it had failed for good" in told(shown)


# What handler authors get wrong.


def test_a_result_that_depends_on_the_order_of_calls() -> None:
    made, seen = Registry(), list[str]()

    @handler(registry=made, writes="rank", effects=())
    def ranked(*, name: str) -> int:
        seen.append(name)
        return len(seen)

    def fresh() -> Context:
        seen.clear()
        return Context()

    branches = [{"handler": "ranked", "options": {"name": name}, "writes": {"rank": name}} for name in "ab"]
    shown = explore(pipeline({"parallel": branches}), fresh, registry=made, schedules=200)
    report = told(shown)
    assert "the final state differs under this schedule: a is 2, otherwise 1; b is 1, otherwise 2" in report
    assert "note: ranked changed 'seen', which is outside of the context" in report
    assert shown.failure is not None
    assert 1 <= len(shown.failure.causes) <= 2
    again = replay_schedule(pipeline({"parallel": branches}), fresh, shown.failure.seed, registry=made)
    assert again.failure == shown.failure


def test_a_conflict_that_only_some_results_show() -> None:
    made = Registry()

    @handler(registry=made)
    async def finds(context: Context) -> None:
        context.data["found"] = True

    @handler(registry=made)
    async def notes(context: Context, *, mine: str) -> None:
        context.data[mine if "found" in context.data else "missing"] = mine

    branches = [{"handler": "notes", "options": {"mine": name}} for name in "ab"]
    steps = [{"parallel": ["finds"], "policy": "best_effort"}, {"parallel": branches}]
    explore(pipeline(*steps), Context, registry=made, schedules=100).check()
    shown = explore(pipeline(*steps), Context, registry=made, schedules=500, faults=Faults())
    assert "both changed 'missing'" in told(shown)
    assert shown.failure is not None
    assert [cause.split(" fault")[0] for cause in shown.failure.causes] == ["0.0#1"]


def test_an_effect_that_is_not_declared() -> None:
    made = Registry()

    @handler(registry=made, effects=())
    async def stores(context: Context, *, row: str) -> None:
        context.services["table"].append(row)

    def fresh() -> Context:
        return Context(identity=Identity(services=Services({"table": list})))

    steps = [{"handler": "stores", "options": {"row": row}} for row in "ab"]
    report = told(explore(pipeline(*steps), fresh, registry=made, observe=lambda context: context.services["table"]))
    assert "stores changed what `observe` sees, but declares no effect" in report


@pytest.mark.parametrize("upsert", [True, False])
def test_a_handler_that_may_not_be_called_twice(upsert: bool) -> None:
    made = Registry()

    @handler(registry=made, effects="table")
    def stores(context: Context, *, row: str) -> None:
        table: list[str] = context.services["table"]
        if not upsert or row not in table:
            table.append(row)

    def fresh() -> Context:
        return Context(identity=Identity(services=Services({"table": list})))

    steps = [{"handler": "stores", "options": {"row": row}} for row in "ab"]
    shown = explore(
        pipeline(*steps),
        fresh,
        registry=made,
        observe=lambda context: context.services["table"],
        faults=Faults(transient=0, fatal=0, hang=0, crash=1.0, cancel=0),
    )
    if upsert:
        shown.check()
    else:
        assert "the final state differs after being killed and run again from the start" in told(shown)


def test_a_handler_that_waits_for_its_sibling() -> None:
    made = Registry()

    @handler(registry=made, effects=())
    async def waits(*, call: Call) -> None:
        await asyncio.Event().wait()

    report = told(explore(pipeline("waits"), Context, registry=made))
    assert "the run waits for ever" in report
    assert "without an outcome are 0" in report


def test_faults_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Faults\(fatal=1.5\): give a share from 0.0 to 1.0"):
        Faults(fatal=1.5)
    with pytest.raises(ValueError, match=r"must not add up to more than 1.0"):
        Faults(cancel=0.6, crash=0.6)
