"""The tables of docs/failure.md, and pipelines that act them out: four branches, of which b fails in a chosen way."""

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flows.author import Registry, handler
from flows.engine import Event, StepFinished
from flows.errors import FatalError, TransientError
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "failure.md"
Row = Mapping[str, str]


def tables(heading: str) -> list[Row]:
    """The rows of the table under a heading of the page, by column."""
    lines = PAGE.read_text(encoding="utf-8").split(f"{heading}\n", 1)[1].splitlines()
    lines = [line for line in _until_heading(lines) if line.startswith("|")]
    head, _, *body = [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines]
    assert all(len(row) == len(head) for row in body), heading
    return [dict(zip(head, row, strict=True)) for row in body]


def _until_heading(lines: list[str]) -> list[str]:
    end = next((i for i, line in enumerate(lines) if line.startswith("#")), len(lines))
    return lines[:end]


WAYS: Mapping[str, Row] = {row["b …"]: row for row in tables("## How a branch can fail")}
ANSWERS = ("continue", "drain", "cancel")


def policy(answer: str, row: Row) -> dict[str, Any]:
    rule: Any = row["success_when"]
    if ": " in rule:
        name, number = rule.split(": ")
        rule = {name: float(number) if name == "ratio" else int(number)}
    return {"on_branch_failure": answer, "success_when": rule, "merge_when_failed": row["merge_when_failed"]}


@dataclass
class Stage:
    """Lets branches wait for each other by events, for several groups of four at once; `name` identifies the group."""

    started: dict[str, asyncio.Event] = field(default_factory=dict)
    released: threading.Event = field(default_factory=threading.Event)

    def event(self, name: str) -> asyncio.Event:
        return self.started.setdefault(name, asyncio.Event())

    def __call__(self, event: Event) -> None:
        if isinstance(event, StepFinished):
            self.event(f"{event.outcome.id} ended").set()


def registry(stage: Stage) -> Registry:
    made = Registry()

    @handler(registry=made, writes="out", effects=())
    async def quick(*, value: str) -> str:
        return value

    @handler(registry=made, writes="out", effects=())
    async def lasting(*, value: str, name: str) -> str:
        """Runs until b has ended, or for ever if it is to be stopped."""
        stage.event(f"{name} runs").set()
        await stage.event(f"{name}b ended").wait()
        if stage.event(f"{name} never ends").is_set():
            await asyncio.Event().wait()
        return value

    @handler(registry=made, effects=())
    async def wait_for(*, name: str) -> None:
        await stage.event(f"{name} runs").wait()

    @handler(registry=made, writes="out")
    async def fatal() -> str:
        raise FatalError("broken input")

    @handler(registry=made, writes="out")
    async def exhausted() -> str:
        raise TransientError("busy", retry_after_s=0)

    @handler(registry=made, writes="out")
    async def endless() -> str:
        await asyncio.Event().wait()
        return "late"

    @handler(registry=made, writes="out")
    def blocked() -> str:
        stage.released.wait(60)
        return "late"

    return made


def failing(way: str, *, timeout_s: float) -> dict[str, Any]:
    """The step that makes b fail."""
    match way:
        case "fatal":
            return {"handler": "fatal"}
        case "exhausted":
            return {"handler": "exhausted"}
        case "timed out":
            return {"handler": "endless", "timeout_s": timeout_s}
        case "blocked":
            return {"handler": "blocked", "timeout_s": timeout_s}
        case "no turn":
            return {"handler": "endless", "timeout_s": timeout_s, "uses": ["{name}desk"]}
        case "no condition":
            return {"handler": "endless", "when": "no_such_field > 1"}
        case _:
            raise AssertionError(way)


def four_branches(
    stage: Stage, name: str, answer: str, row: Row, way: str, *, timeout_s: float = 0.02
) -> dict[str, Any]:
    """The group of a row: a ends at once; then c starts, and only then b fails; d waits for a slot."""
    if row["c"] == "cancelled":
        stage.event(f"{name} never ends").set()
    bad = {**failing(way, timeout_s=timeout_s), "id": f"{name}bad", "writes": {"out": f"{name}b"}}
    c = {"handler": "lasting", "id": f"{name}c", "options": {"value": "c", "name": name}, "writes": {"out": f"{name}c"}}
    if way == "no condition":
        bad.pop("writes")
    if way == "no turn":
        bad["uses"] = c["uses"] = [f"{name}desk"]
    return {
        "id": name,
        "max_concurrency": 2,
        "policy": policy(answer, row),
        "parallel": [
            _quick(name, "a"),
            {"id": f"{name}b", "steps": [{"handler": "wait_for", "id": f"{name}wait", "options": {"name": name}}, bad]},
            c,
            _quick(name, "d"),
        ],
    }


def skipping(name: str, answer: str, row: Row) -> dict[str, Any]:
    """The group of a row in which branches are skipped."""
    group = {"id": name, "policy": policy(answer, row), "parallel": [_quick(name, branch) for branch in "abcd"]}
    for position, branch in enumerate(group["parallel"]):
        if row["skipped"] == "all four" or position == 1:
            branch |= {"enabled": False} if position % 2 else {"when": "1 > 2"}
    return group


def _quick(name: str, branch: str) -> dict[str, Any]:
    return {
        "handler": "quick",
        "id": f"{name}{branch}",
        "options": {"value": branch},
        "writes": {"out": f"{name}{branch}"},
    }


def merged(row: Row) -> list[str]:
    return [] if row["merged"] == "nothing" else row["merged"].split(", ")
