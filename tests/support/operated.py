"""A Prefect server with a process worker, and a team's folder with pipelines and handlers that count their calls."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from deployments.catalog import load_catalog
from deployments.server.local import LocalServer
from deployments.settings import Settings
from flows.run_store import RunStore
from tests.support.paths import ROOT
from tests.support.ports import free_port

HANDLERS = """
import asyncio
import os
from pathlib import Path

from flows import handler
from flows.errors import FatalError

FOLDER = Path(os.environ["OPERATED_FOLDER"])


def note(name):
    with (FOLDER / "calls.txt").open("a") as calls:
        calls.write(f"{name}\\n")


@handler(writes="greeting")
def operated_greet(name, times):
    note(f"greet {name} {times}")
    return " ".join([name] * times)


@handler(writes="first")
def operated_first():
    note("first")
    return 1


@handler(writes="second")
def operated_broken(first):
    note("broken")
    if not (FOLDER / "mended").exists():
        raise FatalError("the disk is full")
    return first + 1


@handler(writes="third")
def operated_last(second):
    note("last")
    return second + 1


@handler(writes="part")
def operated_part():
    note("part")
    return 1


@handler(writes="parts")
def operated_repaired(part, amount):
    note(f"repaired {amount}")
    if not (FOLDER / "repaired").exists():
        raise FatalError("the valve is stuck")
    return part + amount


@handler(writes="quick")
def operated_quick():
    note("quick")
    return 1


@handler(writes="waited")
async def operated_wait():
    note("waiting")
    await asyncio.sleep(120)
"""
PIPELINES = {
    "greet": """
name: greet
description: Greet somebody.
parameters:
  name: {type: text, required: true, description: Who is greeted.}
  times: {type: integer, default: 1, minimum: 1, maximum: 3, description: How often.}
  tone: {type: text, default: kind, choices: [kind, short]}
steps:
  - handler: operated_greet
    reads: {name: name, times: times}
""",
    "mended": "name: mended\nsteps: [operated_first, operated_broken, operated_last]\n",
    "repaired": "name: repaired\nparameters: {amount: {type: integer, default: 1}}\n"
    "steps: [operated_part, operated_repaired]\n",
    "waits": "name: waits\nsteps:\n  - parallel: [operated_quick, operated_wait]\n  - operated_last\n"
    "parameters: {second: {type: integer, default: 1}}\n",
}


@dataclass(frozen=True)
class Operated:
    """The operations for tests."""

    server: LocalServer
    folder: Path
    settings: Settings

    def deploy(self, *names: str, schedules: str | None = None, **options: Any) -> list[Any]:
        """Deploy to the server; returns the changes."""
        from deployments.server.deploying import deploy

        settings = self.settings
        if schedules is not None:
            path = self.folder / "schedules.yaml"
            path.write_text(schedules)
            settings = settings.model_copy(update={"schedules": path})
        with self.connected():
            return deploy(names, catalog=load_catalog(settings), settings=settings, **options)

    def start(self, name: str, parameters: Mapping[str, Any] | None = None) -> UUID:
        """Start a run of a deployment, as the form does."""
        with self.client() as client:
            deployment = client.read_deployment_by_name(f"{name}/{name}")
            return client.create_flow_run_from_deployment(deployment.id, parameters=dict(parameters or {})).id

    def wait(self, flow_run: UUID, *, until: Callable[[Any], bool] = lambda state: state.is_final()) -> Any:
        """The flow run, once its state fulfils `until`."""

        def look() -> Any:
            with self.client() as client:
                found = client.read_flow_run(flow_run)
            return found if found.state is not None and until(found.state) else None

        return wait_for(look, lambda: f"{flow_run}: {self.log()}")

    def calls(self) -> list[str]:
        path = self.folder / "calls.txt"
        return path.read_text().splitlines() if path.exists() else []

    def wait_for_call(self, name: str) -> None:
        wait_for(lambda: name in self.calls() or None, self.log)

    def statuses(self, flow_run: UUID) -> tuple[str, dict[str, str]]:
        """The status of the record of a flow run, and of its leaves by id."""
        store = RunStore(self.settings.run_store_url)
        try:
            record = store.of_flow_run(str(flow_run))
            assert record is not None
            return record.status, {row["step_id"]: row["status"] for row in store.outcomes(record.run_id)}
        finally:
            store.close()

    def run_id(self, flow_run: UUID) -> str:
        """The id of a flow run in `braid runs`."""
        store = RunStore(self.settings.run_store_url)
        try:
            record = store.of_flow_run(str(flow_run))
        finally:
            store.close()
        assert record is not None
        return record.run_id

    @contextmanager
    def client(self) -> Iterator[Any]:
        from prefect.client.orchestration import get_client

        with self.connected(), get_client(sync_client=True) as client:
            yield client

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Prefect's clients in this process talk to the server.

        Prefect keeps one sender of events per process, which stays with the server that it first met: it is ended
        before and after, so that no event of this test or of the next one goes to the wrong server.
        """
        from prefect.events.worker import EventsWorker
        from prefect.settings import PREFECT_API_URL, temporary_settings

        with temporary_settings({PREFECT_API_URL: self.server.url}):
            EventsWorker.drain_all(timeout=5)
            try:
                yield
            finally:
                EventsWorker.drain_all(timeout=5)

    def log(self) -> str:
        return self.server.log("worker").read_text(errors="replace")[-3000:]


def wait_for(look: Callable[[], Any], said: Callable[[], str], *, within_s: float = 150.0) -> Any:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        found = look()
        if found is not None:
            return found
        time.sleep(0.3)
    raise AssertionError(f"waited in vain\n{said()}")


@contextmanager
def run_operated(folder: Path) -> Iterator[Operated]:
    """Server, pool and worker, without deployments."""
    for name, text in PIPELINES.items():
        path = folder / "pipelines" / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (folder / "operated_handlers.py").write_text(HANDLERS)
    (folder / "schedules.yaml").write_text("")
    variables = {
        "BRAID_HOME": str(folder / "home"),
        "BRAID_PIPELINES_DIRS": str(folder / "pipelines"),
        "BRAID_HANDLER_MODULES": "operated_handlers",
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
        "BRAID_EMBEDDING_MODEL": "hashing",
        "OPERATED_FOLDER": str(folder),
        # Sooner than by default, so that tests need not wait.
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "1",
        "PREFECT_LOGGING_LEVEL": "INFO",
    }
    settings = Settings(
        home=folder / "home",
        pipelines_dirs=(folder / "pipelines",),
        schedules=folder / "schedules.yaml",
        embedding_model="hashing",
    )
    with LocalServer(folder / "server", port=free_port(), environment=variables) as server:
        server.start_server()
        operated = Operated(server, folder, settings)
        operated.deploy("greet")
        server.start_worker("braid")
        yield operated
