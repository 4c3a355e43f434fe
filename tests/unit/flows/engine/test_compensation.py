"""A failed all-or-nothing group undoes the outside effects of its branches, latest first; other groups do not."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from flows.author import Call, Registry, RunResult, handler
from flows.engine import FinishedCall, Journal, Prepared, run_plan
from flows.engine.journal import MemoryJournal
from flows.errors import FatalError, TransientError
from flows.model import Pipeline
from flows.planning import make_plan
from flows.state import Context

Log = list[tuple[str, ...]]


@pytest.fixture
def log() -> Log:
    return []


@pytest.fixture
def registry(log: Log) -> Registry:
    made = Registry()

    def take_back(record: str, result: str, *, name: str, call: Call) -> None:
        call.report_cost(calls=1)
        log.append(("undo", name, record, result))
        if name == "flaky" and call.attempt == 1:
            raise TransientError("once more")
        if name == "stuck":
            raise FatalError("cannot be taken back")

    @handler(registry=made, writes=(), effects="stores", undo=take_back)
    async def store(record: str, *, name: str, turns: int = 0) -> str:
        for _ in range(turns):
            await asyncio.sleep(0)
        log.append(("store", name))
        return f"{record} in {name}"

    @handler(registry=made, effects="stores")
    async def broken(*, turns: int = 20) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        raise FatalError("disk full")

    @handler(registry=made, writes="record")
    def rewrite() -> str:
        return "another"

    return made


def stores(*names: str) -> list[Any]:
    return [
        {
            "handler": "store",
            "id": name,
            "options": {"name": name, "turns": turns},
            "retry": {"max_attempts": 2, "delay_s": 0},
        }
        for turns, name in enumerate(names)
    ]


def run(steps: Any, registry: Registry, journal: Journal | None = None) -> RunResult:
    pipeline = Pipeline.model_validate({"name": "p", "steps": steps})
    plan = make_plan(pipeline, registry=registry)
    return asyncio.run(run_plan(Prepared(plan, Context({"record": "r1"}), journal=journal or Journal())))


@pytest.mark.parametrize(
    ("policy", "undone"),
    [
        ("all_or_nothing", True),
        ("fail_fast", True),
        ("best_effort", False),
        ({"minimum_threshold": 3}, False),
        ({"success_when": "all", "merge_when_failed": "successful"}, False),
    ],
    ids=str,
)
def test_only_a_group_that_leaves_nothing_behind_is_undone(
    registry: Registry, log: Log, policy: Any, undone: bool
) -> None:
    result = run([{"parallel": [*stores("one", "two"), "broken"], "policy": policy}], registry)
    assert log[:2] == [("store", "one"), ("store", "two")]
    expected = [("undo", "two", "r1", "r1 in two"), ("undo", "one", "r1", "r1 in one")]
    assert log[2:] == (expected if undone else [])
    reasons = {outcome.id: outcome.reason for outcome in result.outcomes}
    assert ("undone, because" in reasons["one"]) is undone


def test_an_undo_sees_what_the_step_saw_and_its_cost_counts(registry: Registry, log: Log) -> None:
    steps = [{"parallel": [[*stores("one"), "rewrite"], "broken"], "policy": "all_or_nothing"}]
    result = run(steps, registry)
    assert log[-1] == ("undo", "one", "r1", "r1 in one")
    assert result.cost == {"calls": 1}


def test_an_inner_group_that_succeeded_is_undone_with_the_outer_one(registry: Registry, log: Log) -> None:
    run([{"parallel": [[{"parallel": stores("one", "two")}], "broken"]}], registry)
    assert log[2:] == [("undo", "two", "r1", "r1 in two"), ("undo", "one", "r1", "r1 in one")]


def test_an_undo_is_tried_again_and_one_that_fails_is_named(registry: Registry, log: Log) -> None:
    journal = MemoryJournal()
    result = run([{"parallel": [*stores("flaky", "stuck"), "broken"]}], registry, journal)
    assert [entry[1] for entry in log if entry[0] == "undo"] == ["stuck", "flaky", "flaky"]
    reasons = {outcome.id: outcome.reason for outcome in result.outcomes}
    assert reasons["stuck"].endswith("failed, and undoing this step failed too: cannot be taken back")
    assert "undone" in reasons["flaky"]
    # A call that could not be undone is still recorded, as half undone.
    assert {key: kept.undoing for key, kept in journal.kept.items()} == {"stuck": True}


def test_what_was_undone_is_done_again_by_a_resumed_run(registry: Registry, log: Log) -> None:
    journal = MemoryJournal()
    run([{"parallel": [*stores("one", "two"), {"handler": "broken", "id": "third"}]}], registry, journal)
    log.clear()
    mended = {"handler": "store", "id": "third", "options": {"name": "third"}}
    result = run([{"parallel": [*stores("one", "two"), mended]}], registry, journal)
    assert (result.status, sorted(log)) == ("succeeded", [("store", "one"), ("store", "third"), ("store", "two")])


class Died(RuntimeError):
    """Simulates the end of the process."""


class DiesWhileUndoing(MemoryJournal):
    """A journal whose process ends right before or right after an undo."""

    def __init__(self, when: str) -> None:
        super().__init__()
        self._when = when

    async def keep(self, key: str, kept: FinishedCall) -> None:
        await super().keep(key, kept)
        if kept.undoing and self._when == "before":
            raise Died

    async def drop(self, key: str) -> None:
        if self._when == "after":
            raise Died
        await super().drop(key)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_process_that_dies_while_undoing_finishes_it_when_resumed(
    registry: Registry, log: Log, tmp_path: Path, when: str
) -> None:
    dying = DiesWhileUndoing(when)
    steps = [{"parallel": [*stores("one", "two"), {"handler": "broken", "id": "third"}]}]
    with pytest.raises(Died):
        run(steps, registry, dying)
    assert [entry[1] for entry in log if entry[0] == "undo"] == ([] if when == "before" else ["two"])
    log.clear()
    journal = MemoryJournal()
    journal.kept = dying.kept
    run(steps, registry, journal)
    # "two" is in an unknown state: it is undone before it is done again; "one" is as it was, and taken over.
    assert log[:2] == [("undo", "two", "r1", "r1 in two"), ("store", "two")]
    assert [entry[1] for entry in log[2:]] == ["two", "one"]
    assert journal.kept == {}
