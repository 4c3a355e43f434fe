"""Plan-time checks: everything wrong with a pipeline at once, each with its step and its cure."""

from collections.abc import Mapping
from typing import Any

import pytest

from flows.author import Call, ReadParameter, Registry, StepDeclaration, handler
from flows.errors import FatalError, InvalidPipeline
from flows.model import Pipeline
from flows.planning import Group, Overrides, make_plan
from flows.planning.plan import Access
from flows.state import Context


@pytest.fixture
def registry() -> Registry:
    made = Registry()

    @handler(registry=made, writes="chunks")
    def split(text: str, *, size: int = 10, call: Call) -> list[str]:
        return [text[:size]]

    @handler(registry=made, writes="total")
    def count(chunks: list[str], *, strict: bool = False) -> int:
        return len(chunks)

    @handler(registry=made)
    def anything(context: Context) -> None: ...

    @handler(registry=made)
    def longest(chunks: list[str]) -> str:
        return max(chunks, key=len)

    return made


def problems(registry: Registry, steps: Any, given: Any = ("text",), **fields: Any) -> list[tuple[str, str]]:
    try:
        make_plan(Pipeline.model_validate({"name": "p", "steps": steps, **fields}), registry=registry, given=given)
    except InvalidPipeline as invalid:
        return [(problem.code, problem.message) for problem in invalid.problems]
    return []


@pytest.mark.parametrize(
    ("steps", "code", "message"),
    [
        (["splitt"], "unknown-handler", "no handler named 'splitt'; did you mean 'split'?"),
        (
            [{"handler": "split", "options": {"sise": 3}}],
            "unknown-option",
            "split has no option 'sise'; did you mean 'size'?",
        ),
        (
            [{"handler": "split", "options": {"size": "many"}}],
            "bad-option",
            "option 'size' of split: Input should be a valid integer",
        ),
        (
            [{"handler": "split", "reads": {"txt": "x"}}],
            "unknown-read",
            "split does not read 'txt'; did you mean 'text'?",
        ),
        (
            [{"handler": "split", "writes": {"chunk": "x"}}],
            "unknown-write",
            "split does not write 'chunk'; did you mean 'chunks'?",
        ),
        (
            [{"handler": "split", "uses": ["openai"]}],
            "unknown-resource",
            "no resource named 'openai'; none is registered",
        ),
        (["count"], "unwritten-read", "count reads 'chunks', which no earlier step writes"),
        (
            [{"parallel": ["split", "count"]}],
            "reads-sibling",
            "branch 'count' reads 'chunks', which its sibling 'split' writes",
        ),
        ([{"parallel": ["split", "split"]}], "parallel-write", "both write 'chunks'; declare how to combine them"),
        (
            ["split", {"parallel": ["longest", "longest"]}],
            "parallel-write",
            "both write 'longest'; declare how to combine them",
        ),
        (
            ["split", "longest", {"handler": "count", "reads": {"chunks": "longst"}}],
            "unwritten-read",
            "count reads 'longst', which no earlier step writes and no parameter gives; available fields: chunks, longest, text",
        ),
        ([{"parallel": []}], "empty-group", "Parallel group 0 has no steps"),
        (
            [{"handler": "split", "depends_on": ["count"]}, "count"],
            "depends-on-later",
            "'count', which does not come before it",
        ),
        ([{"handler": "split", "when": "a +"}], "bad-expression", "when: 'a +' is not an expression"),
        ([{"merge_results": "voices"}], "unknown-group", "no group before it has the id 'voices'"),
        (
            [{"parallel": ["split"], "merge": "colect_all"}],
            "unknown-merge-strategy",
            "Unknown merge strategy: colect_all; did you mean 'collect_all'?",
        ),
        ([{"parallel": ["split"], "reducers": {"chunks": "apend"}}], "unknown-reducer", "no reducer named 'apend'"),
        ([{"pipeline": "other"}], "unknown-pipeline", "no pipeline named 'other'"),
        (
            [{"for_each": "text", "steps": ["split"], "collect": ["chunk"]}],
            "unknown-write",
            "collect names 'chunk', which no step in the loop writes; did you mean 'chunks'?",
        ),
        ([{"for_each": "documents", "steps": ["split"]}], "unwritten-read", "for_each loops over 'documents'"),
    ],
)
def test_a_problem_is_named_with_its_cure(registry: Registry, steps: Any, code: str, message: str) -> None:
    found = problems(registry, steps)
    assert [one for one, _ in found] == [code]
    assert message in found[0][1]


def test_all_problems_come_at_once(registry: Registry) -> None:
    steps = [
        "splitt",
        {"handler": "split", "id": "a", "options": {"sise": 1}},
        {"handler": "split", "id": "a"},
        {"parallel": ["split", "split"]},
    ]
    assert [code for code, _ in problems(registry, steps)] == [
        "unknown-handler",
        "unknown-option",
        "duplicate-id",
        "parallel-write",
    ]


@pytest.mark.parametrize(
    "steps",
    [
        ["split", "count"],
        ["anything", "count"],
        [{"parallel": ["split", "split"], "reducers": {"chunks": "append"}}],
        [{"parallel": [{"handler": "split", "id": "s"}, {"handler": "count", "depends_on": ["s"]}]}],
        [{"parallel": [["split", "count"]]}],
        [{"handler": "split", "options": {"size": "{{ text | length }}"}}],
    ],
)
def test_what_is_right_is_not_complained_about(registry: Registry, steps: Any) -> None:
    assert problems(registry, steps) == []


def test_a_pipeline_that_runs_itself_is_refused(registry: Registry) -> None:
    inner = Pipeline.model_validate({"name": "inner", "steps": [{"pipeline": "outer"}]})
    outer = Pipeline.model_validate({"name": "outer", "steps": [{"pipeline": "inner"}]})
    with pytest.raises(InvalidPipeline, match="'outer' would run itself for ever|'inner' would run itself for ever"):
        make_plan(outer, registry=registry, catalog={"inner": inner, "outer": outer})


@pytest.mark.parametrize(
    ("step", "pipeline", "override", "effective", "origin"),
    [
        (None, None, None, 4, "default"),
        (2, None, None, 2, "step"),
        ("unlimited", None, None, None, "step"),
        (None, 3, None, 3, "pipeline p"),
        (8, 3, None, 3, "pipeline p, below the step's 8"),
        (2, 3, None, 2, "step"),
        (None, 3, 5, 5, "--max-workers"),
        (2, 3, 5, 2, "step"),
        (8, 3, 1, 1, "--max-workers, below the step's 8"),
        ("unlimited", "unlimited", None, None, "step"),
    ],
)
def test_limits_and_where_they_come_from(
    registry: Registry, step: Any, pipeline: Any, override: int | None, effective: int | None, origin: str
) -> None:
    group = {"parallel": [{"handler": "split"}], **({} if step is None else {"MaxConcurrency": step})}
    model = Pipeline.model_validate({"name": "p", "steps": [group], "max_workers": pipeline})
    plan = make_plan(model, registry=registry, overrides=Overrides(override, "--max-workers"))
    (limit,) = [node.limit for node in plan.nodes if isinstance(node, Group)]
    assert (limit.value, limit.origin) == (effective, origin)


def test_the_fingerprint_changes_with_the_pipeline_and_with_a_handlers_version() -> None:
    def made(version: str, size: int) -> str:
        registry = Registry()

        @handler(registry=registry, writes="chunks", version=version)
        def split(text: str, *, size: int = 10) -> list[str]:
            return [text]

        model = Pipeline.model_validate({"name": "p", "steps": [{"handler": "split", "options": {"size": size}}]})
        return make_plan(model, registry=registry).fingerprint

    assert made("1", 5) == made("1", 5)
    assert len({made("1", 5), made("2", 5), made("1", 6)}) == 3


def test_a_handler_may_tell_from_its_options_what_a_step_reads_and_writes(registry: Registry) -> None:
    def declares(options: Mapping[str, Any]) -> StepDeclaration:
        if "secret" in options["inputs"]:
            raise FatalError("'secret' is not for reading")
        reads = tuple(ReadParameter(name, True, Any) for name in options["inputs"])
        return StepDeclaration(reads, (options["output"],), ("mail",), timeout_s=5.0, max_attempts=3)

    @handler(registry=registry, declares=declares)
    def send(context: Context, *, inputs: list[str], output: str) -> dict[str, Any]:
        return {output: [context.data[name] for name in inputs]}

    step = {"handler": "send", "options": {"inputs": ["text"], "output": "sent"}}
    plan = make_plan(Pipeline.model_validate({"name": "p", "steps": [step]}), registry=registry, given=["text"])
    (leaf,) = plan.leaves
    assert leaf.access == Access(frozenset({"text"}), frozenset({"sent"}), frozenset({"mail"}))
    assert (leaf.timeout_s, leaf.retry.max_attempts) == (5.0, 3)

    own = {**step, "timeout_s": 9, "retry": {"max_attempts": 1}}
    plan = make_plan(Pipeline.model_validate({"name": "p", "steps": [own]}), registry=registry, given=["text"])
    assert (plan.leaves[0].timeout_s, plan.leaves[0].retry.max_attempts) == (9.0, 1)

    missing = {"handler": "send", "options": {"inputs": ["price"], "output": "sent"}}
    assert problems(registry, [missing])[0][0] == "unwritten-read"
    refused = {"handler": "send", "options": {"inputs": ["secret"], "output": "sent"}}
    assert problems(registry, [refused]) == [("bad-option", "step 0: send: 'secret' is not for reading")]
    assert problems(registry, [{"parallel": [step, step]}])[0][0] == "parallel-write"


def test_reads_are_checked_after_a_pipeline_that_is_a_step() -> None:
    made = Registry()

    @handler(registry=made, writes="a")
    def first() -> int:
        return 1

    @handler(registry=made, writes="b")
    def second(a: int) -> int:
        return a

    @handler(registry=made, writes="c")
    def lost(nowhere: int) -> int:
        return nowhere

    inner = Pipeline.model_validate({"name": "inner", "steps": ["first"]})
    outer = Pipeline.model_validate({"name": "outer", "steps": [{"pipeline": "inner"}, "second", "lost"]})
    with pytest.raises(InvalidPipeline, match="lost reads 'nowhere', which no earlier step writes") as refused:
        make_plan(outer, registry=made, catalog={"inner": inner}, given=[])
    assert len(refused.value.problems) == 1
