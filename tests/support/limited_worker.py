"""A process of its own for tests of shared limits: one run of a pipeline whose calls note when they start and end.

Arguments: the run store's URL, the file of notes, seconds of a window, BRAID_RESOURCES, how many calls (not more than
per_minute: the window of the process's own count is a real minute), and how many seconds each takes.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from flows.author import Registry, handler
from flows.engine import Prepared
from flows.model import Pipeline, Resource
from flows.planning import Overrides, make_plan
from flows.run_store import DatabaseRates
from flows.state import Context


def main(url: str, notes: str, window_s: str, resources: str, calls: str, takes_s: str = "0.2") -> None:
    registry = Registry()

    def note(what: str) -> None:
        with Path(notes).open("a") as file:  # one short line appended is one write
            file.write(f"{time.time()} {what}\n")

    @handler(registry=registry, effects=())
    async def ask() -> None:
        note("start")
        await asyncio.sleep(float(takes_s))
        note("end")

    declared: dict[str, Any] = json.loads(resources)
    pipeline = Pipeline.model_validate(
        {
            "name": "limited",
            "max_concurrency": "unlimited",
            "steps": [{"parallel": [{"handler": "ask", "uses": list(declared)}] * int(calls)}],
        }
    )
    known = {name: Resource.model_validate(one) for name, one in declared.items()}
    plan = make_plan(pipeline, registry=registry, given=(), overrides=Overrides(resources=known))
    from flows.translator import run_as_flow

    rates = DatabaseRates(url, window_s=float(window_s), slack_s=0.3)
    result = run_as_flow(pipeline, {}, lambda _: Prepared(plan, Context({}), rates=rates))
    sys.stdout.write(f"{result.status} {[outcome.error for outcome in result.errors]}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
