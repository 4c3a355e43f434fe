"""The printed progress of a run: bars on a terminal, otherwise lines, nothing if quiet."""

import io
import re
from typing import Any

import pytest
from rich.console import Console

from deployments.screen import show_progress
from flows.author import Registry, handler
from flows.engine import Prepared, run_plan
from flows.errors import FatalError
from flows.model import Pipeline
from flows.planning import make_plan
from flows.state import Context

PIPELINE = Pipeline.model_validate(
    {
        "name": "numbers",
        "steps": ["count", {"for_each": "numbers", "steps": ["check"], "tolerated_failure": 1, "max_concurrency": 1}],
    }
)
REGISTRY = Registry()


@handler(registry=REGISTRY, writes="numbers")
def count() -> list[int]:
    return [0, 1, 2]


@handler(registry=REGISTRY, writes="checked")
def check(item: int) -> int:
    if item == 1:
        raise FatalError("one is not a number")
    return item


async def printed(*, terminal: bool, quiet: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100, color_system=None)
    with show_progress(console, quiet=quiet) as observer:
        await run_plan(Prepared(make_plan(PIPELINE, registry=REGISTRY), Context({}), observer))
    return out.getvalue()


async def test_elsewhere_a_line_says_how_each_step_ended() -> None:
    lines = [re.sub(r"\d+\.\d+ s", "… s", line.strip()) for line in (await printed(terminal=False)).splitlines()]
    assert re.fullmatch(r"numbers: run .* started, 2 steps", lines[0])
    assert lines[1:] == [
        "… s  0.count succeeded in … s",
        "… s  1.for_each: 3 items or batches",
        "… s  1.0.check[0] succeeded in … s",
        "… s  1.0.check[1] failed in … s: one is not a number",
        "… s  1.0.check[2] succeeded in … s",
    ]


async def test_on_a_terminal_the_bar_of_a_step_counts_its_items_and_its_troubles() -> None:
    last = (await printed(terminal=True)).splitlines()[-2]
    assert re.search(r"check.* 3/3 1 failed", last)


@pytest.mark.parametrize("terminal", [True, False])
async def test_quiet_prints_nothing(terminal: bool) -> None:
    assert await printed(terminal=terminal, quiet=True) == ""


@pytest.mark.parametrize(
    ("status", "sign"), [("cancelled", "–"), ("skipped", "–"), ("failed", "✗"), ("succeeded", "✓")]
)
async def test_only_a_step_that_succeeded_gets_a_tick(status: str, sign: str) -> None:
    registry, out = Registry(), io.StringIO()

    @handler(registry=registry)
    def first() -> None:
        if status != "succeeded":
            raise FatalError("broken")

    @handler(registry=registry)
    def second() -> None: ...

    # A drained group cancels the branch that has not begun, a list skips the step after the failed one.
    steps: dict[str, list[Any]] = {
        "cancelled": [
            {"parallel": ["first", "second"], "max_concurrency": 1, "policy": {"on_branch_failure": "drain"}}
        ],
        "skipped": ["first", "second"],
        "failed": ["first"],
        "succeeded": ["first"],
    }
    plan = make_plan(Pipeline.model_validate({"name": "p", "steps": steps[status]}), registry=registry)
    console = Console(file=out, force_terminal=True, width=100, color_system=None)
    with show_progress(console) as observer:
        await run_plan(Prepared(plan, Context({}), observer))
    shown = "second" if status in ("cancelled", "skipped") else "first"
    last = [line for line in out.getvalue().splitlines() if shown in line][-1]
    assert last.strip("\x1b[0123456789;?hlAKm ").startswith(sign), last
