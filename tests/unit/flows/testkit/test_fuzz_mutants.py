"""The oracles can fail: each fault planted in the engine is found by the random trees, without a pipeline made for it."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from flows.engine import engine as engine_module
from flows.engine import groups, loops, run_state, verdicts, walk
from flows.engine.verdicts import Verdict
from flows.planning import FanIn, make_plan
from flows.state import Context
from flows.testkit import Faults, Schedule, broken_promises, explore, trace_in_threads
from tests.support.random_pipelines import mixing_registry
from tests.support.random_trees import random_tree

pytestmark = pytest.mark.slow  # hundreds of runs before a planted fault is found

START = {"seed": "s", "items": ["a", "b", "c"]}
MOST_TREES = 150
Plant = Callable[[pytest.MonkeyPatch], None]


def first_report(*, trees: int = MOST_TREES, schedules: int = 4) -> str:
    """The report of the first random tree in which a promise is broken; empty if there is none."""
    for number in range(trees):
        pipeline, catalog = random_tree(random.Random(number))
        plan = make_plan(pipeline, registry=mixing_registry(lambda: 0), catalog=catalog, given=START)
        # Shrinking is tested elsewhere, and takes longer than finding.
        explored = explore(plan, lambda: Context(START), schedules=schedules, faults=Faults(), shrink=False)
        if not explored.ok:
            return str(explored)
    return ""


def items_share_their_groups(patch: pytest.MonkeyPatch) -> None:
    scope_of = loops._Items._scope  # pyright: ignore[reportPrivateUsage]
    patch.setattr(
        loops._Items,  # pyright: ignore[reportPrivateUsage]
        "_scope",
        lambda self, position, key="": replace(scope_of(self, position, key), groups=self.scope.groups),
    )


def a_failed_branch_is_merged(patch: pytest.MonkeyPatch) -> None:
    judge = verdicts.PlainGroup.judge

    def judged(self: Any, results: Sequence[Any], *, time_is_up: bool) -> Verdict:
        verdict = judge(self, results, time_is_up=time_is_up)
        return replace(verdict, merged=range(len(results))) if verdict.merged else verdict

    patch.setattr(verdicts.PlainGroup, "judge", judged)


def collected_values_are_shifted(patch: pytest.MonkeyPatch) -> None:
    conclude = loops._Items.conclude  # pyright: ignore[reportPrivateUsage]

    def shifted(self: Any, state: Any) -> Any:
        self.collected = [*self.collected[1:], *self.collected[:1]]
        return conclude(self, state)

    patch.setattr(loops._Items, "conclude", shifted)  # pyright: ignore[reportPrivateUsage]


def shares_of_a_split_are_mixed_up(patch: pytest.MonkeyPatch) -> None:
    split = groups.split_items
    patch.setattr(groups, "split_items", lambda *given: split(*given)[::-1])


def a_race_merges_nothing(patch: pytest.MonkeyPatch) -> None:
    judge = verdicts.Race.judge
    patch.setattr(
        verdicts.Race, "judge", lambda *given, time_is_up: replace(judge(*given, time_is_up=time_is_up), merged=())
    )


def a_race_has_several_winners(patch: pytest.MonkeyPatch) -> None:
    judge = verdicts.Race.judge

    def judged(self: Any, results: Sequence[Any], *, time_is_up: bool) -> Verdict:
        verdict = judge(self, results, time_is_up=time_is_up)
        won = [position for position, result in enumerate(results) if result.status == "succeeded"]
        return verdict if verdict.failure else replace(verdict, merged=won)

    patch.setattr(verdicts.Race, "judge", judged)


def merge_when_failed_is_ignored(patch: pytest.MonkeyPatch) -> None:
    judge = verdicts.PlainGroup.judge

    def judged(self: Any, results: Sequence[Any], *, time_is_up: bool) -> Verdict:
        policy = self.group.policy.model_copy(update={"merge_when_failed": "successful"})
        return judge(replace(self, group=replace(self.group, policy=policy)), results, time_is_up=time_is_up)

    patch.setattr(verdicts.PlainGroup, "judge", judged)


def time_is_never_up(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(run_state.Scope, "time_is_up", False)


def run_when_failed_is_ignored(patch: pytest.MonkeyPatch) -> None:
    status_of = engine_module._run_status  # pyright: ignore[reportPrivateUsage]

    def lenient(result: Any, state: Any) -> Any:
        state.fails_run.clear()
        return status_of(result, state)

    patch.setattr(engine_module, "_run_status", lenient)


def a_merge_takes_what_it_does_not_find(patch: pytest.MonkeyPatch) -> None:
    fan_in = walk._fan_in  # pyright: ignore[reportPrivateUsage]

    async def forgiving(node: FanIn, context: Context, scope: Any) -> Any:
        if node.group is not None:
            scope.groups.setdefault(node.group, [])
        return await fan_in(node, context, scope)

    patch.setattr(walk, "_fan_in", forgiving)


def a_tolerated_item_too_many(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        loops, "Tolerance", lambda: type("Lenient", (), {"exceeded": lambda self, failed, total: failed > 1})()
    )


@pytest.mark.parametrize(
    ("plant", "found"),
    [
        (items_share_their_groups, "but by what it merges it has failed"),
        (a_failed_branch_is_merged, "it must be unwritten"),
        (collected_values_are_shifted, r"it must be \["),
        (shares_of_a_split_are_mixed_up, "saw another"),
        (a_race_merges_nothing, "saw another|it must be"),
        (a_race_has_several_winners, "saw another|it must be"),
        (merge_when_failed_is_ignored, "saw another|it must be unwritten"),
        (time_is_never_up, "is failed; it can only be timed_out"),
        (run_when_failed_is_ignored, "but it failed: a required step did not succeed"),
        (a_merge_takes_what_it_does_not_find, "but by what it merges it has failed"),
        (a_tolerated_item_too_many, "it can only be failed"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_the_fuzzer_finds_what_is_broken(plant: Plant, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    assert re.search(found, first_report())


def test_the_same_checks_hold_a_run_in_threads_to_account(monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> list[str]:
        complaints: list[str] = []
        for number in range(20):
            pipeline, catalog = random_tree(random.Random(number), second_s=60.0)
            plan = make_plan(pipeline, registry=mixing_registry(lambda: 0), catalog=catalog, given=START)
            complaints += broken_promises(trace_in_threads(plan, Context(START), Schedule(number, tick_s=0.0)))
        return complaints

    assert found() == []
    collected_values_are_shifted(monkeypatch)
    assert any("it must be [" in text for text in found())
