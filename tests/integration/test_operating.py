"""The operator's life on a real Prefect server with a real process worker: deploy, trigger, schedule, cancel, retry."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from deployments.catalog import load_catalog
from deployments.cli import app
from deployments.runs import Request, run_pipeline
from handlers.stores import open_index
from tests.support.operated import Operated, wait_for
from tests.support.paths import ROOT

pytestmark = [
    # Prefect's own event and log clients leave sockets to the garbage collector when an event loop ends.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]


@dataclass(frozen=True)
class Queue:
    """Runs in separate processes, one after the other because of a server-side limit; they record when they start and end."""

    name: str
    folder: Path
    operated: Operated

    def start(self, takes_s: str) -> "subprocess.Popen[str]":
        resources = json.dumps({self.name: {"concurrency": 1}})
        arguments = [f"sqlite:///{self.folder}/runs.db", str(self.folder / "notes"), "3", resources, "1", takes_s]
        command = [sys.executable, "-m", "tests.support.limited_worker", *arguments]
        return subprocess.Popen(command, env=self.operated.server.environment, stdout=subprocess.PIPE, text=True)

    def noted(self) -> list[str]:
        return [line.split()[1] for line in (self.folder / "notes").read_text().splitlines()]


@pytest.fixture(scope="module")
def killed_in_seat(operated: Operated, tmp_path_factory: pytest.TempPathFactory) -> Queue:
    """A run was killed while it held the only slot; comes first, since its lease lasts for a minute."""
    queue = Queue(f"api-{uuid4().hex[:8]}", tmp_path_factory.mktemp("queue"), operated)
    (queue.folder / "notes").touch()
    killed = queue.start("600")
    wait_for(lambda: queue.noted() or None, operated.log)
    with operated.client() as client:
        assert client.read_global_concurrency_limit_by_name(f"braid:{queue.name}").active_slots == 1
    killed.kill()
    killed.communicate()
    return queue


@pytest.fixture(scope="module")
def started(operated: Operated, killed_in_seat: Queue) -> dict[str, UUID]:
    """Runs of several deployments, started together: each needs seconds to begin."""
    operated.deploy()
    return {
        "greet": operated.start("greet", {"name": "Ada", "times": 2, "index": "people"}),
        "mended": operated.start("mended"),
        "waits": operated.start("waits"),
        "planned": operated.start("greet", {"name": "Bob", "dry_run": True}),
    }


def test_deploying_twice_changes_nothing(operated: Operated, started: dict[str, UUID]) -> None:
    assert operated.deploy() == []


def test_the_form_describes_every_parameter(operated: Operated, started: dict[str, UUID]) -> None:
    with operated.client() as client:
        schemas = [
            client.read_deployment_by_name(f"{name}/{name}").parameter_openapi_schema for name in ("greet", "mended")
        ]
    greet, mended = (schema["properties"] for schema in schemas)
    assert greet["times"] | {"position": 0} == {
        "type": "integer",
        "minimum": 1,
        "maximum": 3,
        "default": 1,
        "title": "Times",
        "description": "How often.",
        "position": 0,
    }
    assert greet["tone"]["enum"] == ["kind", "short"]
    assert schemas[0]["required"] == ["name"]
    assert all(field.get("description") for name, field in {**greet, **mended}.items() if name != "tone")


def test_a_triggered_run_gets_its_parameters_and_says_what_it_is(operated: Operated, started: dict[str, UUID]) -> None:
    run = operated.wait(started["greet"])
    assert (run.state.name, run.name, run.tags) == ("Completed", "greet · Ada", ["braid", "pipeline:greet"]), (
        operated.log()
    )
    assert "greet Ada 2" in operated.calls()
    assert artifacts(operated, run.id) >= {"braid-plan", "braid-outcomes"}


def test_a_dry_run_shows_the_plan_and_does_nothing(operated: Operated, started: dict[str, UUID]) -> None:
    run = operated.wait(started["planned"])
    assert (run.state.name, artifacts(operated, run.id)) == ("Completed", {"braid-plan"})
    assert "greet Bob 1" not in operated.calls()


def test_a_cancelled_run_ends_cancelled_and_its_outcomes_are_recorded(
    operated: Operated, started: dict[str, UUID]
) -> None:
    from prefect.states import Cancelling

    operated.wait_for_call("waiting")
    wait_for(lambda: "quick" in operated.calls() or None, operated.log)
    with operated.client() as client:
        client.set_flow_run_state(started["waits"], Cancelling())
    run = operated.wait(started["waits"])
    assert run.state.type.value == "CANCELLED", operated.log()
    status, outcomes = operated.statuses(run.id)
    assert status == "cancelled"
    assert outcomes["0.0.operated_quick"] == "succeeded"
    assert outcomes["0.1.operated_wait"] == "cancelled"
    assert "last" not in operated.calls()


def test_a_retry_does_only_what_had_not_succeeded(operated: Operated, started: dict[str, UUID]) -> None:
    from prefect.states import AwaitingRetry

    run = operated.wait(started["mended"])
    assert run.state.name == "Failed"
    assert "the disk is full" in run.state.message
    (operated.folder / "mended").touch()
    with operated.client() as client:  # what Retry in the UI does
        client.set_flow_run_state(run.id, AwaitingRetry(), force=True)
    run = operated.wait(run.id, until=lambda state: state.is_completed() or state.is_crashed())
    assert run.state.name == "Completed", operated.log()
    counts = [operated.calls().count(name) for name in ("first", "broken", "last")]
    assert counts == [1, 2, 1]


@pytest.fixture
def braid(operated: Operated, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Runs a command against the server; returns its exit code and output."""
    monkeypatch.setenv("COLUMNS", "300")
    for name in ("BRAID_HOME", "BRAID_PIPELINES_DIRS"):
        monkeypatch.setenv(name, operated.server.environment[name])

    def run(*arguments: str) -> tuple[int, str]:
        with operated.connected():
            ended = CliRunner().invoke(app, arguments, prog_name="braid")
        if ended.exception is not None and not isinstance(ended.exception, SystemExit):
            raise ended.exception
        return ended.exit_code, ended.output

    return run


def test_a_run_that_is_waited_for_ends_the_command_as_it_ended_and_is_resumed_from_the_form(
    operated: Operated, started: dict[str, UUID], braid: Callable[..., tuple[int, str]]
) -> None:
    code, out = braid("run", "repaired", "--deployed", "--wait", "-p", "amount=2", "--index", "valves")
    assert code == 1, out
    name, url = out.splitlines()
    failed = UUID(url.rpartition("/")[2])
    run_id = operated.run_id(failed)
    assert (name, url) == (
        f"repaired · {run_id}: Failed",
        f"{operated.server.url.removesuffix('/api')}/runs/flow-run/{failed}",
    )
    (operated.folder / "repaired").touch()
    code, out = braid("run", "repaired", "--deployed", "--wait", "-p", f"resume_from={run_id}", "--json")
    told = json.loads(out)
    assert (code, told["name"], told["state"]) == (0, f"repaired · resumes {run_id}", "Completed"), operated.log()
    assert told["outputs"] == {"parts": 3}
    # Successful steps are reused, with the parameters of that run; the other steps are run.
    calls = [call for call in operated.calls() if call.startswith(("part", "repaired"))]
    assert calls == ["part", "repaired 2", "repaired 2"]
    assert operated.statuses(UUID(told["flow_run_id"])) == (
        "succeeded",
        {"0.operated_part": "succeeded", "1.operated_repaired": "succeeded"},
    )


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"name": "Ada", "times": 0}, "minimum"),
        ({"name": "Ada", "tone": "rude"}, "rude"),
        ({"name": "Ada", "polite": True}, "polite"),
        ({}, "name"),
        ({"name": "Ada", "max_concurrency": 0}, "max_concurrency"),
    ],
)
def test_the_server_refuses_parameters_that_do_not_fit(
    operated: Operated, parameters: dict[str, object], said: str
) -> None:
    from prefect.exceptions import PrefectHTTPStatusError

    with pytest.raises(PrefectHTTPStatusError, match=said):
        operated.start("greet", parameters)


def test_a_schedule_that_is_due_starts_a_run_and_leaves_when_it_is_taken_out_of_the_file(operated: Operated) -> None:
    changes = operated.deploy(
        "greet",
        schedules="""
greet:
  overlap: cancel_new
  schedules:
    soon: {interval: 5s, parameters: {name: Timer}}
""",
    )
    assert [change.details for change in changes] == [
        ("overlap: allow → 1 at once per index, then cancel_new", "schedule soon: every 5s (UTC)")
    ]
    wait_for(lambda: "greet Timer 1" in operated.calls() or None, operated.log)
    (change,) = operated.deploy("greet", schedules="")
    assert change.details == ("overlap: 1 at once per index, then cancel_new → allow", "schedule soon: removed")


def test_those_who_deploy_at_once_share_one_work_pool(operated: Operated) -> None:
    from prefect import get_client

    from deployments.server.deploying import deploy_for_shards

    loaded = load_catalog(operated.settings).find("greet")

    async def all_at_once() -> set[Any]:
        async with get_client() as client:
            return set(await asyncio.gather(*(deploy_for_shards(client, loaded, "raced") for _ in range(3))))

    with operated.connected():
        assert len(asyncio.run(all_at_once())) == 1


def test_what_others_made_is_left_alone(operated: Operated) -> None:
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import CronSchedule

    from flows.errors import OrchestrationError

    with operated.client() as client:
        deployment = client.read_deployment_by_name("greet/greet")
        by_hand = DeploymentScheduleCreate(schedule=CronSchedule(cron="0 0 1 1 *"), active=False)
        client.create_deployment_schedules(deployment.id, [by_hand])
        flow_id = client.create_flow_from_name("mended")
        foreign = client.create_deployment(flow_id, "foreign", entrypoint="x.py:x")
    assert operated.deploy("greet", schedules="", prune=True) == []
    with operated.client() as client:
        assert len(client.read_deployment_by_name("greet/greet").schedules) == 1
        assert client.read_deployment(foreign).name == "foreign"
    path = operated.folder / "pipelines" / "taken.yaml"
    path.write_text("name: taken\nsteps: [operated_first]\n")
    try:
        with operated.client() as client:
            client.create_deployment(client.create_flow_from_name("taken"), "taken", entrypoint="x.py:x")
        with pytest.raises(OrchestrationError, match="that Braid did not make"):
            operated.deploy("taken")
    finally:
        path.unlink()


def test_pruning_removes_what_braid_made_and_the_catalog_no_longer_has_and_nothing_else(operated: Operated) -> None:
    from prefect.exceptions import ObjectNotFound

    folder = operated.folder / "pipelines"
    names = ("passing", "breaking")
    for name in names:
        (folder / f"{name}.yaml").write_text(f"name: {name}\nsteps: [operated_first]\n")
    operated.deploy(*names)
    with operated.client() as client:
        flow_id = client.create_flow_from_name("passing")
        others = [
            client.create_deployment(flow_id, "by-hand", entrypoint="x.py:x"),
            client.create_deployment(
                flow_id, "of-another-folder", entrypoint="x.py:x", path="/srv/else", tags=["braid"]
            ),
            client.create_deployment(flow_id, "passing-shards", entrypoint="x.py:x", path=str(ROOT), tags=["shards"]),
        ]
    (folder / "passing.yaml").unlink()
    (folder / "breaking.yaml").write_text("name: breaking\nsteps: [no such handler]\n")
    try:
        removed = [("remove", "deployment passing/passing")]
        for dry_run in (True, False):
            changes = operated.deploy("greet", prune=True, dry_run=dry_run)
            assert [(each.action, each.what) for each in changes if each.action == "remove"] == removed
        with operated.client() as client:
            with pytest.raises(ObjectNotFound):
                client.read_deployment_by_name("passing/passing")
            # A file that cannot be read at the moment is no reason to lose its schedules.
            assert client.read_deployment_by_name("breaking/breaking").tags == ["braid"]
            assert {client.read_deployment(each).name for each in others} == {
                "by-hand",
                "of-another-folder",
                "passing-shards",
            }
    finally:
        (folder / "breaking.yaml").unlink()
    assert [each.what for each in operated.deploy("greet", prune=True)] == ["deployment breaking/breaking"]


def test_a_scheduled_ingestion_prunes_when_its_schedule_says_so(operated: Operated, tmp_path: Path) -> None:
    for name in ("bees", "ants", "owls"):
        (tmp_path / f"{name}.md").write_text(f"The {name} live in the garden.\n")
    catalog = load_catalog(operated.settings)
    request = Request(catalog.find("ingest"), {"source": str(tmp_path)}, index="garden", engine="inline")
    done = run_pipeline(request, settings=operated.settings, catalog=catalog)
    assert done.status == "succeeded"
    (tmp_path / "ants.md").unlink()
    operated.deploy(
        "ingest",
        schedules=f"""
ingest:
  overlap: cancel_new
  schedules:
    soon:
      interval: 5s
      parameters: {{source: {tmp_path}, index: garden, prune: true, max_prune_share: 0.5}}
""",
    )

    def left() -> Any:
        with closing(open_index(operated.settings.index_location("garden"))) as store:
            names = sorted(each.name for each in store.documents())
        return names if len(names) < 3 else None

    try:
        assert wait_for(left, operated.log) == ["bees.md", "owls.md"]
    finally:
        operated.deploy("ingest", schedules="")


def test_a_deployment_of_an_earlier_version_still_runs_and_is_brought_up_to_date(operated: Operated) -> None:
    from prefect.client.schemas.actions import DeploymentUpdate

    operated.deploy("greet")
    with operated.client() as client:
        deployment = client.read_deployment_by_name("greet/greet")
        client.update_deployment(deployment.id, DeploymentUpdate(entrypoint="deployments/catalog.py:greet"))
    run = operated.wait(operated.start("greet", {"name": "Old"}))
    assert (run.state.name, "greet Old 1" in operated.calls()) == ("Completed", True), operated.log()
    (change,) = operated.deploy("greet")
    assert change.details == ("entrypoint: deployments/catalog.py:greet → deployments/server/entrypoints.py:greet",)


def test_a_deployed_run_ingests_in_shards_that_are_runs_of_their_own(operated: Operated, tmp_path: Path) -> None:
    for name in ("bees", "ants", "owls"):
        (tmp_path / f"{name}.md").write_text(f"The {name} live in the garden.\n")
    operated.deploy("ingest_shards")
    run = operated.wait(operated.start("ingest_shards", {"source": str(tmp_path), "shards": 2, "index": "sharded"}))
    assert run.state.name == "Completed", operated.log()
    with closing(open_index(operated.settings.index_location("sharded"))) as store:
        assert sorted(each.name for each in store.documents()) == ["ants.md", "bees.md", "owls.md"]


def test_prefect_deploy_and_braid_deploy_leave_the_same(operated: Operated) -> None:
    listed = YAML(typ="safe").load((ROOT / "prefect.yaml").read_text())["deployments"]
    shipped = sorted(path.stem for path in (ROOT / "deployments" / "pipelines").glob("*.yaml"))
    assert sorted(one["name"] for one in listed) == shipped

    schedules = """
ingest:
  overlap: enqueue
  schedules:
    nightly: {cron: "0 2 * * *", timezone: Europe/Berlin, parameters: {source: /srv/documents}}
    often: {interval: 6h, active: false, parameters: {source: /srv/inbox}}
"""
    (operated.folder / "schedules.yaml").write_text(schedules)
    environment = {**operated.server.environment, "BRAID_SCHEDULES": str(operated.folder / "schedules.yaml")}

    def by_prefect(*which: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", *which]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return deployed()

    def deployed() -> dict[str, Any]:
        with operated.client() as client:
            known = {name: client.read_deployment_by_name(f"{name}/{name}") for name in shipped}
        apart = {
            "updated",
            "version",
            "version_id",
            "version_info",
            "last_polled",
            "status",
            "global_concurrency_limit",
        }
        told = {name: each.model_dump(exclude=apart) for name, each in known.items()}
        for each in told.values():
            form = each["parameter_openapi_schema"].items()  # both leave out empty values, each in its own way
            each["parameter_openapi_schema"] = {k: v for k, v in form if v and k != "additionalProperties"}
            for field in each["parameter_openapi_schema"]["properties"].values():
                if field.get("default", ...) is None:
                    del field["default"]
            each["schedules"].sort(key=lambda schedule: schedule["slug"])
            for schedule in each["schedules"]:
                del schedule["updated"]
        return told

    prefects = by_prefect("--all")
    assert prefects["search"]["entrypoint"] == "deployments/server/entrypoints.py:search"
    assert [each["active"] for each in prefects["ingest"]["schedules"]] == [True, False]
    changes = operated.deploy(*shipped, schedules=schedules)
    lines = [line for each in changes if each.what.startswith("deployment") for line in str(each).splitlines()]
    assert [line for line in lines if "parameter" in line and "its default: null" not in line] == []
    again = by_prefect("--name", "ingest")
    assert [
        (name, key, value, again[name][key])
        for name, each in prefects.items()
        for key, value in each.items()
        if value != again[name][key]
    ] == []
    operated.deploy(*shipped, schedules="")


def test_a_file_that_arrived_is_ingested_by_the_shipped_automation(operated: Operated) -> None:
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
    from prefect.events.schemas.automations import AutomationCore
    from prefect.states import Cancelled

    operated.deploy("ingest")
    text = (ROOT / "deployments" / "automation-file-arrived.yaml").read_text()
    with operated.client() as client:
        deployment = client.read_deployment_by_name("ingest/ingest").id
        automation = YAML(typ="safe").load(text.replace("00000000-0000-0000-0000-000000000000", str(deployment)))

    async def create() -> None:
        from prefect import get_client

        async with get_client() as client:
            await client.create_automation(AutomationCore.model_validate(automation))

    with operated.connected():
        asyncio.run(create())
    event = {
        "event": "braid.file-arrived",
        "resource": {"prefect.resource.id": "file:///srv/inbox/report.pdf"},
        "payload": {"index": "inbox"},
    }
    chosen = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))

    def look() -> Any:
        with operated.client() as client:
            runs = client.read_flow_runs(deployment_filter=chosen)
        return next((run for run in runs if run.parameters.get("source") == "/srv/inbox/report.pdf"), None)

    def emit() -> Any:
        # The server learns of a new automation a moment after it has accepted it.
        stamped = {**event, "id": str(uuid4()), "occurred": datetime.now(UTC).isoformat()}
        httpx.post(f"{operated.server.url}/events", json=[stamped]).raise_for_status()
        time.sleep(2)
        return look()

    run = wait_for(emit, lambda: operated.server.log("server").read_text()[-3000:])
    assert run.parameters == {"source": "/srv/inbox/report.pdf", "index": "inbox"}
    with operated.client() as client:
        client.set_flow_run_state(run.id, Cancelled(), force=True)


@pytest.mark.timeout(450)
def test_the_seat_of_a_killed_process_comes_back(killed_in_seat: Queue) -> None:
    # The server gives a place back when nobody has renewed its lease for a minute, the shortest time that it grants.
    said, _ = killed_in_seat.start("0").communicate(timeout=240)
    assert (said.strip(), killed_in_seat.noted()) == ("succeeded []", ["start", "start", "end"])


def artifacts(operated: Operated, flow_run: UUID) -> set[str]:
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run]))
    with operated.client() as client:
        return {str(one.key) for one in client.read_artifacts(artifact_filter=chosen)}
