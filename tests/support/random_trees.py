"""Random pipelines with everything that a pipeline can declare, several at once; for the schedule fuzzer."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flows.model import Pipeline

CONDITIONS = ("items", "not items", "seed == 's'")
STRATEGIES = ("collect_all", "by_name", "first_success", "combine_outputs", "majority")
Step = dict[str, Any]


def random_tree(
    rng: random.Random, *, depth: int = 3, conditions: Sequence[str] = CONDITIONS, second_s: float = 1.0
) -> tuple[Pipeline, dict[str, Pipeline]]:
    """A pipeline with everything, and the pipelines that it calls.

    That is: every policy, timeouts of steps, groups, loops and pipelines, retries, races, splits, dependencies,
    tolerance, resources, merges of groups in every place, switches. A timeout or delay counts `second_s` per second.
    """
    maker = _TreeMaker(rng, conditions, second_s)
    steps, _ = maker.chain(depth, ["seed", "items"])
    return maker.pipeline("tree", steps), maker.catalog


class _TreeMaker:
    """Makes steps with names that nothing else has, so that branches never write one field."""

    def __init__(self, rng: random.Random, conditions: Sequence[str], second_s: float) -> None:
        self.rng, self.conditions, self.second_s = rng, conditions, second_s
        self.catalog: dict[str, Pipeline] = {}
        self._number = 0
        self._in_loop = False

    def name(self) -> str:
        self._number += 1
        return f"t{self._number - 1}"

    def maybe(self, share: float, key: str, choose: Callable[[], Any]) -> Step:
        return {key: choose()} if self.rng.random() < share else {}

    def seconds(self, *choices: float) -> float:
        return self.rng.choice(choices) * self.second_s

    def pipeline(self, name: str, steps: list[Step], **rest: Any) -> Pipeline:
        return Pipeline.model_validate(
            {
                "name": name,
                "steps": steps,
                "mode": self.rng.choice(["ordered", "ordered", "dag"]),
                "reducers": {"bag": "append"},
                "resources": {"scarce": {"concurrency": self.rng.randint(1, 2)}},
                "max_concurrency": self.rng.choice([None, None, 2, 3, "unlimited"]),
                **self.maybe(0.2, "timeout_s", lambda: self.seconds(5, 100)),
                **self.maybe(0.3, "retry", lambda: {"max_attempts": 2, "delay_s": self.seconds(1)}),
                **rest,
            }
        )

    def common(self) -> Step:
        conditions = [*self.conditions, *(["item != 'b'"] * 3 if self._in_loop else [])]
        return (
            self.maybe(0.15, "timeout_s", lambda: self.seconds(3, 10, 60))
            | self.maybe(0.12, "when", lambda: self.rng.choice(conditions))
            | self.maybe(0.04, "enabled", lambda: False)
        )

    def chain(self, level: int, there: Sequence[str]) -> tuple[list[Step], list[str]]:
        """Some steps in order, and the fields that they leave."""
        steps: list[Step] = []
        written: list[str] = []
        for _ in range(self.rng.randint(1, 3)):
            step, fields = self.step(level, [*there, *written])
            steps.append(step)
            written += fields
            if "parallel" in step and self.rng.random() < (0.8 if self._in_loop else 0.5):
                step.setdefault("id", self.name())
                if self._in_loop:
                    step |= self.maybe(0.4, "when", lambda: "item != 'b'")
                if self.rng.random() < 0.5:  # meanwhile other items may run
                    steps.append(self.leaf([*there, *written])[0])
                merge, fields = self.merge_results(step["id"])
                steps.append(merge)
                written += fields
        return steps, written

    def step(self, level: int, there: Sequence[str]) -> tuple[Step, list[str]]:
        kinds: list[Callable[[int, Sequence[str]], tuple[Step, list[str]]]] = [
            self.group,
            self.group,
            self.loop,
            self.switch,
            self.sub_pipeline,
            self.sequence,
        ]
        if not level or self.rng.random() < 0.15:
            return self.leaf(there)
        return self.rng.choice(kinds)(level, there)

    def leaf(self, there: Sequence[str]) -> tuple[Step, list[str]]:
        target = self.name()
        reads = {"first": self.rng.choice(there)} | self.maybe(0.5, "second", lambda: self.rng.choice(there))
        made: Step = {"handler": "mix", "reads": reads, "writes": {"out": target}, "options": {"salt": target}}
        if self.rng.random() < 0.3:
            made = {"handler": "drop", "reads": {"first": reads["first"]}, "options": {"salt": target}}
        retry = self.maybe(
            0.3,
            "retry",
            lambda: {
                "max_attempts": self.rng.randint(2, 3),
                "delay_s": self.seconds(0, 0.5, 2),
                **self.maybe(0.3, "attempt_timeout_s", lambda: self.seconds(5, 20)),
            },
        )
        made |= self.common() | self.maybe(0.3, "uses", lambda: ["scarce"]) | retry
        return made, [target] if made["handler"] == "mix" else []

    def policy(self) -> Step:
        rng = self.rng
        return {
            "on_branch_failure": rng.choice(["cancel", "drain", "continue"]),
            "success_when": rng.choice(["all", "any", "always", {"min": rng.randint(0, 3)}, {"ratio": 0.5}]),
            "merge_when_failed": rng.choice(["nothing", "successful"]),
            **self.maybe(0.2, "run_when_failed", lambda: "failed"),
        }

    def merge(self, *more: str) -> Step:
        return {"strategy": self.rng.choice([*STRATEGIES, *more]), "output": self.name()}

    def merge_results(self, group: str) -> tuple[Step, list[str]]:
        merge = self.merge()
        return {"id": self.name(), "merge_results": group, **merge, **self.common()}, [merge["output"]]

    def group(self, level: int, there: Sequence[str]) -> tuple[Step, list[str]]:
        branches: list[Step] = []
        written: list[str] = []
        for position in range(self.rng.randint(1, 4)):
            branch, fields = self.step(level - 1, there)
            branch["id"] = self.name()
            if position and self.rng.random() < 0.15:
                branch["depends_on"] = [branches[self.rng.randrange(position)]["id"]]
            branches.append(branch)
            written += fields
        merge = self.maybe(0.35, "merge", lambda: self.merge(*["fastest_success"] * 8))
        split = self.maybe(0.15, "split", lambda: {"strategy": "round_robin", "over": "items"})
        if merge:
            written.append(merge["merge"]["output"])
        made = {"parallel": branches, "max_concurrency": self.width(), "policy": self.policy()}
        return made | merge | split | self.common(), written

    def width(self) -> Any:
        return self.rng.choice([1, 1, 2, 3, "unlimited"])

    def loop(self, level: int, there: Sequence[str]) -> tuple[Step, list[str]]:
        outer, self._in_loop = self._in_loop, True
        steps, inside = self.chain(level - 1, [*there, "item"])
        self._in_loop = outer
        collect = {field: self.name() for field in inside if self.rng.random() < 0.6}
        made: Step = {
            "for_each": "items",
            "steps": steps,
            "max_concurrency": self.width(),
            "collect": collect,
            **self.maybe(0.3, "collect_missing", lambda: "leave_out"),
            **self.maybe(0.5, "tolerated_failure", self.tolerance),
            **self.maybe(0.2, "batch_size", lambda: 2),
            **self.common(),
        }
        return made, list(collect.values())

    def tolerance(self) -> Any:
        choice: Any = self.rng.choice([0, 1, 0.5, 1.0, {"count": 1, "run_when_failed": "failed"}])
        return choice

    def switch(self, level: int, there: Sequence[str]) -> tuple[Step, list[str]]:
        made = [self.chain(level - 1, there) for _ in range(3)]
        cases = [{"when": self.rng.choice(self.conditions), "steps": steps} for steps, _ in made[:2]]
        default = self.maybe(0.5, "default", lambda: made[2][0])
        fields = [field for _, fields in (made if default else made[:2]) for field in fields]
        return {"switch": cases, **default, **self.common()}, fields

    def sub_pipeline(self, level: int, there: Sequence[str]) -> tuple[Step, list[str]]:
        name = f"inner_{self.name()}"
        outer, self._in_loop = self._in_loop, False
        steps, fields = self.chain(level - 1, ["seed", "items", "flavour"])
        given: Mapping[str, str] = {"flavour": "{{ item[0] }}" if outer else "{{ seed }}"}
        self._in_loop = outer
        parameters = {"flavour": {"type": "text", "default": "plain"}}
        self.catalog[name] = self.pipeline(name, steps, parameters=parameters)
        return {"pipeline": name, **self.maybe(0.6, "parameters", lambda: given), **self.common()}, fields

    def sequence(self, level: int, there: Sequence[str]) -> tuple[Step, list[str]]:
        steps, fields = self.chain(level - 1, there)
        return {"type": "sequential", "steps": steps, **self.common()}, fields
