"""Random pipelines that can run, and handlers whose speed the test chooses: for properties of the engine."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

from flows.author import Registry, handler
from flows.model import Pipeline
from flows.state import fingerprint


def mixing_registry(pauses: Callable[[], int]) -> Registry:
    """One handler, `mix`, whose result depends on all it reads; it gives way to others `pauses()` times."""
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


CONDITIONS = ("items", "not items", "seed == 's'")


def random_tree(
    rng: random.Random, *, depth: int = 3, conditions: Sequence[str] = CONDITIONS
) -> tuple[Pipeline, Pipeline]:
    """A pipeline with everything: policies, timeouts, retries, races, splits, dependencies, tolerance, resources."""
    names = iter(f"t{number}" for number in range(10_000))
    inner = random_pipeline(random.Random(rng.random()), depth=1).model_dump(by_alias=True, exclude_unset=True)

    used: list[str] = []

    def maybe(share: float, key: str, choose: Callable[[], Any]) -> dict[str, Any]:
        return {key: choose()} if rng.random() < share else {}

    def leaf() -> dict[str, Any]:
        target = next(names)
        reads = {"first": rng.choice(["seed", "items"])}
        made = (
            {"handler": "drop", "reads": reads, "options": {"salt": target}}
            if rng.random() < 0.3
            else {"handler": "mix", "reads": reads, "writes": {"out": target}, "options": {"salt": target}}
        )
        return (
            made
            | common()
            | maybe(0.3, "uses", lambda: ["scarce"])
            | maybe(
                0.3,
                "retry",
                lambda: {
                    "max_attempts": rng.randint(2, 3),
                    "delay_s": rng.choice([0, 0.5, 2]),
                    **maybe(0.3, "attempt_timeout_s", lambda: rng.choice([5, 20])),
                },
            )
        )

    def common() -> dict[str, Any]:
        return (
            maybe(0.15, "timeout_s", lambda: rng.choice([3, 10, 60]))
            | maybe(0.1, "when", lambda: rng.choice(conditions))
            | maybe(0.04, "enabled", lambda: False)
        )

    def policy() -> dict[str, Any]:
        return {
            "on_branch_failure": rng.choice(["cancel", "drain", "continue"]),
            "success_when": rng.choice(["all", "any", "always", {"min": rng.randint(0, 3)}, {"ratio": 0.5}]),
            "merge_when_failed": rng.choice(["nothing", "successful"]),
        }

    def step(level: int) -> dict[str, Any]:
        kind = rng.choice(["leaf", "parallel", "parallel", "loop", "switch", "pipeline", "list"]) if level else "leaf"
        width = rng.choice([1, 1, 2, 3, "unlimited"])
        if kind == "parallel":
            branches = [step(level - 1) for _ in range(rng.randint(1, 4))]
            for position, branch in enumerate(branches):
                branch["id"] = next(names)
                if position and rng.random() < 0.15:
                    branch["depends_on"] = [branches[rng.randrange(position)]["id"]]
            extra = maybe(0.15, "split", lambda: {"strategy": "round_robin", "over": "items"}) | maybe(
                0.25,
                "merge",
                lambda: {
                    "strategy": rng.choice(["collect_all", "first_success", "fastest_success"]),
                    "output": next(names),
                },
            )
            return {"parallel": branches, "max_concurrency": width, "policy": policy(), **extra, **common()}
        if kind == "loop":
            return {
                "for_each": "items",
                "steps": chain(level - 1),
                "max_concurrency": width,
                **maybe(0.3, "tolerated_failure", lambda: rng.choice([0, 1, 0.5])),
                **maybe(0.2, "batch_size", lambda: 2),
                **common(),
            }
        if kind == "switch":
            cases = [{"when": rng.choice(["items", "not items"]), "steps": chain(level - 1)} for _ in range(2)]
            return {"switch": cases, **maybe(0.5, "default", lambda: chain(level - 1)), **common()}
        if kind == "pipeline" and not used:
            used.append("inner")  # twice side by side, on different shares of a split, it would conflict with itself
            return {"pipeline": "inner", **common()}
        if kind == "list":
            return {"type": "sequential", "steps": chain(level - 1), **common()}
        return leaf()

    def chain(level: int) -> list[dict[str, Any]]:
        return [step(level) for _ in range(rng.randint(1, 3))]

    return Pipeline.model_validate(
        {
            "name": "tree",
            "steps": chain(depth),
            "mode": rng.choice(["ordered", "ordered", "dag"]),
            "reducers": {"bag": "append"},
            "resources": {"scarce": {"concurrency": rng.randint(1, 2)}},
            "max_concurrency": rng.choice([None, None, 2, 3, "unlimited"]),
            **maybe(0.2, "timeout_s", lambda: rng.choice([5, 100])),
            **maybe(0.3, "retry", lambda: {"max_attempts": 2, "delay_s": 1}),
        }
    ), Pipeline.model_validate({**inner, "name": "inner"})
