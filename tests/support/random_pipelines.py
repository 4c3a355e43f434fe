"""Random pipelines that can run, and handlers whose speed the test chooses: for properties of the engine."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

from flows.author import Registry, handler
from flows.model import Pipeline
from flows.state import fingerprint


def mixing_registry(pauses: Callable[[], int]) -> Registry:
    """One handler, `mix`, whose result depends on all it reads; it yields to other tasks `pauses()` times."""
    made = Registry()

    @handler(registry=made, writes="out")
    async def mix(first: Any = None, second: Any = None, *, salt: str = "") -> str:
        for _ in range(pauses()):
            await asyncio.sleep(0)
        return fingerprint([first, second, salt])[:12]

    @handler(registry=made, writes={"bag": "append"}, effects=())
    async def drop(first: Any = None, *, salt: str = "") -> list[str]:
        for _ in range(pauses()):
            await asyncio.sleep(0)
        return [fingerprint([first, salt])[:12]]

    return made


def random_pipeline(rng: random.Random, *, depth: int = 2) -> Pipeline:
    """Chains, groups, loops and switches over `mix` and `drop`; parallel branches never write one field."""
    names = iter(f"f{number}" for number in range(10_000))

    def leaf(there: list[str]) -> tuple[dict[str, Any], list[str]]:
        reads = {slot: rng.choice(there) for slot in ("first", "second") if there and rng.random() < 0.8}
        if rng.random() < 0.25:
            reads.pop("second", None)
            return {"handler": "drop", "reads": reads, "options": {"salt": next(names)}}, []
        target = next(names)
        return {"handler": "mix", "reads": reads, "writes": {"out": target}, "options": {"salt": target}}, [target]

    def chain(there: list[str], level: int, length: int) -> tuple[list[Any], list[str]]:
        steps: list[Any] = []
        written: list[str] = []
        for _ in range(length):
            step, fields = one([*there, *written], level)
            steps.append(step)
            written += fields
        return steps, written

    def one(there: list[str], level: int) -> tuple[dict[str, Any], list[str]]:
        kind = rng.choice(["leaf", "leaf", "parallel", "loop", "switch"]) if level else "leaf"
        if kind == "parallel":
            made = [chain(there, level - 1, rng.randint(1, 2)) for _ in range(rng.randint(1, 4))]
            group = {"parallel": [steps for steps, _ in made], "max_concurrency": rng.choice([1, 2, "unlimited"])}
            return group, [field for _, fields in made for field in fields]
        if kind == "loop":
            steps, fields = chain([*there, "item"], level - 1, rng.randint(1, 2))
            target = next(names)
            collect = {fields[0]: target} if fields else {}
            return {"for_each": "items", "steps": steps, "collect": collect, "max_concurrency": rng.randint(1, 3)}, (
                [target] if fields else []
            )
        if kind == "switch":
            steps, _ = chain(there, level - 1, 1)
            return {"switch": [{"when": rng.choice(["items", "not items"]), "steps": steps}]}, []
        return leaf(there)

    steps, _ = chain(["seed"], depth, rng.randint(2, 4))
    return Pipeline.model_validate(
        {
            "name": "random",
            "steps": steps,
            "reducers": {"bag": "append"},
            "max_concurrency": rng.choice([None, 2, "unlimited"]),
        }
    )


def random_list(rng: random.Random, *, length: int = 8, fields: int = 4) -> dict[str, Any]:
    """A flat list of steps that read and overwrite the same few fields, as data for a `Pipeline`."""
    steps: list[dict[str, Any]] = []
    for position in range(length):
        reads = {slot: f"f{rng.randrange(fields)}" for slot in ("first", "second") if rng.random() < 0.7}
        steps.append(
            {
                "handler": "mix",
                "reads": reads,
                "writes": {"out": f"f{rng.randrange(fields)}"},
                "options": {"salt": str(position)},
            }
        )
    return {"name": "list", "steps": steps}
