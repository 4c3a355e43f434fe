"""The engine's promises: windows, policies, timeouts, retries, and one outcome for everything declared."""

import asyncio
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flows.author import Call, FatalFailure, Registry, RunResult, Success, TransientFailure, handler
from flows.calling import dispatch
from flows.engine import Prepared, run_plan
from flows.engine.run_state import outcome_kind
from flows.errors import FatalError, TransientError
from flows.model import Pipeline
from flows.planning import Overrides, make_plan
from flows.state import Context
from flows.testkit import run_virtually
from tests.support.profiles import scaled


class Probe:
    """Counts how many calls run at once."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.calls: list[str] = []

    async def hold(self, name: str, turns: int) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        self.calls.append(name)
        for _ in range(turns):
            await asyncio.sleep(0)
        self.now -= 1


async def run(steps: Any, registry: Registry, data: dict[str, Any] | None = None, **pipeline: Any) -> RunResult:
    overrides = pipeline.pop("overrides", None)
    model = Pipeline.model_validate({"name": "test", "steps": steps, **pipeline})
    plan = make_plan(model, registry=registry, given=data or {}, overrides=overrides)
    return await run_plan(Prepared(plan, Context(data or {})))


def statuses(result: RunResult) -> dict[str, str]:
    return {outcome.path: outcome.status for outcome in result.outcomes}


class Gate:
    """Where blocked handlers wait, each in its thread, until a test lets them go on."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._entered = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []

    def wait(self) -> None:
        self._threads.append(threading.current_thread())
        self._entered.release()
        self._open.wait(60)

    def release(self, count: int = 0) -> None:
        """Let them go on once `count` of them are here, and wait for the end of their threads."""
        for _ in range(count):
            assert self._entered.acquire(timeout=60)
        self._open.set()
        for thread in self._threads:
            thread.join(60)


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.release()


@pytest.fixture
def registry(gate: Gate) -> Registry:
    """Handlers that succeed, fail in every way, and block."""
    made = Registry()

    @handler(registry=made, writes=(), effects=())
    async def ok(*, value: Any = "ok") -> Any:
        return value

    @handler(registry=made)
    async def fatal() -> None:
        raise FatalError("broken input")

    @handler(registry=made)
    async def transient() -> None:
        raise TransientError("come back later", retry_after_s=0)

    @handler(registry=made)
    async def forever() -> None:
        await asyncio.Event().wait()

    @handler(registry=made, writes="late")
    def blocked() -> str:
        gate.wait()
        return "late"

    @handler(registry=made)
    def polite(*, call: Call) -> None:
        while not call.cancelled:
            time.sleep(0.001)
        call.check_cancelled()

    return made


@pytest.mark.parametrize("seed", range(scaled(20)))
async def test_a_window_is_never_exceeded_nested_and_with_retries(seed: int) -> None:
    rng = random.Random(seed)
    made, inner, outer = Registry(), Probe(), Probe()
    limits = rng.randint(1, 4), rng.randint(1, 3)

    @handler(registry=made, effects=())
    async def probed(*, name: str, call: Call) -> None:
        await inner.hold(name, rng.randint(0, 4))
        if rng.random() < 0.4 and call.attempt < 3:
            raise TransientError("again", retry_after_s=0.0)

    @handler(registry=made, effects=())
    async def whole_branch() -> None:
        await outer.hold("branch", 3)

    branches = [
        [
            "whole_branch",
            {
                "parallel": [{"handler": "probed", "options": {"name": f"{i}.{j}"}} for j in range(5)],
                "max_concurrency": limits[1],
            },
        ]
        for i in range(5)
    ]
    result = await run(
        [{"parallel": branches, "max_concurrency": limits[0]}],
        made,
        retry={"max_attempts": 3, "delay_s": 0},
    )
    assert result.status == "succeeded"
    assert outer.most <= limits[0]
    assert inner.most <= limits[0] * limits[1]
    assert Counter(o.status for o in result.outcomes if o.is_leaf) == {"succeeded": 30}


@pytest.mark.parametrize("ceiling", [1, 2, 3])
async def test_a_ceiling_holds_for_the_run_as_a_whole(ceiling: int) -> None:
    made, probe = Registry(), Probe()

    @handler(registry=made, effects=())
    async def probed() -> None:
        await probe.hold("call", 3)

    nested = [{"parallel": ["probed"] * 4, "max_concurrency": "unlimited"} for _ in range(4)]
    result = await run([{"parallel": nested, "max_concurrency": "unlimited"}], made, max_concurrency=ceiling)
    assert (result.status, probe.most) == ("succeeded", ceiling)


async def test_the_window_slides() -> None:
    made, order = Registry(), list[str]()
    gates = {name: asyncio.Event() for name in "abcd"}

    @handler(registry=made, effects=())
    async def gated(*, name: str) -> None:
        order.append(f"+{name}")
        await gates[name].wait()
        order.append(f"-{name}")

    branches = [{"handler": "gated", "options": {"name": name}} for name in "abcd"]
    running = asyncio.ensure_future(run([{"parallel": branches, "max_concurrency": 2}], made))
    for name in "bacd":
        while f"+{name}" not in order:
            await asyncio.sleep(0)
        gates[name].set()
        while f"-{name}" not in order:
            await asyncio.sleep(0)
    await running
    # As soon as b ends c starts, although a still runs.
    assert order == ["+a", "+b", "-b", "+c", "-a", "+d", "-c", "-d"]


@pytest.mark.parametrize(
    ("policy", "branches", "status", "branch_statuses"),
    [
        ("all_or_nothing", ["ok", "fatal", "ok"], "failed", ["succeeded", "failed", "succeeded"]),
        ("best_effort", ["ok", "fatal", "ok"], "partial", ["succeeded", "failed", "succeeded"]),
        ("best_effort", ["fatal", "fatal"], "partial", ["failed", "failed"]),
        ("fail_fast", ["forever", "fatal", "forever"], "failed", ["cancelled", "failed", "cancelled"]),
        ({"minimum_threshold": 2}, ["ok", "fatal", "ok"], "partial", ["succeeded", "failed", "succeeded"]),
        ({"minimum_threshold": 2}, ["ok", "fatal", "fatal"], "failed", ["succeeded", "failed", "failed"]),
        ({"minimum_threshold": -1}, ["ok", "fatal"], "failed", ["succeeded", "failed"]),
        ({"success_when": "any"}, ["fatal", "ok"], "partial", ["failed", "succeeded"]),
        ({"success_when": {"ratio": 0.5}}, ["fatal", "ok"], "partial", ["failed", "succeeded"]),
    ],
)
async def test_policies(registry: Registry, policy: Any, branches: list, status: str, branch_statuses: list) -> None:
    result = await run([{"parallel": branches, "policy": policy}], registry)
    assert result.status == status
    assert [statuses(result)[f"0.{i}"] for i in range(len(branches))] == branch_statuses


async def test_drain_starts_no_new_ones_and_lets_the_others_finish() -> None:
    made, gate = Registry(), asyncio.Event()

    @handler(registry=made)
    async def slow() -> None:
        await gate.wait()

    @handler(registry=made)
    async def fatal() -> None:
        asyncio.get_running_loop().call_soon(gate.set)
        raise FatalError("broken")

    group = {"parallel": ["slow", "fatal", "slow"], "max_concurrency": 2, "policy": {"on_branch_failure": "drain"}}
    result = await run([group, "slow"], made)
    assert statuses(result) == {"0": "failed", "0.0": "succeeded", "0.1": "failed", "0.2": "cancelled", "1": "skipped"}


async def test_a_failed_group_says_so_in_the_seeds_words(registry: Registry, caplog: Any) -> None:
    result = await run([{"parallel": ["ok", "transient", "transient"]}], registry)
    group = result.outcomes[0]
    assert group.reason == "Parallel step failed: 2 handler(s) failed. First failure: come back later"
    assert (
        "Step: Parallel(ok, transient, transient); Failed Handlers: transient, transient; IsTransient: true"
        in caplog.text
    )
    assert result.transient


@pytest.mark.parametrize(("branches", "transient"), [(["transient"], True), (["transient", "fatal"], False)])
async def test_a_group_is_transient_only_if_all_its_failures_are(
    registry: Registry, branches: list, transient: bool
) -> None:
    assert (await run([{"parallel": branches}], registry)).transient is transient


async def test_nothing_of_a_failed_group_is_merged_unless_the_policy_says_so() -> None:
    made = Registry()

    @handler(registry=made, writes="good")
    async def good() -> int:
        return 1

    @handler(registry=made, writes="bad")
    async def bad() -> int:
        raise FatalError("broken")

    nothing = await run([{"parallel": ["good", "bad"]}], made)
    some = await run([{"parallel": ["good", "bad"], "policy": {"merge_when_failed": "successful"}}], made)
    assert (dict(nothing.context.data), nothing.status) == ({}, "failed")
    assert (dict(some.context.data), some.status) == ({"good": 1}, "failed")


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([{"handler": "forever", "timeout_s": 0.05}], {"0": "timed_out"}),
        ([{"handler": "blocked", "timeout_s": 0.05}], {"0": "abandoned"}),
        ([{"handler": "forever", "timeout_s": 60}], {"0": "timed_out"}),
        (
            [{"parallel": {"timeout_s": 0.05, "branches": ["forever", "ok", {"handler": "forever", "timeout_s": 60}]}}],
            {"0": "timed_out", "0.0": "timed_out", "0.1": "succeeded", "0.2": "timed_out"},
        ),
        (
            [{"parallel": {"timeout_s": 0.05, "max_concurrency": 1, "branches": ["forever", "ok"]}}],
            {"0": "timed_out", "0.0": "timed_out", "0.1": "timed_out"},
        ),
    ],
)
def test_timeouts_of_step_group_and_run_clip_what_is_inside(registry: Registry, steps: Any, expected: dict) -> None:
    result = run_virtually(run(steps, registry, timeout_s=0.2))
    assert statuses(result) == expected
    assert result.status == "failed"
    assert "late" not in result.context.data
    assert result.seconds < 0.21


async def test_a_thread_that_watches_for_its_end_is_not_abandoned(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "GRACE_S", 60.0)
    result = await run([{"handler": "polite", "timeout_s": 0.05}], registry)
    assert statuses(result) == {"0": "timed_out"}
    assert result.status == "failed"


def test_a_late_result_is_dropped_and_its_thread_starves_nobody(registry: Registry, gate: Gate) -> None:
    blocked = {"handler": "blocked", "timeout_s": 0.05}
    group = {
        "parallel": [blocked] * 40,
        "policy": "best_effort",
        "max_concurrency": "unlimited",
        "reducers": {"late": "append"},
    }

    async def run_and_release() -> RunResult:
        result = await run([group, "ok"], registry)
        gate.release(40)
        await asyncio.sleep(1)
        return result

    result = run_virtually(run_and_release())
    assert Counter(statuses(result).values()) == {"abandoned": 40, "succeeded": 2}
    assert "late" not in result.context.data


@pytest.mark.parametrize(
    ("answer", "attempts", "status"),
    [
        (lambda: (_ for _ in ()).throw(TransientError("t", retry_after_s=0)), 3, "failed"),
        (lambda: (_ for _ in ()).throw(FatalError("f")), 1, "failed"),
        (lambda: (_ for _ in ()).throw(ConnectionResetError("c")), 3, "failed"),
        (lambda: (_ for _ in ()).throw(TimeoutError("t")), 3, "failed"),
        (lambda: (_ for _ in ()).throw(ValueError("v")), 1, "failed"),
        (lambda: TransientFailure("t", retry_after_s=0), 3, "failed"),
        (lambda: FatalFailure("f"), 1, "failed"),
        (lambda: Success(), 1, "succeeded"),
    ],
)
async def test_only_what_may_pass_by_itself_is_tried_again(
    answer: Callable[[], Any], attempts: int, status: str
) -> None:
    made = Registry()

    @handler(registry=made)
    def answering(context: Context) -> Any:
        return answer()

    result = await run([{"handler": "answering", "retry": {"max_attempts": 3, "delay_s": 0}}], made)
    assert (result.outcomes[0].attempts, result.outcomes[0].status) == (attempts, status)


async def test_an_unknown_exception_is_told_in_the_seeds_words() -> None:
    made = Registry()

    @handler(registry=made)
    def careless() -> None:
        raise KeyError("title")

    result = await run(["careless"], made)
    error = result.outcomes[0].error
    assert error is not None
    assert (error.kind, error.message) == ("KeyError", "Handler 'careless' threw exception: 'title'")


@pytest.mark.parametrize(
    ("answer", "written"),
    [
        (3, {"work": 3}),
        (None, {}),
        (Success(), {}),
        (Success([1]), {"work": [1]}),
        ({"a": 1}, {"work": {"a": 1}}),
    ],
)
async def test_without_annotation_a_result_goes_to_the_field_of_the_handlers_name_if_there_is_one(
    answer: Any, written: dict[str, Any]
) -> None:
    made = Registry()

    @handler(registry=made)
    async def work():
        return answer

    result = await run(["work"], made)
    assert dict(result.context.data) == written


async def test_a_declared_result_is_written_also_if_it_is_none_and_dropped_if_that_is_declared() -> None:
    made = Registry()

    @handler(registry=made)
    async def found() -> int | None:
        return None

    @handler(registry=made, writes=())
    async def dropped() -> int:
        return 3

    result = await run([{"parallel": ["found", "dropped", "dropped"]}], made)
    assert dict(result.context.data) == {"found": None}


async def test_what_a_failed_attempt_wrote_is_gone() -> None:
    made = Registry()

    @handler(registry=made)
    def twice(context: Context, *, call: Call) -> None:
        context.data.setdefault("seen", []).append(call.attempt)
        if call.attempt == 1:
            raise TransientError("again", retry_after_s=0)

    result = await run([{"handler": "twice", "retry": {"max_attempts": 2}}], made)
    assert result.context.data["seen"] == [2]


async def test_the_cost_of_failed_attempts_counts() -> None:
    made = Registry()

    @handler(registry=made)
    async def paid(*, call: Call) -> None:
        call.report_cost(tokens=10)
        raise TransientError("again", retry_after_s=0)

    result = await run([{"handler": "paid", "retry": {"max_attempts": 3}}], made)
    assert result.cost == {"tokens": 30}


async def test_a_loop_goes_depth_first_and_keeps_only_what_is_collected() -> None:
    made, order = Registry(), list[str]()

    @handler(registry=made, writes="first")
    async def one(item: int) -> int:
        order.append(f"one {item}")
        await asyncio.sleep(0)
        return item * 10

    @handler(registry=made, writes="second")
    async def two(first: int) -> int:
        order.append(f"two {first // 10}")
        return first + 1

    loop = {"for_each": "numbers", "steps": ["one", "two"], "max_concurrency": 2, "collect": ["second"]}
    result = await run([loop], made, {"numbers": [1, 2, 3, 4, 5]})
    assert dict(result.context.data) == {"numbers": [1, 2, 3, 4, 5], "second": [11, 21, 31, 41, 51]}
    assert order.index("two 1") < order.index("one 5")
    assert [o.path for o in result.outcomes if o.kind == "item"] == [f"0[{i}]" for i in range(5)]


async def test_batches_tolerance_and_the_cap() -> None:
    made = Registry()

    @handler(registry=made, writes="size")
    async def measure(batch: Any) -> int:
        if 13 in batch:
            raise FatalError("unlucky")
        return len(batch)

    loop = {"for_each": "numbers", "as": "batch", "batch_size": 4, "steps": ["measure"], "collect": ["size"]}
    numbers = {"numbers": list(range(20))}
    tolerant = await run([{**loop, "tolerated_failure": "20%"}], made, numbers)
    assert (tolerant.status, tolerant.context.data["size"]) == ("partial", [4, 4, 4, None, 4])
    shorter = await run([{**loop, "tolerated_failure": "20%", "collect_missing": "leave_out"}], made, numbers)
    assert (shorter.status, shorter.context.data["size"]) == ("partial", [4, 4, 4, 4])
    strict = await run([{**loop, "max_concurrency": 1}], made, numbers)
    assert [o.status for o in strict.outcomes if o.kind == "item"] == ["succeeded"] * 3 + ["failed", "cancelled"]
    assert "exceeded_tolerance: 1 of 5 items failed" in strict.outcomes[0].reason
    capped = await run([{**loop, "max_items": 19}], made, numbers)
    assert "20 items, more than max_items: 19" in capped.outcomes[0].reason


async def test_switch_runs_the_first_case_that_holds_and_skips_the_others(registry: Registry) -> None:
    cases = [
        {"when": "n > 5", "steps": ["fatal"]},
        {"when": "n > 1", "steps": ["ok"]},
        {"when": "true", "steps": ["fatal"]},
    ]
    result = await run([{"switch": cases, "default": ["fatal"]}], registry, {"n": 3})
    assert statuses(result) == {
        "0": "succeeded",
        "0.0": "skipped",
        "0.1": "succeeded",
        "0.2": "skipped",
        "0.3": "skipped",
    }


async def test_a_condition_over_a_missing_field_fails_with_its_name(registry: Registry) -> None:
    result = await run([{"handler": "ok", "when": "chunk > 1"}], registry, {"chunks": 1})
    error = result.outcomes[0].error
    assert error is not None
    assert "no field named 'chunk'; did you mean 'chunks'" in error.message


async def test_steps_that_are_not_enabled_or_not_due_are_skipped_and_do_not_count(registry: Registry) -> None:
    branches = [{"handler": "fatal", "enabled": False}, {"handler": "fatal", "when": "1 > 2"}, "ok"]
    result = await run([{"parallel": branches}], registry)
    assert result.status == "succeeded"
    assert [statuses(result)[f"0.{i}"] for i in range(3)] == ["skipped", "skipped", "succeeded"]


async def test_fan_in_strategies_and_the_race() -> None:
    made = Registry()

    @handler(registry=made, writes="text", quality=len)
    async def say(*, text: str, wait: bool = False) -> str:
        if wait:
            await asyncio.Event().wait()
        return text

    def branch(text: str, wait: bool = False) -> dict:
        return {"handler": "say", "options": {"text": text, "wait": wait}, "writes": {"text": f"text_{text}"}}

    calm = [branch("aa"), branch("bbbb"), branch("c")]
    for strategy, value in [
        ("first_success", "aa"),
        ("best_quality", "bbbb"),
        ("combine_outputs", "aa\n\nbbbb\n\nc"),
        ("collect_all", {"success": True, "outputs": ["aa", "bbbb", "c"], "errors": []}),
    ]:
        result = await run([{"parallel": {"id": "voices", "branches": calm, "merge": strategy}}], made)
        assert result.context.data["voices"] == value
    race = {"id": "race", "branches": [branch("slow", wait=True), branch("fast")], "merge": "fastest_success"}
    raced = await run([{"parallel": race}], made)
    assert (raced.status, raced.context.data["race"]) == ("succeeded", "fast")
    assert statuses(raced) == {"0": "succeeded", "0.0": "cancelled", "0.1": "succeeded"}
    apart = await run(
        [
            {"parallel": {"id": "g", "branches": calm}},
            {"merge_results": "g", "strategy": "union", "options": {"key": "id"}, "output": "all"},
        ],
        made,
    )
    assert apart.context.data["all"] == ["a", "b", "c"]


async def test_a_split_deals_the_items_out() -> None:
    made = Registry()

    @handler(registry=made, writes="seen")
    async def look(numbers: list[int]) -> list[int]:
        return numbers

    branches = [{"handler": "look", "writes": {"seen": f"seen_{i}"}} for i in range(3)]
    group = {"parallel": branches, "split": {"strategy": "round_robin", "over": "numbers"}}
    result = await run([group], made, {"numbers": list(range(10))})
    assert [result.context.data[f"seen_{i}"] for i in range(3)] == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]
    assert result.context.data["numbers"] == list(range(10))


async def test_cancelling_a_run_stops_it_and_goes_on() -> None:
    made, started, ended = Registry(), asyncio.Event(), list[str]()

    @handler(registry=made)
    async def endless() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    running = asyncio.ensure_future(run([{"parallel": ["endless", "endless"]}, "endless"], made))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended == ["ended", "ended"]


@pytest.mark.parametrize("seed", range(scaled(15)))
async def test_one_outcome_for_everything_declared_whatever_happens(registry: Registry, seed: int) -> None:
    rng = random.Random(seed)

    def steps(level: int) -> list[Any]:
        return [step(level) for _ in range(rng.randint(1, 3))]

    def step(level: int) -> Any:
        if level and rng.random() < 0.6:
            policy = {
                "on_branch_failure": rng.choice(["cancel", "drain", "continue"]),
                "success_when": rng.choice(["all", "any", "always"]),
            }
            return {
                "parallel": [steps(level - 1) for _ in range(rng.randint(1, 4))],
                "policy": policy,
                "max_concurrency": rng.randint(1, 3),
            }
        return rng.choice(["ok", "ok", "fatal", "transient", {"handler": "forever", "timeout_s": 0.01}])

    tree = steps(3)
    result = await run(tree, registry)
    model = Pipeline.model_validate({"name": "test", "steps": tree})
    declared = [node.path for node in make_plan(model, registry=registry).nodes if outcome_kind(node) is not None]
    assert [outcome.path for outcome in result.outcomes] == declared
    # A step that had to succeed and did not never leaves a run that says it succeeded.
    if any(statuses(result)[str(i)] not in ("succeeded", "skipped") for i in range(len(tree))):
        assert result.status == "failed"


async def test_four_workers_take_about_a_quarter_of_one() -> None:
    made, probe = Registry(), Probe()

    @handler(registry=made, effects=())
    async def job() -> None:
        await probe.hold("job", 50)

    stage = [{"parallel": ["job"] * 4}]
    await run(stage, made, overrides=Overrides(max_concurrency=1, origin="--max-workers"))
    assert probe.most == 1
    await run(stage, made, overrides=Overrides(max_concurrency=4, origin="--max-workers"))
    assert probe.most == 4


async def test_a_sub_pipeline_keeps_its_parameters_limits_and_reducers() -> None:
    made, probe = Registry(), Probe()

    @handler(registry=made, writes="found")
    async def look(word: str) -> list[str]:
        await probe.hold(word, 3)
        return [word]

    inner = Pipeline.model_validate(
        {
            "name": "inner",
            "parameters": {"word": {"default": "none"}},
            "resources": {"desk": {"concurrency": 1}},
            "reducers": {"found": "append"},
            "steps": [{"parallel": [{"handler": "look", "uses": ["desk"]}] * 3}],
        }
    )
    outer = Pipeline.model_validate(
        {
            "name": "outer",
            "parameters": {"topic": {}},
            "steps": [{"pipeline": "inner", "parameters": {"word": "{{ topic | upper }}"}}],
        }
    )
    context = Context({"topic": "cats"})
    result = await run_plan(
        Prepared(make_plan(outer, registry=made, catalog={"inner": inner}, given=["topic"]), context)
    )
    assert result.status == "succeeded", result.errors
    assert dict(context.data) == {"topic": "cats", "found": ["CATS"] * 3}
    assert probe.most == 1
    assert [outcome.path for outcome in result.outcomes] == ["0", "0/0", "0/0.0", "0/0.1", "0/0.2"]


@pytest.mark.parametrize("reducer", ["namespaced", "append", "sum", "replace"])
async def test_reducers_are_for_branches_and_not_for_a_list_that_runs_as_a_graph(reducer: str) -> None:
    made = Registry()

    @handler(registry=made, writes="total")
    async def add(*, amount: int) -> int:
        return amount

    @handler(registry=made, writes="other")
    async def other(*, amount: int) -> int:
        return amount

    steps = [{"handler": name, "options": {"amount": i}} for i, name in enumerate(["add", "other", "add"])]
    contexts = []
    for mode in ("ordered", "dag"):
        result = await run(steps, made, mode=mode, reducers={"total": reducer})
        assert result.status == "succeeded"
        contexts.append(dict(result.context.data))
    assert contexts[0] == contexts[1] == {"total": 2, "other": 1}


async def test_what_waits_for_a_failure_however_far_back_never_starts(registry: Registry) -> None:
    branches = [
        {"handler": "fatal", "id": "a"},
        {"handler": "ok", "id": "b", "depends_on": ["a"]},
        {"handler": "ok", "id": "c", "depends_on": ["b"]},
        {"handler": "ok", "id": "d", "enabled": False},
        {"handler": "ok", "id": "e", "depends_on": ["d"]},
    ]
    result = await run([{"parallel": branches, "policy": "best_effort"}], registry)
    assert [outcome.status for outcome in result.outcomes[1:]] == [
        "failed",
        "skipped",
        "skipped",
        "skipped",
        "succeeded",
    ]


async def test_in_a_list_that_runs_as_a_graph_nothing_after_a_failure_begins() -> None:
    made, began = Registry(), list[str]()

    @handler(registry=made, effects=())
    async def work(*, name: str, turns: int = 0, fails: bool = False) -> None:
        began.append(name)
        for _ in range(turns):
            await asyncio.sleep(0)
        if fails:
            raise FatalError("broken")

    def step(name: str, **options: Any) -> dict[str, Any]:
        return {"handler": "work", "options": {"name": name, **options}}

    steps = [step("slow", turns=50), step("fails", fails=True), step("next", turns=9), step("last")]
    result = await run(steps, made, mode="dag", overrides=Overrides(default_max_concurrency=2))
    assert [outcome.status for outcome in result.outcomes] == ["succeeded", "failed", "cancelled", "cancelled"]
    assert began == ["slow", "fails"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda: object(), r"data\['out'\] is a builtins.object, which a context cannot hold"),
        (lambda: [lambda: 1], r"data\['out'\] is a builtins.function"),
        (lambda: "text", "a quality without meaning"),
    ],
)
async def test_a_result_that_cannot_be_kept_fails_its_step_and_nothing_else(answer: Any, message: str) -> None:
    made = Registry()

    def quality(result: Any) -> float:
        raise ValueError("a quality without meaning")

    @handler(registry=made, writes="out", quality=quality)
    async def odd() -> Any:
        return answer()

    @handler(registry=made, writes="fine")
    async def fine() -> int:
        return 1

    result = await run([{"parallel": ["odd", "fine"], "policy": "best_effort"}], made)
    assert [outcome.status for outcome in result.outcomes] == ["succeeded", "failed", "succeeded"]
    error = result.outcomes[1].error
    assert error is not None
    assert re.search(message, error.message)
    assert dict(result.context.data) == {"fine": 1}


async def test_a_handler_that_exits_ends_only_its_step() -> None:
    made = Registry()

    @handler(registry=made)
    def leaves() -> None:
        raise SystemExit(3)

    result = await run(["leaves"], made)
    error = result.outcomes[0].error
    assert error is not None
    assert error.message == "Handler 'leaves' threw exception: handler called sys.exit(3)"
