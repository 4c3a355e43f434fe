"""The door on a real Prefect server: runs as flow runs, and pipelines as flows that are called, served and deployed."""

import asyncio
import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from flows import (
    Call,
    OrchestrationError,
    PipelineFailed,
    Registry,
    RunResult,
    Services,
    TransientError,
    arun,
    handler,
    parallel,
    pipeline,
    run,
    to_flow,
)
from flows.author import REGISTRY
from tests.support.scripts import ROOT

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


@handler(registry=OWN)
async def hang() -> None:
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
EXPECTED = ({"to": 2, "be": 2, "or": 1, "not": 1}, "not")


def values(result: RunResult) -> tuple[Any, Any]:
    return result["word_counts"], result.longest_word


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
    result = run(WORDS, text="to be or not to be", registry=OWN, engine="prefect", store=url)
    assert values(result) == EXPECTED
    assert result.fingerprint == run(WORDS, text="to be or not to be", registry=OWN).fingerprint
    assert flow_run(result.flow_run_id).state.name == "Completed"
    store = RunStore(url)
    record = store.get(result.run_id)
    store.close()
    assert record is not None
    assert record.flow_run_id == result.flow_run_id


async def test_runs_are_flow_runs_where_a_loop_runs() -> None:
    first, second = await asyncio.gather(
        arun(WORDS, text="to be or not to be", registry=OWN, engine="prefect"),
        arun(named(greet), text="Ada", registry=OWN, engine="prefect", services={"greeting": "hello "}),
    )
    assert values(first) == EXPECTED
    assert second["greet"] == "hello Ada"
    third = run(WORDS, text="to be or not to be", registry=OWN, engine="prefect")  # blocks, and works all the same
    assert values(third) == EXPECTED
    assert len({first.flow_run_id, second.flow_run_id, third.flow_run_id}) == 3


async def test_the_flow_run_of_a_cancelled_call_reads_cancelled() -> None:
    hanging = named(hang)
    running = asyncio.ensure_future(arun(hanging, registry=OWN, engine="prefect"))
    while not hang_has_begun(hanging.name):
        await asyncio.sleep(0.2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert only_run_of(hanging.name).state.name == "Cancelled"


def hang_has_begun(flow: str) -> bool:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])))
    return any(one.state is not None and one.state.is_running() for one in runs)


# Pipelines as flows.


def test_a_flow_returns_the_result_and_has_the_form_of_its_pipeline() -> None:
    made = to_flow(WORDS, registry=OWN)
    properties = made.parameters.properties
    assert properties["text"]["type"] == "string"
    assert [each.get("type") for each in properties["least"]["anyOf"]] == ["integer", "null"]
    assert made.parameters.required == ["text"]
    result = made(text="to be or not to be", max_concurrency=1)
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
    with pytest.raises(PipelineFailed, match="1 steps succeeded, 1 failed; first: 1.fail: .* cannot be read") as failed:
        failing(text="a")
    assert failed.value.result.word_counts == {"a": 1}
    assert flow_run(failed.value.result.flow_run_id).state.name == "Failed"


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


# Deployments.

SCRIPT = """
from flows import handler, pipeline, to_flow

@handler
def {name}(text: str) -> str:
    return text.upper()

shouting_flow = to_flow(pipeline("{name}", {name}))

if __name__ == "__main__":
    shouting_flow.serve(name="served", print_starting_message=False)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a team, in which a flow is a variable of a file."""
    name = f"shout_{uuid4().hex[:8]}"
    (tmp_path / "team_flows.py").write_text(SCRIPT.format(name=name))
    (tmp_path / "name").write_text(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def environment() -> dict[str, str]:
    from prefect.settings import get_current_settings

    url = get_current_settings().api.url
    assert url is not None
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PREFECT_API_URL": url,
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "PREFECT_LOGGING_LEVEL": "WARNING",
    }


def triggered(deployment: str) -> Any:
    """The state in which a run of a deployment ends."""
    from prefect.deployments import run_deployment

    ended: Any = run_deployment(deployment, parameters={"text": "hello"}, timeout=30, poll_interval=1)
    return ended.state


def test_a_served_flow_is_run_by_its_script(project: Path) -> None:
    name = (project / "name").read_text()
    serving = subprocess.Popen([sys.executable, "team_flows.py"], env=environment(), cwd=project)
    try:
        wait_for_deployment(f"{name}/served")
        state = triggered(f"{name}/served")
    finally:
        serving.send_signal(signal.SIGINT)
        serving.wait(timeout=60)
    assert (state.name, state.message) == ("Completed", "1 steps succeeded")


def wait_for_deployment(name: str) -> None:
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    until = time.monotonic() + 90
    with get_client(sync_client=True) as client:
        while True:
            try:
                client.read_deployment_by_name(name)
            except ObjectNotFound:
                assert time.monotonic() < until, f"{name} was not deployed"
                time.sleep(0.5)
            else:
                return


def script(project: Path, code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the project, in a file of its own."""
    (project / "deploying.py").write_text(code)
    return subprocess.run(
        [sys.executable, "deploying.py"],
        env={**environment(), **variables},
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("call", "variables"),
    [("deploy('d', work_pool_name='none')", {}), ("serve('d')", {"PREFECT__FLOW_RUN_ID": str(uuid4())})],
)
def test_a_file_that_deploys_its_flow_whenever_it_is_loaded_is_refused(
    project: Path, call: str, variables: dict[str, str]
) -> None:
    guard = 'if __name__ == "__main__":'
    code = (project / "team_flows.py").read_text().replace(guard, f"shouting_flow.{call}\n\nif not __name__:")
    ended = script(project, code, **variables)
    assert ended.returncode == 1
    assert f"put the call below `{guard}`" in ended.stderr


def test_a_deployed_flow_is_run_by_a_worker(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    name = (project / "name").read_text()
    deploying = f"""
from team_flows import shouting_flow
print(shouting_flow.to_deployment("shown").entrypoint)
shouting_flow.deploy("deployed", work_pool_name="{name}", ignore_warnings=True, print_next_steps=False)
"""
    pool = ["work-pool", "create", name, "--type", "process"]
    subprocess.run([sys.executable, "-m", "prefect", *pool], check=True, capture_output=True, env=environment())
    ended = script(project, deploying)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[0] == "team_flows.py:shouting_flow"
    elsewhere = tmp_path_factory.mktemp("worker")
    working = subprocess.Popen(
        [sys.executable, "-m", "prefect", "worker", "start", "--pool", name],
        env={**environment(), "PREFECT_WORKER_QUERY_SECONDS": "1"},
        cwd=elsewhere,
        stdout=subprocess.DEVNULL,
    )
    try:
        state = triggered(f"{name}/deployed")
    finally:
        working.send_signal(signal.SIGINT)
        working.wait(timeout=60)
    assert (state.name, state.message) == ("Completed", "1 steps succeeded")


def test_a_flow_that_no_worker_could_load_is_refused_with_the_way_that_works() -> None:
    local = to_flow(WORDS, registry=OWN)
    for deploy in (
        lambda: local.to_deployment("x"),
        lambda: local.serve("x"),
        lambda: local.deploy("x", work_pool_name="none"),
        lambda: local.with_options(name="another").to_deployment("x"),
    ):
        with pytest.raises(
            OrchestrationError, match=r"cannot be deployed: .* Write `\w+_flow = to_flow\(…\)` at the top"
        ):
            deploy()


async def test_serving_where_a_loop_runs_is_refused_with_the_way_that_works(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(project)
    served: Any = importlib.import_module("team_flows").shouting_flow
    try:
        with pytest.raises(
            OrchestrationError, match=r"write `await prefect.aserve\(await flow.ato_deployment\('now'\)\)"
        ):
            served.serve("now")
        assert (await served.ato_deployment("now")).entrypoint == "team_flows.py:shouting_flow"
    finally:
        REGISTRY.handlers.pop(served.name, None)
        del sys.modules["team_flows"]
