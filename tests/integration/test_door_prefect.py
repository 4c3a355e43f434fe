"""The door on a real Prefect server: runs as flow runs, and pipelines as flows that are called."""

import asyncio
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from flows import (
    Call,
    OrchestrationError,
    PipelineFailed,
    Registry,
    Services,
    TransientError,
    arun,
    handler,
    parallel,
    pipeline,
    run,
    to_flow,
)
from tests.support.words import EXPECTED, TEXT, values

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own event and log clients leave sockets to the garbage collector when an event loop ends.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]
OWN = Registry()


@handler(registry=OWN)
def word_counts(text: str) -> dict[str, int]:
    return {word: text.split().count(word) for word in text.split()}


@handler(registry=OWN)
async def longest_word(text: str, least: int | None = None) -> str:
    return max(text.split(), key=len)


@handler(registry=OWN)
def fail(text: str) -> str:
    raise ValueError("cannot be read")


HANGS = threading.Event()


@handler(registry=OWN)
async def hang() -> None:
    HANGS.set()
    await asyncio.Event().wait()


@handler(registry=OWN)
def greet(text: str, *, call: Call) -> str:
    return call.services["greeting"] + text


class Greeting(str):
    """A service that can be closed."""

    closed = False

    def close(self) -> None:
        self.closed = True


def named(*steps: Any, **fields: Any) -> Any:
    """A pipeline whose flow has a name of its own, so that its runs are found."""
    return pipeline(f"door-{uuid4().hex[:8]}", *steps, **fields)


WORDS = named(parallel(word_counts, longest_word))


def flow_run(id: str | None) -> Any:
    from prefect.client.orchestration import get_client

    assert id is not None
    with get_client(sync_client=True) as client:
        return client.read_flow_run(id)  # pyright: ignore[reportArgumentType]


def only_run_of(name: str) -> Any:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    with get_client(sync_client=True) as client:
        (found,) = client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=[name])))
    return found


# Runs as flow runs.


def test_a_run_is_a_flow_run_that_its_result_knows(tmp_path: Path) -> None:
    from flows.run_store import RunStore

    url = f"sqlite:///{tmp_path / 'runs.db'}"
    result = run(WORDS, text=TEXT, registry=OWN, engine="prefect", store=url)
    assert values(result) == EXPECTED
    assert result.fingerprint == run(WORDS, text=TEXT, registry=OWN).fingerprint
    assert flow_run(result.flow_run_id).state.name == "Completed"
    store = RunStore(url)
    record = store.get(result.run_id)
    store.close()
    assert record is not None
    assert record.flow_run_id == result.flow_run_id


async def test_runs_are_flow_runs_where_a_loop_runs() -> None:
    first, second = await asyncio.gather(
        arun(WORDS, text=TEXT, registry=OWN, engine="prefect"),
        arun(named(greet), text="Ada", registry=OWN, engine="prefect", services={"greeting": "hello "}),
    )
    assert values(first) == EXPECTED
    assert second["greet"] == "hello Ada"
    third = run(WORDS, text=TEXT, registry=OWN, engine="prefect")  # blocks, and works all the same
    assert values(third) == EXPECTED
    assert len({first.flow_run_id, second.flow_run_id, third.flow_run_id}) == 3


async def test_the_flow_run_of_a_cancelled_call_reads_cancelled() -> None:
    hanging = named(hang)
    running = asyncio.ensure_future(arun(hanging, registry=OWN, engine="prefect"))
    while not HANGS.is_set():
        await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert only_run_of(hanging.name).state.name == "Cancelled"


async def test_a_call_that_is_cancelled_as_it_begins_reads_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect import flow_engine

    propose_state: Any = vars(flow_engine)["propose_state"]

    async def propose_and_cancel(client: Any, state: Any, **others: Any) -> Any:
        proposed = await propose_state(client, state, **others)
        task = asyncio.current_task()
        if state.is_running() and task is not None:
            task.cancel()
            await asyncio.sleep(0)
        return proposed

    monkeypatch.setattr(flow_engine, "propose_state", propose_and_cancel)
    begun = named(greet)
    with pytest.raises(asyncio.CancelledError):
        await arun(begun, text="Ada", registry=OWN, engine="prefect")
    state = only_run_of(begun.name).state
    assert (state.name, state.message) == ("Cancelled", "Stopped before its first step")
    begun = named(greet)
    with pytest.raises(asyncio.CancelledError):
        await to_flow(begun, registry=OWN)(text="Ada")
    state = only_run_of(begun.name).state
    assert (state.name, state.message) == ("Cancelled", "Stopped before its first step")


# Pipelines as flows.


def test_a_flow_returns_the_result_and_has_the_form_of_its_pipeline() -> None:
    made = to_flow(WORDS, registry=OWN)
    properties = made.parameters.properties
    assert properties["text"]["type"] == "string"
    assert properties["least"]["type"] == "integer"
    assert made.parameters.required == ["text"]
    result = made(text=TEXT, max_concurrency=1)
    assert values(result) == EXPECTED
    assert "least" not in result
    ended = flow_run(result.flow_run_id)
    assert (ended.state.name, ended.parameters["text"]) == ("Completed", "to be or not to be")


def test_a_flow_has_the_declared_parameters_and_checks_them() -> None:
    from prefect.exceptions import ParameterBindError, ParameterTypeError

    made = to_flow(
        named(word_counts, parameters={"text": {"required": True}, "most": {"type": "integer", "maximum": 9}}),
        registry=OWN,
    )
    assert made(text="a")["most"] is None
    for given, error in (({}, ParameterBindError), ({"text": "a", "most": 10}, ParameterTypeError)):
        with pytest.raises(error):
            made(**given)


def test_what_cannot_run_is_refused_before_there_is_a_flow() -> None:
    with pytest.raises(OrchestrationError, match="no handler named 'word_cuonts'; did you mean 'word_counts'"):
        to_flow(named("word_cuonts"), registry=OWN)


def test_sync_and_async_flows_call_it_and_get_the_result() -> None:
    from prefect import flow

    words_flow = to_flow(WORDS, registry=OWN)

    @flow
    def sync_parent(text: str) -> str:
        return words_flow(text=text).longest_word

    @flow
    async def async_parent() -> list[str]:
        first = await words_flow(text="a bb")
        rest = await asyncio.gather(words_flow(text="ccc d"), words_flow(text="e ffff"))
        return [first.longest_word, *(result.longest_word for result in rest)]

    @flow
    async def parent_of_a_sync_flow() -> str:
        return sync_parent("gg h")

    async def in_a_loop() -> str:
        return sync_parent("i jj")

    assert sync_parent("to be or not to be") == "not"
    assert asyncio.run(async_parent()) == ["bb", "ccc", "ffff"]
    assert asyncio.run(parent_of_a_sync_flow()) == "gg"
    assert asyncio.run(in_a_loop()) == "jj"


def test_a_called_flow_is_a_subflow_of_its_caller() -> None:
    from prefect import flow

    words_flow, ids = to_flow(WORDS, registry=OWN), list[str | None]()

    @flow
    def parent() -> None:
        ids.append(words_flow(text="a").flow_run_id)

    parent()
    assert flow_run(ids[0]).parent_task_run_id is not None


def test_a_flow_ends_as_its_run_did() -> None:
    partial = to_flow(named(parallel(word_counts, fail, policy="best_effort")), registry=OWN)(
        text="a", return_state=True
    )
    assert (partial.type.name, partial.name, partial.result().status) == ("COMPLETED", "PartialSuccess", "partial")
    failing = to_flow(named(word_counts, fail), registry=OWN)
    with pytest.raises(PipelineFailed, match="1 step succeeded, 1 failed; first: fail: .* cannot be read") as failed:
        failing(text="a")
    assert failed.value.result.word_counts == {"a": 1}
    assert flow_run(failed.value.result.flow_run_id).state.name == "Failed"


@pytest.mark.parametrize("options", [{}, {"return_state": True}])
async def test_a_flow_whose_call_is_cancelled_reads_cancelled_and_its_caller_too(options: dict[str, Any]) -> None:
    hanging = named(hang)
    hanging_flow = to_flow(hanging, registry=OWN)
    HANGS.clear()

    async def cancel() -> None:
        await asyncio.to_thread(HANGS.wait, 60)
        calling.cancel()

    async with asyncio.timeout(60):
        calling = asyncio.ensure_future(hanging_flow(**options))
        _, ended = await asyncio.gather(cancel(), calling, return_exceptions=True)
    assert isinstance(ended, asyncio.CancelledError)
    state = only_run_of(hanging.name).state
    assert (state.name, state.message) == ("Cancelled", "Stopped by its caller")


def test_a_flow_that_its_caller_cancels_leaves_the_caller_as_it_is() -> None:
    from prefect import flow

    hanging = named(hang)
    hanging_flow = to_flow(hanging, registry=OWN)

    HANGS.clear()

    @flow
    async def parent() -> str:
        calling = asyncio.ensure_future(hanging_flow())
        await asyncio.to_thread(HANGS.wait, 60)
        calling.cancel()
        await asyncio.wait([calling])
        return "went on" if calling.cancelled() else "ended"

    assert asyncio.run(parent()) == "went on"
    assert only_run_of(hanging.name).state.name == "Cancelled"


def test_services_of_a_flow_are_made_for_each_run_and_closed_at_its_end() -> None:
    made = list[Greeting]()
    services = Services({"greeting": lambda: made.append(Greeting("hello ")) or made[-1]})
    greeting = to_flow(named(greet), registry=OWN, services=services)
    assert [greeting(text=name)["greet"] for name in ("Ada", "Alan")] == ["hello Ada", "hello Alan"]
    assert [one.closed for one in made] == [True, True]
    kept = Greeting("bye ")
    assert to_flow(named(greet), registry=OWN, services={"greeting": kept})(text="Ada")["greet"] == "bye Ada"
    assert not kept.closed


def test_a_recorded_flow_run_that_prefect_tries_again_does_only_what_had_not_succeeded(tmp_path: Path) -> None:
    calls: list[str] = []
    own = Registry()

    @handler(registry=own)
    def first(text: str) -> str:
        calls.append("first")
        return text

    @handler(registry=own)
    def second(first: str) -> str:
        calls.append("second")
        if calls.count("second") == 1:
            raise TransientError("busy")
        return first + "!"

    made = to_flow(named(first, second), registry=own, store=f"sqlite:///{tmp_path / 'runs.db'}")
    result = made.with_options(retries=1)(text="a")
    assert (result["second"], calls) == ("a!", ["first", "second", "second"])
    assert [outcome.reused for outcome in result.outcomes] == [True, False]
