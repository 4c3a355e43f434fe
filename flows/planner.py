"""Resolve, check and number a pipeline: out comes a plan that can run, or everything that is wrong with it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, assert_never

from pydantic import ValidationError

from flows.access import check_access, node_access
from flows.dependencies import derive_group
from flows.errors import InvalidPipeline, OrchestrationError, Problem, UnknownName, suggest
from flows.expressions import check_expression, condition_names, template_names
from flows.limits import Resource, Settled, settle
from flows.merge import DEFAULT_REDUCERS, resolve_reducer
from flows.plan import Access, Chain, Choice, FanIn, Group, Leaf, Limit, Loop, Node, Plan, Sub, TaskRunner
from flows.policies import Merge, Policy, Retry
from flows.references import Names, NoSuchReference
from flows.registry import REGISTRY, Declared, HandlerSpec, Registry
from flows.steps import (
    Case,
    ForEach,
    Handler,
    MergeResults,
    Parallel,
    Pipeline,
    Sequential,
    Step,
    StepFields,
    SubPipeline,
    Switch,
)
from flows.strategies import MERGE_STRATEGIES, SPLIT_STRATEGIES
from flows.type_flow import mismatches
from flows.values import fingerprint

DEFAULT_MAX_CONCURRENCY = 4
Places: TypeAlias = Callable[..., tuple[int, int]]
"""From the dotted position of a step, and keys in it, to line and column."""


@dataclass(frozen=True)
class Overrides:
    """What a run says over the pipeline, and where it said so (`--max-workers`, `BRAID_MAX_WORKERS`, the form)."""

    max_concurrency: int | None = None
    origin: str = "run"
    budget: Mapping[str, float] = field(default_factory=dict[str, float])
    """By unit; over the pipeline's."""
    default_max_concurrency: int = DEFAULT_MAX_CONCURRENCY
    resources: Mapping[str, Resource] = field(default_factory=dict[str, Resource])
    """What the settings define; a pipeline may use it, and hold itself to less."""
    resources_origin: str = "settings"
    policy: Policy | None = None
    """For groups that do not say one."""
    task_runner: Literal["threads", "dask", "ray"] | None = None
    """Over the pipeline's."""
    task_runner_origin: str = "run"
    clusters: Mapping[str, str] = field(default_factory=dict[str, str])
    """By task runner: the address of a cluster that exists."""


def make_plan(
    pipeline: Pipeline,
    *,
    registry: Registry | None = None,
    catalog: Mapping[str, Pipeline] | None = None,
    given: Iterable[str] | None = None,
    overrides: Overrides | None = None,
    source: str | None = None,
    place: Places = lambda *path: (0, 0),
) -> Plan:
    """The plan of a pipeline.

    `given` names the fields that a run starts with besides the pipeline's parameters; with None, reads that nothing
    writes are warnings, since the run may bring them. `source` and `place` put problems at a line of a file.

    Raises:
        InvalidPipeline: everything that is wrong, in the order of the file.
    """
    planner = _Planner(
        pipeline, registry or REGISTRY, catalog or {}, overrides or Overrides(), source or pipeline.name, place
    )
    root = planner.chain(pipeline.steps, "", pipeline.name)
    planner.check_ids()
    fields = frozenset(given or ()) | frozenset(pipeline.parameters)
    level = "error" if given is not None else "warning"
    for path, code, message, always in check_access(root, fields, planner.reducers):
        planner.problem(path, code, message, level="error" if always else level)
    for path, message in mismatches(root):
        planner.problem(path, "type-mismatch", message, level="warning")
    errors = [problem for problem in planner.problems if problem.level == "error"]
    if errors:
        raise InvalidPipeline(sorted(errors, key=lambda problem: (problem.line, problem.column)))
    ceiling = planner.ceiling
    return Plan(
        pipeline=pipeline,
        root=root,
        limit=ceiling if ceiling is not None else Limit(None, "no ceiling set"),
        resources=planner.resources,
        budget={**pipeline.budget, **planner.overrides.budget},
        retry_budget=pipeline.retry_budget,
        warnings=tuple(problem for problem in planner.problems if problem.level != "error"),
        fingerprint=planner.fingerprint(),
        task_runner=planner.task_runner,
    )


@dataclass
class _Planner:
    pipeline: Pipeline
    registry: Registry
    catalog: Mapping[str, Pipeline]
    overrides: Overrides
    source: str
    place: Places
    problems: list[Problem] = field(default_factory=list[Problem])
    ids: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    specs: dict[str, HandlerSpec] = field(default_factory=dict[str, HandlerSpec])
    used: set[str] = field(default_factory=set[str])
    """Resources that the steps use."""
    within: tuple[str, ...] = ()
    """Ids of the sub-pipeline steps around; they keep the ids of what is inside unique."""
    ancestors: tuple[str, ...] = ()
    """Names of the pipelines around."""
    names: Names = field(init=False)
    """What references can name where the planner is."""
    refused: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """Options whose references name nothing; that their text does not fit is no second problem."""

    def __post_init__(self) -> None:
        self.names = Names(frozenset(self.pipeline.parameters))

    def problem(self, path: str, code: str, message: str, *keys: str, level: str = "error") -> None:
        line, column = self.place(path, *keys) if keys else self.place(path)
        if not line and path:
            message = f"step {path}: {message}"
        self.problems.append(Problem(self.source, line, column, code, message, level))

    @property
    def ceiling(self) -> Limit | None:
        """What the run or the pipeline said; it bounds every group and the run as a whole."""
        if self.overrides.max_concurrency is not None:
            return Limit(self.overrides.max_concurrency, self.overrides.origin)
        declared = self.pipeline.max_concurrency
        if declared is None:
            return None
        return Limit(None if declared == "unlimited" else declared, f"pipeline {self.pipeline.name}")

    @property
    def reducers(self) -> dict[str, str]:
        """Pipeline over handlers over defaults."""
        declared: dict[str, str] = {}
        for spec in self.specs.values():
            declared.update(spec.reducers)
        return {**DEFAULT_REDUCERS, **declared, **self.pipeline.reducers}

    @property
    def resources(self) -> dict[str, Settled]:
        own, common = self.pipeline.resources, self.overrides.resources
        names = [*own, *sorted(name for name in self.used if name in common and name not in own)]
        return {
            name: settle(
                name, own.get(name), common.get(name), own_origin=f"pipeline {self.pipeline.name}",
                common_origin=self.overrides.resources_origin,
            )
            for name in names
        }  # fmt: skip

    def fingerprint(self) -> str:
        """Changes when the pipeline, or the version of a handler in it, does; not with budgets and limits, so that a
        run that was held up by one can go on with a larger one."""
        versions = {name: spec.version for name, spec in sorted(self.specs.items())}
        left_out = {"budget", "retry_budget", "resources", "stuck_after_s", "task_runner"}
        return fingerprint([self.pipeline.model_dump(mode="json", exclude=left_out), versions])

    @property
    def task_runner(self) -> TaskRunner:
        """The run's, else the pipeline's."""
        given, origin = self.overrides.task_runner, self.overrides.task_runner_origin
        if given is None:
            given = self.pipeline.task_runner
            origin = f"pipeline {self.pipeline.name}" if "task_runner" in self.pipeline.model_fields_set else "default"
        return TaskRunner(given, origin, self.overrides.clusters.get(given))

    def limit(self, declared: Any) -> Limit:
        ceiling = self.ceiling
        if declared is None:
            return ceiling or Limit(self.overrides.default_max_concurrency, "default")
        own = Limit(None if declared == "unlimited" else declared, "step")
        if ceiling is not None and ceiling.value is not None and (own.value is None or own.value > ceiling.value):
            return Limit(ceiling.value, f"{ceiling.origin}, below the step's {declared}")
        return own

    def _policy(self, step: Parallel) -> Policy:
        """The step's own, else the run's, else the default."""
        given = self.overrides.policy
        return step.policy if given is None or "policy" in step.model_fields_set else given

    def chain(self, steps: tuple[Step, ...], path: str, label: str) -> Node:
        children = tuple(self.node(step, _below(path, position)) for position, step in enumerate(steps))
        names = [step.depends_on for step in steps]
        known = {alias: position for position, (step, node) in enumerate(zip(steps, children, strict=True))
                 for alias in self._aliases(step, node)}  # fmt: skip
        edges = [
            frozenset(self._depends(name, position, known, children[position].path) for name in depends) - {None}
            for position, depends in enumerate(names)
        ]
        if self.pipeline.mode == "dag" and len(children) > 1:
            derived = derive_group(children, [frozenset(e for e in edge if e is not None) for edge in edges])
            if derived is not None:
                after, why = derived
                return Group(
                    path=path, id=self._id(None, path, "dag"), label=label, children=children, after=after,
                    limit=self.limit(None), derived=True, own_outcome=False, why=why,
                    policy=Policy(on_branch_failure="drain"), access=node_access(children),
                )  # fmt: skip
        return Chain(path=path, id=self._id(None, path, "steps"), label=label, children=children,
                     access=node_access(children))  # fmt: skip

    def _depends(self, name: str, position: int, known: Mapping[str, int], path: str) -> int | None:
        if name not in known:
            self.problem(
                path, "unknown-step", f"depends_on names no step beside it: {name!r}{suggest(name, list(known))}"
            )
            return None
        if known[name] >= position:
            self.problem(path, "depends-on-later", f"depends_on names {name!r}, which does not come before it")
            return None
        return known[name]

    @staticmethod
    def _aliases(step: Step, node: Node) -> tuple[str, ...]:
        return (node.id, step.handler) if isinstance(step, Handler) else (node.id,)

    def node(self, step: Step, path: str) -> Node:
        if step.when is not None:
            self._expression(step.when, path)
        match step:
            case Handler():
                return self._leaf(step, path)
            case Parallel():
                return self._group(step, path)
            case ForEach():
                return self._loop(step, path)
            case MergeResults():
                return self._fan_in(step, path)
            case Switch():
                return self._choice(step, path)
            case SubPipeline():
                return self._sub(step, path)
            case Sequential():
                inner = self.chain(step.steps, path, step.name or "steps")
                return _with(
                    inner, self._common(step, path, step.name or "steps", inner.access) | {"own_outcome": True}
                )
            case _:
                assert_never(step)

    def _common(self, step: Step, path: str, label: str, access: Access, default_id: str = "") -> dict[str, Any]:
        if step.when is not None:
            access = access | Access(reads=condition_names(step.when))
        step_id = self._id(step.id, path, default_id or label)
        self.names.steps[step.id or step_id] = ({}, access)
        return {
            "path": path,
            "id": step_id,
            "label": step.name or label,
            "timeout_s": step.timeout_s,
            "when": step.when,
            "enabled": step.enabled,
            "access": access,
        }

    def _id(self, declared: str | None, path: str, label: str) -> str:
        prefix = "".join(f"{name}." for name in self.within)
        chosen = declared if declared is not None else (f"{path}.{label}" if path else self.pipeline.name)
        if declared is not None:
            self.ids.setdefault(declared, []).append(path)
        return prefix + chosen

    def check_ids(self) -> None:
        for name, paths in self.ids.items():
            for path in paths[1:]:
                self.problem(path, "duplicate-id", f"the id {name!r} is taken by step {paths[0]}; ids are unique")

    def _leaf(self, step: Handler, path: str) -> Node:
        try:
            spec = self.registry.get(step.handler)
        except OrchestrationError as error:
            if step.handler in self.catalog:  # a job may name another pipeline
                fields = {name: getattr(step, name) for name in StepFields.model_fields}
                return self._sub(SubPipeline(pipeline=step.handler, parameters=step.options, **fields), path)
            self.problem(path, "unknown-handler", str(error), "handler")
            nothing_known: tuple[dict[str, str], Access] = ({}, Access(known=False))
            self.names.steps |= dict.fromkeys([step.handler, step.id or step.handler], nothing_known)
            return Chain(path=path, id=path, label=step.handler, access=Access(known=False))
        step = step.model_copy(update={"options": self._resolved(step.options, path, "options")})
        self.specs[spec.name] = spec
        declared = self._declared(step, spec, path)
        if declared is not None:
            version = f"{spec.version}+{declared.version}" if declared.version else spec.version
            spec = replace(spec, reads=declared.reads, writes=declared.writes, effects=declared.effects,
                           version=version)  # fmt: skip
        names = [read.name for read in spec.reads or ()]
        for parameter in step.reads:
            if spec.reads is not None and parameter not in names:
                self.problem(path, "unknown-read", f"{spec.name} reads no {parameter!r}{suggest(parameter, names)}",
                             "reads", parameter)  # fmt: skip
        for write in step.writes:
            if spec.writes is not None and write not in spec.writes:
                self.problem(path, "unknown-write", f"{spec.name} writes no {write!r}{suggest(write, spec.writes)}",
                             "writes", write)  # fmt: skip
        self._options(step, spec, path)
        uses = tuple(dict.fromkeys((*spec.uses, *step.uses)))
        self.used.update(uses)
        for resource in uses:
            known = sorted({*self.pipeline.resources, *self.overrides.resources})
            if resource not in known:
                by = "" if resource in step.uses else f" (every {spec.name} uses it)"
                self.problem(
                    path, "unknown-resource", f"no resource named {resource!r}{by}{suggest(resource, known)}; define "
                    f"it here, `resources: {{{resource}: {{concurrency: 2}}}}`, or for all runs in BRAID_RESOURCES",
                    "uses",
                )  # fmt: skip
        reads = {name: step.reads.get(name, name) for name in names}
        writes = {name: step.writes.get(name, name) for name in spec.writes or ()}
        access = Access(
            reads=frozenset(reads.values()) | template_names(step.options),
            writes=frozenset(writes.values()),
            effects=frozenset(spec.effects or ()),
            known=spec.declared,
        )
        common, retry = self._common(step, path, spec.name, access), step.retry or self.pipeline.retry
        self.names.steps[step.handler] = self.names.steps[step.id or common["id"]] = (writes, access)
        if declared is not None:
            common["timeout_s"] = step.timeout_s or declared.timeout_s
            if retry is None and declared.max_attempts is not None:
                retry = Retry(max_attempts=declared.max_attempts)
        return Leaf(**common, spec=spec, options=dict(step.options), reads=reads, writes=writes,
                    retry=retry or Retry(), uses=uses, expected_tokens=step.expected_tokens)  # fmt: skip

    def _declared(self, step: Handler, spec: HandlerSpec, path: str) -> Declared | None:
        """What this step does by its options, for a handler that tells; None also where they cannot be understood."""
        if spec.declares is None:
            return None
        try:
            return spec.declares(step.options)
        except UnknownName as error:
            self.problem(path, f"unknown-{error.kind.replace(' ', '-')}", str(error))
        except OrchestrationError as error:
            self.problem(path, "bad-option", f"{spec.name}: {error}")
        return None

    def _options(self, step: Handler, spec: HandlerSpec, path: str) -> None:
        templated = {name for name, value in step.options.items() if template_names(value) or "{{" in str(value)}
        templated |= {name for name in step.options if (path, name) in self.refused}
        try:
            spec.options.model_validate(dict(step.options))
        except ValidationError as invalid:
            for error in invalid.errors(include_url=False):
                name = str(error["loc"][0]) if error["loc"] else ""
                if name in templated:
                    continue
                known = list(spec.options.model_fields)
                if error["type"] == "extra_forbidden":
                    self.problem(path, "unknown-option", f"{spec.name} has no option {name!r}{suggest(name, known)}",
                                 "options", name)  # fmt: skip
                elif error["type"] == "missing":
                    self.problem(path, "missing-option", f"{spec.name} needs the option {name!r}", "options")
                else:
                    where = ".".join(str(part) for part in error["loc"])
                    self.problem(path, "bad-option", f"option {where!r} of {spec.name}: {error['msg']}",
                                 "options", *map(str, error["loc"]))  # fmt: skip
        for name, value in step.options.items():
            self._templates(value, path, name)

    def _templates(self, value: Any, path: str, option: str) -> None:
        if isinstance(value, str) and "{{" in value:
            trouble = check_expression(value)
            if trouble:
                self.problem(path, "bad-expression", trouble, "options", option)

    def _resolved(self, values: Mapping[str, Any], path: str, key: str) -> dict[str, Any]:
        """Options or parameters with their references as templates."""
        resolved: dict[str, Any] = {}
        for name, value in values.items():
            try:
                resolved[name] = self.names.resolved(value)
            except NoSuchReference as error:
                self.problem(path, "unknown-reference", str(error), key, name)
                self.refused.add((path, name))
                resolved[name] = value
        return resolved

    def _field(self, dotted: str, path: str, *keys: str) -> str:
        """The dotted path that a reference stands for."""
        try:
            return self.names.dotted(dotted)
        except NoSuchReference as error:
            self.problem(path, "unknown-reference", str(error), *keys)
            return dotted

    def _expression(self, text: str, path: str) -> None:
        trouble = check_expression(text)
        if trouble:
            self.problem(path, "bad-expression", f"when: {trouble}", "when")

    def _strategy(self, strategy: str, path: str, known: Iterable[str], kind: str) -> None:
        names = list(known)
        if strategy not in names:
            self.problem(
                path,
                f"unknown-{kind}-strategy",
                f"Unknown {kind} strategy: {strategy}{suggest(strategy, names)}",
                kind,
                "strategy",
            )

    def _reducers(self, reducers: Mapping[str, str], path: str) -> None:
        for name in reducers.values():
            try:
                resolve_reducer(name)
            except OrchestrationError as error:
                self.problem(path, "unknown-reducer", str(error), "reducers")

    def _group(self, step: Parallel, path: str) -> Node:
        if not step.branches:
            self.problem(path, "empty-group", f"Parallel group {step.id or path} has no steps", "branches")
        children = tuple(self.node(branch, _below(path, position)) for position, branch in enumerate(step.branches))
        known = {alias: position for position, (branch, node) in enumerate(zip(step.branches, children, strict=True))
                 for alias in self._aliases(branch, node)}  # fmt: skip
        after = tuple(
            frozenset(
                found for name in branch.depends_on
                if (found := self._depends(name, position, known, children[position].path)) is not None
            )
            for position, branch in enumerate(step.branches)
        )  # fmt: skip
        access = node_access(children)
        if step.merge is not None:
            self._strategy(step.merge.strategy, path, MERGE_STRATEGIES, "merge")
            access = access | Access(writes=frozenset({step.merge.output or step.id or f"group_{path}"}))
        if step.split is not None:
            self._strategy(step.split.strategy, path, SPLIT_STRATEGIES, "split")
            over = self._field(step.split.over, path, "split", "over")
            step = step.model_copy(update={"split": step.split.model_copy(update={"over": over})})
            assert step.split is not None
            access = access | Access(reads=frozenset({step.split.over.split(".")[0]}))
        self._reducers(step.reducers, path)
        label = f"Parallel({', '.join(node.label for node in children)})"
        common = self._common(step, path, label, access, "parallel")
        merge = step.merge
        if merge is not None and merge.output is None:
            merge = merge.model_copy(update={"output": step.id or f"group_{path}"})
        return Group(**common, children=children, after=after, limit=self.limit(step.max_concurrency),
                     policy=self._policy(step), merge=merge, split=step.split,
                     reducers={**self.reducers, **step.reducers})  # fmt: skip

    def _loop(self, step: ForEach, path: str) -> Node:
        step = step.model_copy(update={"over": self._field(step.over, path, "over")})
        self.names.items.append(step.as_)
        body = self.chain(step.steps, path, "steps")
        self.names.items.pop()
        # What an item writes stays with it; only what is collected or has a reducer leaves the loop.
        leaving = frozenset(step.collect.values()) | (body.access.writes & frozenset(self.reducers))
        access = Access(
            reads=frozenset({step.over.split(".")[0]}) | (body.access.reads - body.access.writes - {step.as_}),
            writes=leaving, effects=body.access.effects, known=body.access.known,
        )  # fmt: skip
        for name in step.collect:
            if body.access.known and name not in body.access.writes:
                known = sorted(body.access.writes)
                self.problem(path, "unknown-write", f"collect names {name!r}, which no step in the loop writes"
                             f"{suggest(name, known)}")  # fmt: skip
        return Loop(
            **self._common(step, path, f"for each {step.as_} of {step.over}", access, "for_each"),
            body=_with(body, {"id": self._id(None, path, "item")}), over=step.over, item_name=step.as_,
            batch_size=step.batch_size, limit=self.limit(step.max_concurrency), max_items=step.max_items,
            tolerated=step.tolerated_failure, collect=step.collect, reducers=self.reducers,
        )  # fmt: skip

    def _fan_in(self, step: MergeResults, path: str) -> Node:
        self._strategy(step.strategy, path, MERGE_STRATEGIES, "merge")
        if (step.source is None) == (not step.inputs):
            self.problem(
                path, "merge-source", "merge_results needs either `from`, the id of a group, or `inputs`, fields"
            )
        elif step.source is not None and step.source not in self.ids:
            known = list(self.ids)
            self.problem(
                path, "unknown-group", f"no group before it has the id {step.source!r}{suggest(step.source, known)}"
            )
        output = step.output or step.id or f"merge_{path}"
        access = Access(reads=frozenset(step.inputs), writes=frozenset({output}), known=step.source is None)
        merge = Merge(strategy=step.strategy, output=output, options=step.options)
        source = "".join(f"{name}." for name in self.within) + step.source if step.source is not None else None
        return FanIn(**self._common(step, path, f"merge_results({step.strategy})", access, "merge_results"),
                     source=source, inputs=step.inputs, merge=merge)  # fmt: skip

    def _choice(self, step: Switch, path: str) -> Node:
        cases: list[tuple[str | None, Node]] = []
        reads: frozenset[str] = frozenset()
        position = 0
        for case in (*step.cases, *([Case(when="true", steps=step.default)] if step.default else [])):
            last = len(cases) == len(step.cases)
            if not last:
                self._expression(case.when, path)
                reads |= condition_names(case.when)
            # Steps are numbered through all cases, so that a path names one step.
            inner = tuple(self.node(inner, _below(path, position + i)) for i, inner in enumerate(case.steps))
            label = "default" if last else case.when
            cases.append((None if last else case.when, Chain(
                path=f"{path}:{len(cases)}", id=self._id(None, f"{path}:{len(cases)}", "case"), label=label,
                children=inner, access=node_access(inner),
            )))  # fmt: skip
            position += len(case.steps)
        access = node_access([node for _, node in cases]) | Access(reads=reads)
        return Choice(**self._common(step, path, "switch", access), cases=tuple(cases))

    def _sub(self, step: SubPipeline, path: str) -> Node:
        step = step.model_copy(update={"parameters": self._resolved(step.parameters, path, "parameters")})
        access = Access(reads=template_names(step.parameters), known=False)
        common = self._common(step, path, step.pipeline, access)
        inner = self.catalog.get(step.pipeline)
        if inner is None:
            known = list(self.catalog)
            self.problem(
                path, "unknown-pipeline", f"no pipeline named {step.pipeline!r}{suggest(step.pipeline, known)}"
            )
        elif step.pipeline in (*self.ancestors, self.pipeline.name):
            self.problem(path, "recursion", f"pipeline {step.pipeline!r} would run itself for ever")
        else:
            nested = _Planner(
                inner, self.registry, self.catalog, self.overrides, self.source, lambda *_: self.place(path),
                within=(*self.within, common["id"]), ancestors=(*self.ancestors, self.pipeline.name),
            )  # fmt: skip
            root = nested.chain(inner.steps, "", inner.name)
            nested.check_ids()
            self.problems.extend(nested.problems)
            for kind, given in (("budget", inner.budget), ("retry budget", inner.retry_budget)):
                if given:
                    self.problem(
                        path, f"inner-{kind.replace(' ', '-')}", f"the {kind} of pipeline {inner.name!r} holds for its "
                        f"own runs only; inside {self.pipeline.name!r} that of {self.pipeline.name!r} does",
                        level="warning",
                    )  # fmt: skip
            plan = Plan(
                inner, root, nested.ceiling or Limit(None, "no ceiling set"), nested.resources,
                fingerprint=nested.fingerprint(),
            )  # fmt: skip
            # Fields named like its parameters reach it from around, unless the step gives them; what it writes stays.
            taken = (root.access.reads | frozenset(inner.parameters)) - frozenset(step.parameters)
            access |= common["access"] | Access(reads=taken, writes=root.access.writes, effects=root.access.effects)
            self.names.steps[step.id or common["id"]] = ({}, access)
            return Sub(**{**common, "access": access}, plan=plan, parameters=step.parameters)
        return Chain(path=path, id=path, label=step.pipeline, access=Access(known=False))


def _below(path: str, position: int) -> str:
    return f"{path}.{position}" if path else str(position)


def _with(node: Node, changes: Mapping[str, Any]) -> Any:
    return replace(node, **changes)
