"""Faults of comparable systems, each as a short run in Braid; the name of a test states the absent fault."""

import asyncio
import itertools
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flows.author import Call, Registry, RunResult, handler
from flows.engine import Prepared, run_plan
from flows.errors import FatalError, InvalidPipeline, TransientError
from flows.loaders import load_pipeline_text
from flows.model import Pipeline
from flows.planning import make_plan
from flows.state import Context
from flows.storage import Storage
from handlers.jobs import job
from handlers.jobs.keys import KeyCollision
from tests.support.data import data_services, step_output


@pytest.fixture
def registry() -> Registry:
    return Registry()


async def run_async(
    steps: Any, registry: Registry, fields: Mapping[str, Any] | None = None, **pipeline: Any
) -> tuple[RunResult, Context]:
    declared = Pipeline.model_validate({"name": "p", "steps": steps, **pipeline})
    context = Context(dict(fields or {}))
    return await run_plan(Prepared(make_plan(declared, registry=registry, given=list(fields or {})), context)), context


def run(
    steps: Any, registry: Registry, fields: Mapping[str, Any] | None = None, **pipeline: Any
) -> tuple[RunResult, Context]:
    return asyncio.run(run_async(steps, registry, fields, **pipeline))


def add(registry: Registry, name: str, function: Callable[..., Any], **declared: Any) -> None:
    function.__name__ = function.__qualname__ = name
    handler(function, name=name, registry=registry, **declared)


def failing(registry: Registry, name: str, error: Exception) -> None:
    async def fail() -> None:
        raise error

    add(registry, name, fail, effects=())


def paths(result: RunResult) -> dict[str, str]:
    return {outcome.path: outcome.status for outcome in result.outcomes}


# The memory system: handlers in parallel on copies of a context.


def test_a_declared_concurrency_limit_is_enforced(registry: Registry) -> None:
    now = most = 0

    async def work() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1

    add(registry, "work", work, effects=())
    result, _ = run([{"parallel": ["work"] * 8, "max_concurrency": 3}], registry)
    assert (result.status, most) == ("succeeded", 3)


def test_a_branch_does_not_undo_another_by_its_old_values(registry: Registry) -> None:
    def first(context: Context) -> None:
        context.data["a"] = "new"

    def second(context: Context) -> None:
        context.data["b"] = "new"

    add(registry, "first", first)
    add(registry, "second", second)
    _, context = run([{"parallel": ["first", "second"]}], registry, {"a": "old", "b": "old"})
    assert (context.data["a"], context.data["b"]) == ("new", "new")


def test_nested_values_are_not_shared_between_branches(registry: Registry) -> None:
    seen = list[int]()

    def change(context: Context) -> None:
        seen.append(len(context.data["file"]["pages"]))
        context.data["file"]["pages"].append("x")

    add(registry, "change", change)
    steps = [{"parallel": ["change", "change", "change"], "reducers": {"file": "replace"}}]
    run(steps, registry, {"file": {"pages": ["p"]}})
    assert seen == [1, 1, 1]


def test_processed_marks_are_seen_inside_branches_and_come_back(registry: Registry) -> None:
    seen = list[bool]()

    def mark(context: Context) -> None:
        context.mark_processed_by("extract")

    def look(context: Context) -> None:
        seen.append(context.already_processed_by("extract"))
        context.mark_processed_by("embed")

    add(registry, "mark", mark)
    add(registry, "look", look)
    _, context = run(["mark", {"parallel": ["look", "look"]}], registry)
    assert seen == [True, True]
    assert context.already_processed_by("embed")


def test_updates_and_deletions_of_a_branch_reach_the_parent(registry: Registry) -> None:
    def edit(context: Context) -> None:
        context.data["files"]["a"]["size"] = 2
        del context.data["files"]["b"]

    def other(context: Context) -> None: ...

    add(registry, "edit", edit)
    add(registry, "other", other)
    _, context = run([{"parallel": ["edit", "other"]}], registry, {"files": {"a": {"size": 1}, "b": {}}})
    assert context.data["files"] == {"a": {"size": 2}}


def test_groups_inside_groups_are_isolated_too(registry: Registry) -> None:
    def write(context: Context) -> None:
        assert "mine" not in context.data
        context.data["mine"] = 1

    add(registry, "write", write)
    inner = {"parallel": ["write", "write"], "reducers": {"mine": "sum"}}
    result, context = run([{"parallel": [inner, inner], "reducers": {"mine": "sum"}}], registry)
    assert (result.status, context.data["mine"]) == ("succeeded", 4)


@pytest.mark.parametrize("order", list(itertools.permutations(["t", "f"])))
def test_a_group_is_transient_only_if_all_its_failures_are(order: tuple[str, ...], registry: Registry) -> None:
    failing(registry, "t", TransientError("busy"))
    failing(registry, "f", FatalError("broken"))
    result, _ = run([{"parallel": list(order)}], registry)
    assert not result.transient
    result, _ = run([{"parallel": ["t", "t"]}], registry)
    assert result.transient


async def test_cancelling_one_run_leaves_the_others(registry: Registry) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        begun.set()
        await go.wait()

    add(registry, "wait", wait, effects=())
    first = asyncio.ensure_future(run_async(["wait"], registry))
    second = asyncio.ensure_future(run_async(["wait"], registry))
    await begun.wait()
    first.cancel()
    await asyncio.wait([first])
    go.set()
    result, _ = await second
    assert (first.cancelled(), result.status) == (True, "succeeded")


def test_a_failure_stops_siblings_at_once_where_that_is_asked(registry: Registry) -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    failing(registry, "f", FatalError("broken"))
    add(registry, "forever", forever, effects=())
    result, _ = run([{"parallel": ["forever", "f"], "policy": "fail_fast"}], registry)
    assert paths(result) == {"0": "failed", "0.0": "cancelled", "0.1": "failed"}


def test_time_limits_hold_and_failures_are_tried_again(registry: Registry) -> None:
    tries = list[int]()

    async def shaky(*, call: Call) -> None:
        tries.append(call.attempt)
        if call.attempt < 3:
            raise TransientError("busy")

    async def forever() -> None:
        await asyncio.Event().wait()

    add(registry, "shaky", shaky, effects=())
    add(registry, "forever", forever, effects=())
    result, _ = run(
        [{"handler": "shaky", "retry": {"max_attempts": 3, "delay_s": 0}}, {"handler": "forever", "timeout_s": 0.01}],
        registry,
    )
    assert (tries, paths(result)["1"]) == ([1, 2, 3], "timed_out")


def test_what_several_searches_found_is_fused_not_dropped(registry: Registry) -> None:
    add(registry, "vector", lambda: [{"id": "a", "score": 0.9}, {"id": "b", "score": 0.8}], writes="v")
    add(registry, "words", lambda: [{"id": "b", "score": 7.0}, {"id": "c", "score": 1.0}], writes="w")
    _, context = run(
        [{"parallel": ["vector", "words"], "merge": {"strategy": "reciprocal_rank_fusion", "output": "hits"}}], registry
    )
    assert [hit["id"] for hit in context.data["hits"]] == ["b", "a", "c"]


def test_names_that_differ_by_a_dot_get_different_files() -> None:
    names = ["a.txt", "atxt", "a/txt", "a//txt", "A.txt", "a%2Etxt"]
    assert len({Storage.join("memory://x", name) for name in names}) == len(names)


@pytest.mark.parametrize("text", ["- ''", "- a\n-", "steps: [{handler: ''}]"])
def test_an_empty_step_is_refused_not_ignored(text: str) -> None:
    with pytest.raises(InvalidPipeline):
        load_pipeline_text(text, file="p.yaml")


# The content pipeline: chains with parallel groups.


def test_results_stand_in_the_order_of_declaration_not_of_completion(registry: Registry) -> None:
    turn = asyncio.Event()

    async def slow() -> str:
        await turn.wait()
        return "slow"

    async def fast() -> str:
        turn.set()
        return "fast"

    add(registry, "slow", slow, writes="s")
    add(registry, "fast", fast, writes="f")
    _, context = run([{"id": "g", "parallel": ["slow", "fast"], "merge": "collect_all"}], registry)
    assert context.data["g"]["outputs"] == ["slow", "fast"]


def test_a_retry_count_is_used(registry: Registry) -> None:
    loaded = load_pipeline_text("prompt: x\nsteps: [{type: shaky, retry_count: 2}]", file="c.yaml")
    tries = list[int]()

    async def shaky(*, call: Call) -> None:
        tries.append(call.attempt)
        raise TransientError("busy", retry_after_s=0)

    add(registry, "shaky", shaky, effects=())
    asyncio.run(
        run_plan(Prepared(make_plan(loaded.pipeline, registry=registry, given=["text"]), Context({"text": "x"})))
    )
    assert tries == [1, 2, 3]


def test_best_quality_is_not_the_first_success(registry: Registry) -> None:
    add(registry, "poor", lambda: {"n": 1, "sharp": 0.1}, writes="a")
    add(registry, "good", lambda: {"n": 2, "sharp": 0.9}, writes="b")
    merge = {"strategy": "best_quality", "options": {"score": "sharp"}, "output": "best"}
    _, context = run([{"parallel": ["poor", "good"], "merge": merge}], registry)
    assert context.data["best"]["n"] == 2


def test_outputs_that_cannot_be_combined_are_refused(registry: Registry) -> None:
    add(registry, "text", lambda: "a", writes="a")
    add(registry, "number", lambda: 7, writes="b")
    result, _ = run([{"parallel": ["text", "number"], "merge": "combine_outputs"}], registry)
    assert result.status == "failed"
    assert "Cannot merge different output types" in str(result.outcomes[0].error)


def test_inferred_parallelism_keeps_the_declared_order(registry: Registry) -> None:
    add(registry, "read", lambda: 1, writes="x")
    add(registry, "independent", lambda: 5, writes="y")
    add(registry, "double", lambda x: x * 2, writes="x")
    add(registry, "show", lambda x, y: (x, y), writes="shown")
    _, context = run(["read", "independent", "double", "show"], registry, mode="dag")
    assert context.data["shown"] == (2, 5)


def test_cost_is_each_steps_own_not_an_even_share(registry: Registry) -> None:
    def dear(*, call: Call) -> None:
        call.report_cost(tokens=900)

    def cheap(*, call: Call) -> None:
        call.report_cost(tokens=1)

    add(registry, "dear", dear)
    add(registry, "cheap", cheap)
    result, _ = run([{"parallel": ["dear", "cheap"]}], registry)
    assert [outcome.cost.get("tokens") for outcome in result.outcomes if outcome.is_leaf] == [900, 1]


def test_a_group_without_an_id_has_the_same_name_in_every_run(registry: Registry) -> None:
    add(registry, "a", lambda: 1, writes="x")
    ids = {tuple(outcome.id for outcome in run([{"parallel": ["a"]}], registry)[0].outcomes) for _ in range(3)}
    assert len(ids) == 1


# The agent engine: data pipelines with parallel blocks.


@pytest.mark.parametrize("policy", ["fail_fast", "all_or_nothing"])
def test_no_branch_is_left_running_when_a_group_has_failed(policy: str, registry: Registry) -> None:
    running = 0

    async def work() -> None:
        nonlocal running
        running += 1
        try:
            for _ in range(20):
                await asyncio.sleep(0)
        finally:
            running -= 1

    failing(registry, "f", FatalError("broken"))
    add(registry, "work", work, effects=())
    result, _ = run([{"parallel": ["f", "work", "work"], "policy": policy}], registry)
    assert (result.status, running, len(result.outcomes)) == ("failed", 0, 4)


def test_two_branches_writing_one_name_are_refused_before_the_run(registry: Registry) -> None:
    add(registry, "a", lambda: 1, writes="x")
    add(registry, "b", lambda: 2, writes="x")
    with pytest.raises(InvalidPipeline, match="'x'"):
        run([{"parallel": ["a", "b"]}], registry)


def test_two_branches_writing_one_name_unannounced_are_refused_at_the_merge(registry: Registry) -> None:
    def a(context: Context) -> None:
        context.data["x"] = 1

    def b(context: Context) -> None:
        context.data["x"] = 2

    add(registry, "a", a)
    add(registry, "b", b)
    result, context = run([{"parallel": ["a", "b"]}], registry)
    assert result.status == "failed"
    assert "x" not in context.data


def test_a_missing_input_is_an_error_not_none(registry: Registry) -> None:
    add(registry, "total", lambda sales: sales, writes="t")
    with pytest.raises(InvalidPipeline, match="reads 'sales', which no earlier step writes"):
        run(["total"], registry)


def test_values_never_become_part_of_a_statement(tmp_path: Path) -> None:
    name = "x'; DROP TABLE t; --"
    with closing(sqlite3.connect(tmp_path / "a.db")) as database:
        database.execute("CREATE TABLE t (name TEXT)")
        database.execute("INSERT INTO t VALUES (?)", [name])
        database.commit()
    services = data_services(tmp_path, connections={"a": f"sqlite:///{tmp_path}/a.db"})
    query = {"source": "a", "query": "SELECT count(*) AS n FROM t WHERE name = {name}"}
    assert step_output("query", query, {"name": name}, services=services) == [{"n": 1}]


def test_steps_inside_groups_are_named_by_dotted_paths(registry: Registry) -> None:
    failing(registry, "f", FatalError("broken"))
    add(registry, "a", lambda: 1, writes="x")
    result, _ = run(["a", {"parallel": ["a", {"parallel": ["f"]}]}], registry)
    assert paths(result)["1.1.0"] == "failed"


def test_the_steps_that_a_failure_left_out_have_outcomes_too(registry: Registry) -> None:
    failing(registry, "f", FatalError("broken"))
    add(registry, "a", lambda: 1, writes="x")
    result, _ = run(["f", "a", {"parallel": ["a"]}], registry)
    assert paths(result) == {"0": "failed", "1": "skipped", "2": "skipped", "2.0": "skipped"}


# Stages of jobs.


def test_a_loop_over_nothing_known_is_refused_not_an_empty_loop(registry: Registry) -> None:
    loaded = load_pipeline_text("stages: [{name: s, loop: {over: '@run.peek.items', jobs: [a]}}]", file="s.yaml")
    add(registry, "a", lambda: 1, writes="x")
    with pytest.raises(InvalidPipeline, match="no step before it is named 'peek'"):
        make_plan(loaded.pipeline, registry=registry)


def test_idempotency_keys_are_looked_at(registry: Registry) -> None:
    def ingest(account: str) -> str:
        return account

    job(ingest, key="account:{account}", registry=registry)
    step = {"handler": "ingest", "options": {"account": "north"}}
    result, _ = run([step, step], registry)
    assert result.status == "failed"
    assert KeyCollision.__name__ in str(result.errors) or "is that of" in str(result.errors)


def test_only_the_step_that_failed_is_tried_again(registry: Registry) -> None:
    calls = list[str]()

    async def first() -> None:
        calls.append("first")

    async def shaky(*, call: Call) -> None:
        calls.append("shaky")
        if call.attempt == 1:
            raise TransientError("busy")

    add(registry, "first", first, effects=())
    add(registry, "shaky", shaky, effects=())
    run(["first", {"handler": "shaky", "retry": {"max_attempts": 2, "delay_s": 0}}], registry)
    assert calls == ["first", "shaky", "shaky"]


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage()
    uri = storage.write(str(tmp_path / "a.json"), b"old")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    monkeypatch.setattr("os.rename", full)
    with pytest.raises(Exception, match="no space left"):
        storage.write(uri, b"new and longer")
    monkeypatch.undo()
    assert storage.read(uri) == b"old"


def test_a_run_whose_required_step_failed_never_succeeds(registry: Registry) -> None:
    failing(registry, "f", FatalError("broken"))
    for policy, status in {"all_or_nothing": "failed", "best_effort": "partial", "keep_going": "failed"}.items():
        assert run([{"parallel": ["f"], "policy": policy}], registry)[0].status == status


# Document pipelines: one bad item.


def test_a_broken_document_fails_once_and_is_not_tried_for_ever(registry: Registry) -> None:
    tries = list[int]()

    async def parse(*, call: Call) -> None:
        tries.append(call.attempt)
        raise FatalError("not a PDF")

    add(registry, "parse", parse, effects=())
    result, _ = run([{"handler": "parse", "retry": {"max_attempts": 5, "delay_s": 0}}], registry)
    assert (result.status, tries) == ("failed", [1])


def test_one_bad_item_does_not_waste_the_others(registry: Registry) -> None:
    def embed(item: int) -> int:
        if item == 3:
            raise FatalError("cannot be read")
        return item * 10

    add(registry, "embed", embed, writes="vector")
    loop = {"for_each": "items", "as": "item", "steps": ["embed"], "tolerated_failure": 1, "collect": ["vector"]}
    result, context = run([loop], registry, {"items": [1, 2, 3, 4]})
    assert (result.status, context.data["vector"]) == ("partial", [10, 20, None, 40])
    assert [outcome.path for outcome in result.outcomes if outcome.kind == "item" and outcome.error] == ["0[2]"]


def test_a_server_that_asks_to_wait_is_waited_for(registry: Registry) -> None:
    async def busy(*, call: Call) -> None:
        if call.attempt == 1:
            raise TransientError("slow down", retry_after_s=0)

    add(registry, "busy", busy, effects=())
    result, _ = run([{"handler": "busy", "retry": {"max_attempts": 2, "delay_s": 3600}}], registry)
    assert result.status == "succeeded"
