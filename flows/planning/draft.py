"""A plan while it is being made: the values and checks that all kinds of steps share."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from flows.author import HandlerSpec, Registry
from flows.errors import OrchestrationError, Problem, suggest
from flows.model import (
    EffectiveResource,
    Parallel,
    Pipeline,
    Policy,
    Resource,
    Step,
    check_expression,
    condition_names,
    effective_resource,
)
from flows.planning.plan import Access, Limit, TaskRunner
from flows.planning.references import ReferenceScope, UnknownReference
from flows.state import DEFAULT_REDUCERS, fingerprint, resolve_reducer

DEFAULT_MAX_CONCURRENCY = 4
PositionOf: TypeAlias = Callable[..., tuple[int, int]]
"""Takes the path of a step, and keys in it; returns line and column in the pipeline's file."""


@dataclass(frozen=True)
class Overrides:
    """The values of a run that override the pipeline's, with their origins (`--max-workers`, the form, …)."""

    max_concurrency: int | None = None
    origin: str = "run"
    budget: Mapping[str, float] = field(default_factory=dict[str, float])
    """The budget by unit."""
    default_max_concurrency: int = DEFAULT_MAX_CONCURRENCY
    resources: Mapping[str, Resource] = field(default_factory=dict[str, Resource])
    """The resources that the settings define; a pipeline may use them, and may declare tighter limits."""
    resources_origin: str = "settings"
    policy: Policy | None = None
    """The default policy, for groups that declare none."""
    task_runner: Literal["threads", "dask", "ray"] | None = None
    task_runner_origin: str = "run"
    clusters: Mapping[str, str] = field(default_factory=dict[str, str])
    """The address of an existing cluster, by task runner."""


MOST_STEPS = 10_000
"""The most steps of a plan, including its sub-pipelines."""
MOST_NESTED = 50
"""The deepest nesting of steps and of pipelines."""
MOST_PROBLEMS = 200


class TooManyProblems(Exception):
    """Stops planning, because there are too many problems or steps."""


@dataclass
class PlanDraft:
    """The plan of one pipeline while it is being made."""

    pipeline: Pipeline
    registry: Registry
    catalog: Mapping[str, Pipeline]
    overrides: Overrides
    file: str
    position_of: PositionOf
    problems: list[Problem] = field(default_factory=list[Problem])
    ids: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    groups: set[str] = field(default_factory=set[str])
    """Ids of the earlier parallel groups whose results a `merge_results` can use here; groups inside a loop are left
    out.
    """
    specs: dict[str, HandlerSpec] = field(default_factory=dict[str, HandlerSpec])
    used: set[str] = field(default_factory=set[str])
    """The resources that the steps use."""
    within: str = ""
    """The id of the enclosing sub-pipeline step and a dot; this prefix keeps the ids of inner steps unique."""
    ancestors: tuple[str, ...] = ()
    """Names of the enclosing pipelines."""
    scope: ReferenceScope = field(init=False)
    """The names that a reference in the current step can use."""
    counted: list[int] = field(default_factory=lambda: [0])
    """How many steps have been planned, including those of enclosing pipelines."""
    refused: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """Options (path, name) with an unknown reference; their values are not checked any further."""

    def __post_init__(self) -> None:
        self.scope = ReferenceScope(frozenset(self.pipeline.parameters))

    def problem(self, path: str, code: str, message: str, *keys: str, level: str = "error") -> None:
        """Record a problem with a step or one of its keys."""
        line, column = self.position_of(path, *keys) if keys else self.position_of(path)
        if not line and path:
            message = f"step {path}: {message}"
        self.problems.append(Problem(self.file, line, column, code, message, level))
        if len(self.problems) == MOST_PROBLEMS:
            raise TooManyProblems

    def count_step(self, path: str) -> None:
        """Count a step.

        Raises:
            TooManyProblems: the plan has too many steps, or they are nested too deeply.
        """
        self.counted[0] += 1
        depth = path.count(".")
        if self.counted[0] > MOST_STEPS:
            self.problem(
                "", "too-large", f"the plan has more than {MOST_STEPS} steps, those of pipelines in it included"
            )
        elif depth >= MOST_NESTED or len(self.ancestors) >= MOST_NESTED:
            what = "steps" if depth >= MOST_NESTED else "pipelines"
            self.problem(path, "too-deep", f"{what} are nested more than {MOST_NESTED} deep here")
        else:
            return
        raise TooManyProblems

    @property
    def ceiling(self) -> Limit | None:
        """The limit of the run, else of the pipeline; it bounds every group and the run as a whole."""
        if self.overrides.max_concurrency is not None:
            return Limit(self.overrides.max_concurrency, self.overrides.origin)
        declared = self.pipeline.max_concurrency
        if declared is None:
            return None
        return Limit(None if declared == "unlimited" else declared, f"pipeline {self.pipeline.name}")

    @property
    def reducers(self) -> dict[str, str]:
        """The reducers by field: the pipeline's take precedence over the handlers', and those over the defaults."""
        declared: dict[str, str] = {}
        for spec in self.specs.values():
            declared.update(spec.reducers)
        return {**DEFAULT_REDUCERS, **declared, **self.pipeline.reducers}

    @property
    def resources(self) -> dict[str, EffectiveResource]:
        own, common = self.pipeline.resources, self.overrides.resources
        names = [*own, *sorted(name for name in self.used if name in common and name not in own)]
        return {
            name: effective_resource(
                name,
                own.get(name),
                common.get(name),
                own_origin=f"pipeline {self.pipeline.name}",
                common_origin=self.overrides.resources_origin,
            )
            for name in names
        }

    def fingerprint(self) -> str:
        """A fingerprint of the pipeline and the versions of its handlers.

        It leaves out budgets and limits, so that a run that they stopped can be resumed with larger ones. It also
        leaves out outputs, which change no step.
        """
        versions = {name: spec.version for name, spec in sorted(self.specs.items())}
        left_out = {"budget", "retry_budget", "resources", "run_name", "stuck_after_s", "task_runner", "outputs"}
        return fingerprint([self.pipeline.model_dump(mode="json", exclude=left_out), versions])

    @property
    def task_runner(self) -> TaskRunner:
        """The task runner of the run, else of the pipeline."""
        given, origin = self.overrides.task_runner, self.overrides.task_runner_origin
        if given is None:
            given = self.pipeline.task_runner
            origin = f"pipeline {self.pipeline.name}" if "task_runner" in self.pipeline.model_fields_set else "default"
        return TaskRunner(given, origin, self.overrides.clusters.get(given))

    def limit(self, declared: Any) -> Limit:
        """The limit of a group or loop that declares `declared`, never above the ceiling."""
        ceiling = self.ceiling
        if declared is None:
            return ceiling or Limit(self.overrides.default_max_concurrency, "default")
        own = Limit(None if declared == "unlimited" else declared, "step")
        if ceiling is not None and ceiling.value is not None and (own.value is None or own.value > ceiling.value):
            return Limit(ceiling.value, f"{ceiling.origin}, below the step's {declared}")
        return own

    def policy(self, step: Parallel) -> Policy:
        """The policy of the step, else of the run, else the default."""
        given = self.overrides.policy
        return step.policy if given is None or "policy" in step.model_fields_set else given

    def common(self, step: Step, path: str, label: str, access: Access, default_id: str = "") -> dict[str, Any]:
        """The fields that the nodes of all steps have."""
        if step.when is not None:
            access = access | Access(reads=condition_names(step.when))
        named = _as_id(step.name) if step.name else ""
        step_id = self.step_id(step.id, path, named or default_id or label)
        self.scope.steps[step.id or step_id] = ({}, access)
        return {
            "path": path,
            "id": step_id,
            "label": step.name or step.id or label,
            "named": bool(step.name or step.id),
            "timeout_s": step.timeout_s,
            "when": step.when,
            "enabled": step.enabled,
            "access": access,
        }

    def step_id(self, declared: str | None, path: str, label: str) -> str:
        chosen = declared if declared is not None else (f"{path}.{label}" if path else self.pipeline.name)
        if declared is not None:
            self.ids.setdefault(declared, []).append(path)
        return self.within + chosen

    def check_ids(self) -> None:
        for name, paths in self.ids.items():
            for path in paths[1:]:
                self.problem(path, "duplicate-id", f"the id {name!r} is taken by step {paths[0]}; ids are unique")

    def resolved(self, values: Mapping[str, Any], path: str, key: str) -> dict[str, Any]:
        """Options or parameters with their references turned into templates; unknown references are reported."""
        resolved: dict[str, Any] = {}
        for name, value in values.items():
            try:
                resolved[name] = self.scope.resolved(value)
            except UnknownReference as error:
                self.problem(path, "unknown-reference", str(error), key, name)
                self.refused.add((path, name))
                resolved[name] = value
        return resolved

    def dotted(self, dotted: str, path: str, *keys: str) -> str:
        """The dotted path that a reference stands for; an unknown reference is reported."""
        try:
            return self.scope.dotted(dotted)
        except UnknownReference as error:
            self.problem(path, "unknown-reference", str(error), *keys)
            return dotted

    def check_condition(self, text: str, path: str) -> None:
        syntax_error = check_expression(text)
        if syntax_error:
            self.problem(path, "bad-expression", f"when: {syntax_error}", "when")

    def check_strategy(self, strategy: str, path: str, known: Iterable[str], kind: str) -> None:
        names = list(known)
        if strategy not in names:
            self.problem(
                path,
                f"unknown-{kind}-strategy",
                f"Unknown {kind} strategy: {strategy}{suggest(strategy, names)}",
                kind,
                "strategy",
            )

    def check_reducers(self, reducers: Mapping[str, str], path: str) -> None:
        for name in reducers.values():
            try:
                resolve_reducer(name)
            except OrchestrationError as error:
                self.problem(path, "unknown-reducer", str(error), "reducers")


def _as_id(name: str) -> str:
    """A display name in the form of an id."""
    return re.sub(r"[^A-Za-z0-9_\-]+", "_", name).strip("_")
