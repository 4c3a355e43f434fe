"""Serving and deploying flows of pipelines on a real Prefect server, and the cases that are refused."""

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

from flows import OrchestrationError, to_flow
from flows.author import REGISTRY
from tests.support.scripts import ROOT
from tests.support.words import OWN, WORDS

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own event and log clients leave sockets to the garbage collector when an event loop ends.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]

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

    ended: Any = run_deployment(deployment, parameters={"text": "hello"}, timeout=120, poll_interval=1)
    return ended.state


def test_a_served_flow_is_run_by_its_script(project: Path) -> None:
    name = (project / "name").read_text()
    serving = subprocess.Popen([sys.executable, "team_flows.py"], env=environment(), cwd=project)
    try:
        wait_for_deployment(f"{name}/served")
        state = triggered(f"{name}/served")
    finally:
        serving.send_signal(signal.SIGINT)
        serving.wait(timeout=180)
    assert state.name == "Completed"
    assert state.message.endswith(": HELLO")


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
        working.wait(timeout=180)
    assert state.name == "Completed"
    assert state.message.endswith(": HELLO")


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
