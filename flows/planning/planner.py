"""Makes the plan of a pipeline (names resolved, declarations checked, steps numbered), or reports all its problems."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, assert_never

from flows.author import MERGE_STRATEGIES, REGISTRY, SPLIT_STRATEGIES, Registry
from flows.errors import InvalidPipeline, OrchestrationError, Problem, suggest
from flows.loaders import LoadedPipeline, loaded_from
from flows.model import (
    Case,
    ForEach,
    Handler,
    Merge,
    MergeResults,
    Parallel,
    Pipeline,
    Policy,
    Sequential,
    Step,
    StepFields,
    SubPipeline,
    Switch,
    condition_names,
    name_in,
    template_names,
)
from flows.planning.access import check_access, node_access
from flows.planning.dependencies import derive_group
from flows.planning.draft import MOST_PROBLEMS, Overrides, PlanDraft, TooManyProblems
from flows.planning.leaf import plan_leaf
from flows.planning.outputs import plan_outputs, writes_are_known
from flows.planning.plan import Access, Chain, Choice, FanIn, Group, Limit, Loop, Node, Plan, Sub
from flows.planning.type_flow import mismatches


def make_plan(
    pipeline: Pipeline | LoadedPipeline,
    *,
    registry: Registry | None = None,
    catalog: Mapping[str, Pipeline] | None = None,
    given: Iterable[str] | None = None,
    overrides: Overrides | None = None,
    strict: bool = False,
) -> Plan:
    """The plan of a pipeline.

    `given` are the names of the fields that a run starts with besides the pipeline's parameters. If it is None, a read
    that nothing writes is only a warning, since the run may start with that field. For a loaded pipeline, problems have
    a file, line and column, and logs and errors use the terms of its dialect. If `strict`, an unknown name in a
    condition or template is an error; otherwise it is a warning, and the step that uses it will fail.

    Raises:
        InvalidPipeline: everything that is wrong, in the order of the file.
    """
    loaded = pipeline if isinstance(pipeline, LoadedPipeline) else loaded_from(pipeline)
    pipeline, dialect = loaded.pipeline, loaded.dialect
    planner = _Planner(
        pipeline,
        registry or REGISTRY,
        catalog or {},
        overrides or Overrides(),
        loaded.file or pipeline.name,
        loaded.position_of,
    )
    planner.keeps_apart, planner.missing = dialect == "chain", {}
    try:
        root = planner.chain(pipeline.steps, "", pipeline.name)
        planner.check_ids()
        fields = frozenset(given or ()) | frozenset(pipeline.parameters)
        level = "error" if given is not None else "warning"
        for found in check_access(root, fields, planner.reducers):
            if found.code != "unknown-field":
                planner.problem(found.path, found.code, found.message, level="error" if found.certain else level)
            elif found.certain or planner.missing:  # else a handler that takes the whole context may write it
                severity = "error" if strict else "warning"
                planner.problem(found.path, found.code, found.message, *found.keys, level=severity)
        planner.check_outputs(root, fields, level)
        for path, message in mismatches(root):
            planner.problem(path, "type-mismatch", message, level="warning")
        if planner.keeps_apart and len(planner.missing) > 1:
            first = next(iter(planner.missing))
            planner.problem(
                planner.missing[first],
                "unknown-types",
                f"{len(planner.missing)} types of steps are not known: {', '.join(planner.missing)}; write a handler "
                f"for each (`braid new handler {first}` begins one) in a module that BRAID_HANDLER_MODULES names",
            )
    except TooManyProblems:
        raise InvalidPipeline(_first_problems(planner.problems)) from None
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
        dialect=dialect,
        task_runner=planner.task_runner,
        outputs=plan_outputs(pipeline, root),
        writes_known=writes_are_known(root),
    )


def _first_problems(problems: Sequence[Problem]) -> list[Problem]:
    found = sorted(problems, key=lambda problem: (problem.line, problem.column))
    if len(found) < MOST_PROBLEMS:
        return found
    last = Problem(found[0].file, 0, 0, "too-many-problems", f"these are the first {MOST_PROBLEMS} problems; fix them")
    return [*found, last]


class _Planner(PlanDraft):
    """Makes the nodes of the steps and numbers them."""

    missing: dict[str, str]
    """Handlers that are not registered, each with the path of a step that names it."""
    keeps_apart = False
    """Whether a field that several branches write holds each branch's value by name, as in content chains."""

    def chain(self, steps: tuple[Step, ...], path: str, label: str) -> Node:
        """The node of steps that run in order, or, in `mode: dag`, as soon as they can."""
        children = tuple(self.node(step, _child_path(path, index)) for index, step in enumerate(steps))
        declared = self._declared_waits(steps, children)
        if self.pipeline.mode == "dag" and len(children) > 1:
            derived = derive_group(children, declared)
            if derived is not None:
                after, why = derived
                return Group(
                    path=path,
                    id=self.step_id(None, path, "dag"),
                    label=label,
                    children=children,
                    after=after,
                    limit=self.limit(None),
                    derived=True,
                    own_outcome=False,
                    why=why,
                    policy=Policy(on_branch_failure="drain"),
                    access=node_access(children),
                )
        return Chain(
            path=path,
            id=self.step_id(None, path, "steps"),
            label=label,
            children=children,
            access=node_access(children),
        )

    def _declared_waits(self, steps: Sequence[Step], nodes: Sequence[Node]) -> tuple[frozenset[int], ...]:
        """For each step, the indices of the steps that its `depends_on` names."""
        known: dict[str, int] = {}
        for index, (step, node) in enumerate(zip(steps, nodes, strict=True)):
            # Inside a sub-pipeline, the node's id has a prefix; `depends_on` uses the id without it.
            names = [step.id or node.id, *([step.handler] if isinstance(step, Handler) else [])]
            known |= dict.fromkeys(names, index)
        return tuple(
            frozenset(self._earlier_steps(step.depends_on, index, known, nodes[index].path))
            for index, step in enumerate(steps)
        )

    def _earlier_steps(self, names: Iterable[str], index: int, known: Mapping[str, int], path: str) -> Iterator[int]:
        for name in names:
            if name not in known:
                hint = suggest(name, list(known))
                self.problem(path, "unknown-step", f"depends_on names a step that is not beside it: {name!r}{hint}")
            elif known[name] >= index:
                self.problem(path, "depends-on-later", f"depends_on names {name!r}, which does not come before it")
            else:
                yield known[name]

    def node(self, step: Step, path: str) -> Node:
        self.count_step(path)
        if step.when is not None:
            self.check_condition(step.when, path)
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
                return _with_changes(
                    inner, self.common(step, path, step.name or "steps", inner.access) | {"own_outcome": True}
                )
            case _:
                assert_never(step)

    def _leaf(self, step: Handler, path: str) -> Node:
        try:
            spec = self.registry.get(step.handler)
        except OrchestrationError as error:
            if name_in(self.catalog, step.handler):  # a job may name another pipeline
                fields = {name: getattr(step, name) for name in StepFields.model_fields}
                return self._sub(SubPipeline(pipeline=step.handler, parameters=step.options, **fields), path)
            self.problem(path, "unknown-handler", str(error), "handler")
            self.missing[step.handler] = path
            nothing_known: tuple[dict[str, str], Access] = ({}, Access(known=False))
            self.scope.steps |= dict.fromkeys([step.handler, step.id or step.handler], nothing_known)
            return Chain(path=path, id=path, label=step.handler, access=Access(known=False))
        return plan_leaf(self, step, spec, path)

    def _group(self, step: Parallel, path: str) -> Node:
        if not step.branches:
            self.problem(path, "empty-group", f"Parallel group {step.id or path} has no steps", "branches")
        children = tuple(self.node(branch, _child_path(path, index)) for index, branch in enumerate(step.branches))
        after = self._declared_waits(step.branches, children)
        access = node_access(children)
        if step.merge is not None:
            self.check_strategy(step.merge.strategy, path, MERGE_STRATEGIES, "merge")
            access = access | Access(writes=frozenset({step.merge.output or step.id or f"group_{path}"}))
        if step.split is not None:
            self.check_strategy(step.split.strategy, path, SPLIT_STRATEGIES, "split")
            over = self.dotted(step.split.over, path, "split", "over")
            step = step.model_copy(update={"split": step.split.model_copy(update={"over": over})})
            assert step.split is not None
            access = access | Access(reads=frozenset({step.split.over.split(".")[0]}))
        self.check_reducers(step.reducers, path)
        if self.keeps_apart:
            step = step.model_copy(update={"reducers": {**_keeping_apart(children), **step.reducers}})
        label = f"Parallel({', '.join(node.label for node in children)})"
        common = self.common(step, path, label, access, "parallel")
        self.groups.add(step.id or common["id"])
        merge = step.merge
        if merge is not None and merge.output is None:
            merge = merge.model_copy(update={"output": step.id or f"group_{path}"})
        return Group(
            **common,
            children=children,
            after=after,
            limit=self.limit(step.max_concurrency),
            policy=self.policy(step),
            merge=merge,
            split=step.split,
            reducers={**self.reducers, **step.reducers},
        )

    def _loop(self, step: ForEach, path: str) -> Node:
        step = step.model_copy(update={"over": self.dotted(step.over, path, "over")})
        self.scope.items.append(step.as_)
        outside = set(self.groups)
        body = self.chain(step.steps, path, "steps")
        self.groups = outside  # each item has results of its own
        self.scope.items.pop()
        # The writes of an item stay inside it; only collected fields and fields with a reducer leave the loop.
        leaving = frozenset(step.collect.values()) | (body.access.writes & frozenset(self.reducers))
        access = Access(
            reads=frozenset({step.over.split(".")[0]}) | (body.access.reads - body.access.writes - {step.as_}),
            writes=leaving,
            effects=body.access.effects,
            known=body.access.known,
            effects_known=body.access.effects_known,
        )
        for name in step.collect:
            if body.access.known and name not in body.access.writes:
                known = sorted(body.access.writes)
                self.problem(
                    path,
                    "unknown-write",
                    f"collect names {name!r}, which no step in the loop writes{suggest(name, known)}",
                )
        return Loop(
            **self.common(step, path, f"for each {step.as_} of {step.over}", access, "for_each"),
            body=_with_changes(body, {"id": self.step_id(None, path, "item")}),
            over=step.over,
            item_name=step.as_,
            batch_size=step.batch_size,
            limit=self.limit(step.max_concurrency),
            max_items=step.max_items,
            tolerated=step.tolerated_failure,
            collect=step.collect,
            collect_missing=step.collect_missing,
            reducers=self.reducers,
        )

    def _fan_in(self, step: MergeResults, path: str) -> Node:
        self.check_strategy(step.strategy, path, MERGE_STRATEGIES, "merge")
        if (step.group is None) == (not step.inputs):
            self.problem(
                path, "merge-source", "merge_results needs either `from`, the id of a group, or `inputs`, fields"
            )
        elif step.group is not None and step.group not in self.groups:
            if step.group in self.ids:
                message = (
                    f"merge_results merges the branches of an earlier parallel group; {step.group!r} is not one, or is "
                    "inside a loop (the values of its items are lists, made by `collect`)"
                )
            else:
                message = f"no group before it has the id {step.group!r}{suggest(step.group, list(self.groups))}"
            self.problem(path, "unknown-group", message)
        output = step.output or step.id or f"merge_{path}"
        access = Access(reads=frozenset(step.inputs), writes=frozenset({output}), known=step.group is None)
        merge = Merge(strategy=step.strategy, output=output, options=step.options)
        group = self.within + step.group if step.group is not None else None
        return FanIn(
            **self.common(step, path, f"merge_results({step.strategy})", access, "merge_results"),
            group=group,
            inputs=step.inputs,
            merge=merge,
        )

    def _choice(self, step: Switch, path: str) -> Node:
        cases: list[tuple[str | None, Node]] = []
        reads: frozenset[str] = frozenset()
        index = 0
        for case in (*step.cases, *([Case(when="true", steps=step.default)] if step.default else [])):
            last = len(cases) == len(step.cases)
            if not last:
                self.check_condition(case.when, path)
                reads |= condition_names(case.when)
            # The steps of all cases are numbered together, so that a path names only one step.
            inner = tuple(self.node(inner, _child_path(path, index + i)) for i, inner in enumerate(case.steps))
            label = "default" if last else case.when
            cases.append(
                (
                    None if last else case.when,
                    Chain(
                        path=f"{path}:{len(cases)}",
                        id=self.step_id(None, f"{path}:{len(cases)}", "case"),
                        label=label,
                        children=inner,
                        access=node_access(inner),
                    ),
                )
            )
            index += len(case.steps)
        access = node_access([node for _, node in cases]) | Access(reads=reads)
        return Choice(**self.common(step, path, "switch", access), cases=tuple(cases))

    def _sub(self, step: SubPipeline, path: str) -> Node:
        step = step.model_copy(update={"parameters": self.resolved(step.parameters, path, "parameters")})
        access = Access(reads=template_names(step.parameters), known=False)
        common = self.common(step, path, step.pipeline, access)
        name = name_in(self.catalog, step.pipeline)
        inner = self.catalog[name] if name is not None else None
        if inner is None:
            known = list(self.catalog)
            self.problem(
                path, "unknown-pipeline", f"no pipeline named {step.pipeline!r}{suggest(step.pipeline, known)}"
            )
        elif inner.name in (*self.ancestors, self.pipeline.name):
            self.problem(path, "recursion", f"pipeline {inner.name!r} would run itself for ever")
        else:
            nested = _Planner(
                inner,
                self.registry,
                self.catalog,
                self.overrides,
                self.file,
                lambda *_: self.position_of(path),
                within=f"{common['id']}.",
                ancestors=(*self.ancestors, self.pipeline.name),
                problems=self.problems,
                counted=self.counted,
            )
            nested.missing = self.missing
            root = nested.chain(inner.steps, "", inner.name)
            nested.check_ids()
            for kind, given in (("budget", inner.budget), ("retry budget", inner.retry_budget)):
                if given:
                    self.problem(
                        path,
                        f"inner-{kind.replace(' ', '-')}",
                        f"the {kind} of pipeline {inner.name!r} applies to its "
                        f"own runs only; inside {self.pipeline.name!r} that of {self.pipeline.name!r} applies",
                        level="warning",
                    )
            plan = Plan(
                inner,
                root,
                nested.ceiling or Limit(None, "no ceiling set"),
                nested.resources,
                fingerprint=nested.fingerprint(),
                outputs=plan_outputs(inner, root),
            )
            # A parameter that the step does not give is read from the field of the same name. Writes stay inside.
            taken = (root.access.reads | frozenset(inner.parameters)) - frozenset(step.parameters)
            access |= common["access"] | replace(root.access, reads=taken)
            # Its writes are completely known if those of its inner steps are.
            access = replace(access, known=root.access.known)
            self.scope.steps[step.id or common["id"]] = ({}, access)
            return Sub(**{**common, "access": access}, plan=plan, parameters=step.parameters)
        return Chain(path=path, id=path, label=step.pipeline, access=Access(known=False))

    def check_outputs(self, root: Node, given: frozenset[str], level: str) -> None:
        """Report outputs whose field no step writes; `level` applies if a run could supply the field."""
        known = sorted(given | root.access.writes)
        for name, output in (self.pipeline.outputs or {}).items() if writes_are_known(root) else ():
            field = output.field.split(".")[0]
            if field not in known and not output.at_end:
                message = f"the output {name!r} is the field {field!r}, which no step writes{suggest(field, known)}"
                self.problem("", "unknown-output", message, "outputs", name, level=level)


def _child_path(path: str, index: int) -> str:
    return f"{path}.{index}" if path else str(index)


def _with_changes(node: Node, changes: Mapping[str, Any]) -> Any:
    return replace(node, **changes)


def _keeping_apart(branches: Sequence[Node]) -> dict[str, str]:
    """Reducers for fields that several branches write; each keeps the values by branch."""
    counted = Counter(name for branch in branches for name in branch.access.writes)
    return {name: "namespaced" for name, count in counted.items() if count > 1}
