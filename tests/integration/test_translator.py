"""Pipelines as Prefect flows on a real server: the states, names and times that a person then sees."""

import asyncio
import random
import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest

from flows.author import Call, OutputField, Registry, RunResult, handler
from flows.engine import Prepared, run_plan
from flows.errors import FatalError, OrchestrationError, TransientError
from flows.model import Pipeline
from flows.planning import make_plan
from flows.state import Context
from handlers.records import Hit
from tests.support.random_pipelines import mixing_registry, random_pipeline

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own event and log clients leave sockets to the garbage collector when an event loop ends.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def registry() -> Registry:
    made = Registry()

    @handler(registry=made, effects=())
    async def ok() -> None: ...

    @handler(registry=made)
    async def fatal() -> None:
        raise FatalError("broken input")

    @handler(registry=made)
    async def forever() -> None:
        await asyncio.Event().wait()

    @handler(registry=made)
    def blocked() -> None:
        time.sleep(3)

    @handler(registry=made)
    async def flaky(*, call: Call) -> None:
        if call.attempt < 3:
            raise TransientError("busy", retry_after_s=0.3)

    @handler(registry=made)
    async def waits_to_retry() -> None:
        raise TransientError("busy", retry_after_s=60)

    @handler(registry=made, effects=())
    async def pays(*, call: Call) -> None:
        call.report_cost(usd=2)

    @handler(registry=made, effects=())
    def sets_aside(*, call: Call) -> None:
        call.logger.info("looking at the documents")
        call.fail_item("bad.pdf", "no text in it")

    return made


def run(steps: Any, registry: Registry, data: Mapping[str, Any] | None = None, **fields: Any) -> tuple[RunResult, str]:
    """The result, and the unique name of the flow, by which its runs are found."""
    from flows.translator import run_as_flow

    name = f"test-{uuid4().hex[:8]}"
    pipeline = Pipeline.model_validate({"name": name, "steps": steps, **fields})
    plan = make_plan(pipeline, registry=registry, given=data or {})
    return run_as_flow(pipeline, {}, lambda _: Prepared(plan, Context(data or {}))), name


def flow_state(name: str) -> Any:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    with get_client(sync_client=True) as client:
        (found,) = client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=[name])))
    return found.state


def task_states(name: str, *, expect: int) -> dict[str, tuple[str | None, int]]:
    """Name: state name and run count of the task runs; they reach the database a little later than the flow run."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    until = time.monotonic() + 60
    with get_client(sync_client=True) as client:
        while True:
            found = client.read_task_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=[name])))
            done = [task for task in found if task.state is not None and task.state.is_final()]
            if len(done) >= expect or time.monotonic() > until:
                return {task.name: (task.state.name, task.run_count) for task in found if task.state is not None}
            time.sleep(0.2)


def log_messages(run_id: Any, *, until: str) -> list[str]:
    """The messages of a flow run's log; waits for one, since logs are sent in batches."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

    give_up = time.monotonic() + 60
    with get_client(sync_client=True) as client:
        while True:
            found = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id])))
            messages = [entry.message for entry in found]
            if until in messages or time.monotonic() > give_up:
                return messages
            time.sleep(0.3)


def test_siblings_of_a_failure_read_cancelled_and_soon(registry: Registry) -> None:
    result, name = run([{"parallel": ["forever", "fatal", "forever"], "policy": "fail_fast"}, "ok"], registry)
    assert result.status == "failed"
    assert result.seconds < 20
    states = task_states(name, expect=3)
    assert {key: state for key, (state, _) in states.items()} == {
        "forever #1": "Cancelled",
        "fatal": "Failed",
        "forever #2": "Cancelled",
    }
    final = flow_state(name)
    assert (final.name, "broken input" in final.message) == ("Failed", True)


def test_transient_is_retried_after_what_the_other_side_asks_and_fatal_is_not(registry: Registry) -> None:
    retry = {"max_attempts": 3, "delay_s": 30}
    result, name = run([{"handler": "flaky", "retry": retry}, {"handler": "fatal", "retry": retry}], registry)
    attempts = {outcome.id: outcome.attempts for outcome in result.outcomes}
    assert attempts == {"0.flaky": 3, "1.fatal": 1}
    assert result.outcomes[0].seconds < 20
    assert task_states(name, expect=2) == {"flaky": ("Completed", 3), "fatal": ("Failed", 1)}


def test_a_branch_that_waits_to_be_retried_can_be_stopped_and_reads_cancelled(registry: Registry) -> None:
    made = Registry(dict(registry.handlers))

    @handler(registry=made)
    async def fails_later() -> None:
        await asyncio.sleep(1.5)
        raise FatalError("broken")

    group = {"parallel": ["waits_to_retry", "fails_later"], "policy": "fail_fast"}
    result, name = run([group], made, retry={"max_attempts": 2})
    assert result.seconds < 30
    time.sleep(3)
    assert task_states(name, expect=2)["waits_to_retry"][0] == "Cancelled"


def test_timeouts_read_timed_out_and_a_blocked_thread_holds_nothing_up(registry: Registry) -> None:
    steps = [{"parallel": {"policy": "best_effort", "timeout_s": 0.5, "branches": ["forever", "blocked", "ok"]}}]
    result, name = run(steps, registry)
    assert [outcome.status for outcome in result.outcomes] == ["succeeded", "timed_out", "abandoned", "succeeded"]
    states = task_states(name, expect=3)
    assert {key: state for key, (state, _) in states.items()} == {
        "forever": "TimedOut",
        "blocked": "TimedOut",
        "ok": "Completed",
    }
    assert flow_state(name).name == "PartialSuccess"


def test_items_set_aside_make_a_partial_success_and_logs_reach_the_run(registry: Registry) -> None:
    result, name = run(["sets_aside"], registry)
    assert (result.status, result.failures[0].item) == ("partial", "bad.pdf")
    assert task_states(name, expect=1) == {"sets_aside": ("PartialSuccess", 1)}
    final = flow_state(name)
    assert (final.name, final.type.value, "1 item set aside" in final.message) == (
        "PartialSuccess",
        "COMPLETED",
        True,
    )
    run_id = final.state_details.flow_run_id
    assert "looking at the documents" in log_messages(run_id, until="looking at the documents")


def test_items_of_a_loop_are_task_runs_named_for_step_and_item(registry: Registry) -> None:
    _, name = run([{"for_each": "numbers", "steps": ["ok"], "batch_size": 2}], registry, {"numbers": [1, 2, 3]})
    assert set(task_states(name, expect=2)) == {"ok · batch 1 of 2", "ok · batch 2 of 2"}


def artifacts_of(name: str) -> dict[str, str]:
    """Key: text of the artifacts of the only run of a flow."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    mine = ArtifactFilterFlowRunId(any_=[flow_state(name).state_details.flow_run_id])
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=mine))
    assert len({artifact.key for artifact in found}) == len(found)
    return {str(artifact.key): str(artifact.data) for artifact in found}


@pytest.mark.parametrize("first_s", [0.0, 60.0], ids=["progress is shown", "only the end is shown"])
def test_a_run_leaves_pages_under_fixed_keys(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, first_s: float
) -> None:
    monkeypatch.setattr("flows.translator.artifacts.FIRST_S", first_s)
    monkeypatch.setattr("flows.translator.artifacts.PROGRESS_EVERY_S", 0.05)
    group = {"parallel": ["fatal", "ok"], "policy": "best_effort"}
    _, name = run(["sets_aside", "pays", group], registry)
    pages = artifacts_of(name)
    assert set(pages) - {"braid-result"} == {
        f"braid-{key}" for key in ("run", "plan", "outcomes", "errors", "cost", "timing")
    }
    assert "](data:image/svg+xml;base64," in pages["braid-plan"]
    assert pages["braid-run"].startswith("## ⚠ Succeeded in part")
    assert "- **fatal failed**: broken input" in pages["braid-run"]
    assert "[timing](" in pages["braid-run"]
    assert "[plan](" in pages["braid-run"]
    assert "### ✗ fatal failed" in pages["braid-errors"]
    assert "This run cost **2 usd**." in pages["braid-cost"]


def test_a_run_that_is_refused_says_why_and_logs_no_traceback() -> None:
    from flows.translator import translate

    why = "no index named 'manualz'; did you mean 'manuals'?"

    def refuse(_: Mapping[str, Any]) -> Prepared:
        raise OrchestrationError(why)

    name = f"test-{uuid4().hex[:8]}"
    refused = translate(Pipeline.model_validate({"name": name, "steps": ["anything"]}), refuse, controls=())
    with pytest.raises(OrchestrationError, match="did you mean"):
        refused()
    state = flow_state(name)
    assert (state.name, state.message) == ("Failed", why)
    last = f"Finished in state Failed({why!r})".replace("\\'", "'")
    logged = log_messages(state.state_details.flow_run_id, until=last)
    assert last in logged
    assert not [message for message in logged if "Traceback" in message]


def test_the_result_of_a_run_is_an_artifact() -> None:
    made = Registry()

    @handler(registry=made)
    def found(query: str) -> list[Hit]:
        content = f"The {query} is written first."
        return [Hit("c1", "d1", 0.5, content, "vector", name="wal.md", page=3, highlights=((4, 4 + len(query)),))]

    @handler(registry=made)
    def rows(found: list[Hit]) -> list[dict[str, Any]]:
        return [{"name": hit.name, "score": hit.score} for hit in found]

    @handler(registry=made)
    def login(*, call: Call) -> dict[str, str]:
        return {"address": "https://me:hunter22@example.org", "password": "hunter22"}

    result, name = run(
        ["found", "rows", "login"],
        made,
        {"query": "WAL"},
        outputs={"passages": "found", "table": "rows", "login": "login"},
    )
    assert result.outputs["table"] == [{"name": "wal.md", "score": 0.5}]
    page = artifacts_of(name)["braid-result"]
    assert page.startswith("### passages\n\n**1. wal.md**, page 3\n")
    assert "> The **WAL** is written first." in page
    assert "score **0.5000**" in page
    assert "| name | score |" in page
    assert "hunter22" not in page


def test_a_run_that_used_up_its_budget_says_how_to_go_on(registry: Registry) -> None:
    retry = {"max_attempts": 5, "delay_s": 0}
    group = {"parallel": [{"handler": "pays", "id": f"p{i}", "uses": ["bank"]} for i in range(3)]}
    steps = [group, {"handler": "ok", "retry": retry}]
    result, name = run(steps, registry, budget={"usd": 3.5}, resources={"bank": {"concurrency": 1}})
    assert (result.status, result.transient, result.cost) == ("failed", False, {"usd": 2.0})
    assert task_states(name, expect=3) == {
        "p0": ("Completed", 1),
        "p1": ("Cancelled", 1),
        "p2": ("Cancelled", 1),
    }
    final = flow_state(name)
    assert (final.name, "Go on with: braid resume run --budget usd=7" in final.message) == ("Failed", True)
    assert "budget: 2 usd of 3.5 usd used" in artifacts_of(name)["braid-errors"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_same_plan_gives_the_same_hash_inline_and_on_prefect(seed: int) -> None:
    pipeline = random_pipeline(random.Random(seed))
    start = {"seed": "s", "items": ["a", "b"]}
    handlers = mixing_registry(lambda: 1)
    plan = make_plan(pipeline, registry=handlers, given=start)
    inline = asyncio.run(run_plan(Prepared(plan, Context(start))))
    result, _ = run(
        [step.model_dump(by_alias=True) for step in pipeline.steps],
        handlers,
        start,
        reducers=dict(pipeline.reducers),
        max_concurrency=pipeline.max_concurrency,
    )
    assert result.fingerprint == inline.fingerprint
    assert [(o.path, o.status) for o in result.outcomes] == [(o.path, o.status) for o in inline.outcomes]


def test_the_flow_has_a_typed_form(registry: Registry) -> None:
    from flows.translator import translate

    pipeline = Pipeline.model_validate(
        {
            "name": "form",
            "description": "A form.",
            "steps": ["ok"],
            "parameters": {
                "source": {"required": True, "description": "A folder."},
                "top": {"type": "integer", "default": 5, "minimum": 1, "maximum": 50},
                "kind": {"choices": ["a", "b"], "default": "a"},
            },
        }
    )
    plan = make_plan(pipeline, registry=registry)
    outputs = (OutputField("total", "total", "All of it.", "int"), OutputField("rows", "rows"))
    flow = translate(pipeline, lambda given: Prepared(plan, Context(dict(given))), outputs=outputs)
    assert flow.description == "A form.\n\nOutputs:\n\n- `total` (int): All of it.\n- `rows`"
    schema = flow.parameters.model_dump()
    assert schema["required"] == ["source"]
    assert schema["properties"]["top"]["maximum"] == 50
    assert schema["properties"]["kind"]["enum"] == ["a", "b"]
    assert schema["properties"]["source"]["description"] == "A folder."
    assert {"index", "max_concurrency"} <= set(schema["properties"])
    state = flow(source="folder", return_state=True)
    assert state.name == "Completed"
