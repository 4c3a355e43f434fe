"""Policies: which branches continue after a failure, how the group ends, and which changes stay."""

import asyncio
from typing import Any

import pytest

from flows.author import Registry, handler
from flows.errors import FatalError
from flows.planning import Overrides
from tests.support.engine_runs import run, statuses


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
