"""Stages of jobs run unchanged: in parallel up to the run's limit, with every end reported and recorded."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deployments.cli import app
from flows.author import REGISTRY, Call, RunResult
from flows.engine import Observer, Prepared, ignore_event, run_plan
from flows.errors import InvalidPipeline
from flows.loaders import load_pipeline_text
from flows.planning import make_plan
from flows.reports.events import JobEvent, JobEvents
from flows.run_store import Recorder, RunStore
from flows.state import Context, Identity, Services
from handlers.jobs import JobKeys, job
from tests.support.paths import EXAMPLES

STAGES = EXAMPLES / "dialects" / "stages"
ACCOUNTS = [f"ingest_gmail_acct{number}" for number in range(1, 5)]


class Gauge:
    """How many jobs ran at once: each job waits a moment for as many others as may run beside it."""

    def __init__(self) -> None:
        self.most = self.now = 0
        self.expected, self.order = 1, list[str]()
        self.changed = threading.Condition()

    def work(self, name: str) -> None:
        with self.changed:
            self.order.append(name)
            self.now += 1
            self.most = max(self.most, self.now)
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.most >= self.expected, timeout=10)
        with self.changed:
            self.now -= 1


@pytest.fixture
def gauge() -> Gauge:
    return Gauge()


@pytest.fixture(autouse=True)
def jobs(gauge: Gauge) -> Iterator[None]:
    def ingest_job(name: str) -> Callable[[], str]:
        def work() -> str:
            gauge.work(name)
            return name

        return work

    for name in ACCOUNTS:
        function = ingest_job(name)
        function.__qualname__ = name
        job(function, name=name)

    @job
    def peek() -> dict[str, Any]:
        return {"items": [{"id": "a"}, {"id": "b"}, {"id": "c"}]}

    @job(key="account:{account}")
    def ingest_account(account: str, since: str) -> str:
        if account == "b":
            raise ValueError("the account is locked")
        return f"{account} since {since}"

    @job
    def check_account(account: str, since: str) -> str:
        return account

    @job
    def send_report() -> str:
        return "sent"

    @job
    def breaks() -> None:
        raise ValueError("the disk is full")

    yield
    for name in (*ACCOUNTS, "peek", "ingest_account", "check_account", "send_report", "breaks", "looks"):
        REGISTRY.handlers.pop(name, None)


def run_stages(
    text: str,
    fields: Mapping[str, Any] | None = None,
    observer: Observer = ignore_event,
    services: Services | None = None,
) -> tuple[RunResult, Mapping[str, Any]]:
    catalog = {"current": load_pipeline_text((STAGES / "current.yaml").read_text(), file="current.yaml").pipeline}
    loaded = load_pipeline_text(text, file="stages.yaml")
    plan = make_plan(loaded, catalog=catalog, given=list(fields or {}))
    context = Context(dict(fields or {}), identity=Identity("stages", "run-1", services=services or Services()))
    return asyncio.run(run_plan(Prepared(plan, context, observer=observer))), context.data


@pytest.mark.parametrize(
    ("arguments", "environment", "most"),
    [
        ((), {}, 1),
        (("--max-workers", "4"), {}, 4),
        ((), {"BRAID_MAX_WORKERS": "4"}, 4),
        ((), {"LORCHESTRA_MAX_WORKERS": "2"}, 2),
        (("--max-workers", "3"), {"LORCHESTRA_MAX_WORKERS": "2"}, 3),
    ],
)
def test_how_many_jobs_run_at_once_is_for_the_run_to_say(
    arguments: tuple[str, ...],
    environment: dict[str, str],
    most: int,
    gauge: Gauge,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {"BRAID_PIPELINES_DIRS": str(STAGES), "BRAID_HOME": str(tmp_path), **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("BRAID_HANDLER_MODULES", raising=False)
    folder = tmp_path / "pipelines"
    folder.mkdir()
    (folder / "unchanged.yaml").write_text((STAGES / "unchanged.yaml").read_text())
    monkeypatch.setenv("BRAID_PIPELINES_DIRS", str(folder))
    gauge.expected = most
    command = ["run", "pipeline.unchanged", *arguments, "--engine", "inline", "--json"]
    ended = CliRunner().invoke(app, command, prog_name="braid")
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.stdout)["status"] == "succeeded"
    assert gauge.most == most
    assert sorted(gauge.order) == ACCOUNTS
    if most == 1:
        assert gauge.order == ACCOUNTS


def test_a_loop_over_what_a_job_found_runs_and_a_job_may_be_a_pipeline() -> None:
    text = (STAGES / "loop.yaml").read_text()
    result, fields = run_stages(text, {"since": "2026-01-01"})
    ended = {str(outcome.path): outcome.status for outcome in result.outcomes}
    assert [ended[f"1[{item}]"] for item in range(3)] == ["succeeded", "failed", "succeeded"]
    assert fields["send_report"] == "sent"
    assert {f"ingest_gmail_acct{n}": f"ingest_gmail_acct{n}" for n in range(1, 5)}.items() <= dict(fields).items()
    assert result.status == "failed"  # it continued, and is reported as failed at the end


def test_names_that_stay_open_in_a_file_must_be_given() -> None:
    loaded = load_pipeline_text((STAGES / "loop.yaml").read_text(), file="loop.yaml")
    assert {name: one.required for name, one in loaded.pipeline.parameters.items()} == {"since": True}


@pytest.mark.parametrize(
    ("stop", "ran"), [("true", []), ("false", ["acct1", "acct2"])], ids=["stops", "goes on and has failed"]
)
def test_a_failed_job_stops_the_run_or_lets_it_go_on_but_never_succeed(stop: str, ran: list[str], gauge: Gauge) -> None:
    text = f"""
stop_on_failure: {stop}
stages:
  - {{name: first, jobs: [breaks, ingest_gmail_acct1]}}
  - {{name: second, jobs: [ingest_gmail_acct2]}}
"""
    result, _ = run_stages(text)
    assert result.status == "failed"
    assert gauge.order == [f"ingest_gmail_{name}" for name in ran]
    assert len([outcome for outcome in result.outcomes if outcome.is_leaf]) == 3


def test_a_callback_is_told_in_order_by_one_thread_and_cannot_hurt_the_run(
    gauge: Gauge, caplog: pytest.LogCaptureFixture
) -> None:
    told, threads = list[JobEvent](), set[int]()

    def callback(event: JobEvent) -> None:
        threads.add(threading.get_ident())
        told.append(event)
        if event.job == "ingest_gmail_acct1":
            raise RuntimeError("the screen is gone")

    gauge.expected = 4
    text = (STAGES / "target.yaml").read_text() + "  - {name: last, jobs: [breaks]}\n"
    result, _ = run_stages(text, observer=JobEvents(callback))
    assert result.status == "failed"
    kinds = [event.kind for event in told]
    assert (kinds[0], kinds[-1]) == ("run_start", "run_end")
    assert (kinds.count("job_start"), kinds.count("job_ok"), kinds.count("job_fail")) == (5, 4, 1)
    assert [event.stage for event in told if event.kind == "stage_start"] == ["ingest", "last"]
    for name in ACCOUNTS:
        assert [event.kind for event in told if event.job == name] == ["job_start", "job_ok"]
    failed = next(event for event in told if event.kind == "job_fail")
    assert failed.text.startswith("Stage last: Job breaks failed: ")
    assert threads.isdisjoint({threading.main_thread().ident})
    assert len(threads) == 1
    assert "the callback for job_ok ingest_gmail_acct1 failed" in caplog.text


def test_two_jobs_with_one_key_are_refused_before_anything_runs() -> None:
    text = """
stages:
  - name: s
    jobs:
      - {job: peek, idempotency_key: nightly}
      - {job: send_report, idempotency_key: nightly}
"""
    with pytest.raises(InvalidPipeline, match="send_report: its idempotency key 'nightly' is that of peek too"):
        load_pipeline_text(text, file="stages.yaml")


def test_a_job_twice_in_a_stage_keeps_both_results_and_a_second_one_with_its_key_is_refused(tmp_path: Path) -> None:
    services = Services({"job_keys": lambda: JobKeys(tmp_path)})
    text = """
stages:
  - name: s
    stop_on_failure: false
    jobs:
      - {job: ingest_account, payload: {account: a, since: x}}
      - {job: ingest_account, payload: {account: c, since: x}}
      - {job: ingest_account, payload: {account: a, since: y}}
"""
    result, fields = run_stages(text, services=services)
    assert sorted(fields["ingest_account"].values()) == ["a since x", "c since x"]
    refused = [outcome for outcome in result.outcomes if outcome.error is not None and outcome.is_leaf]
    assert [outcome.path for outcome in refused] == ["0.2"]
    assert refused[0].error is not None
    assert "'account:a' is that of 0.0.ingest_account too" in refused[0].error.message


def test_a_job_that_ended_is_written_down_while_others_are_at_work(tmp_path: Path) -> None:
    store = RunStore(f"sqlite:///{tmp_path}/runs.db")
    written = list[str]()

    @job
    def looks(call: Call) -> None:
        def ended() -> bool:
            written[:] = [one["path"] for one in store.outcomes(call.run_id) if one["status"] == "succeeded"]
            return "0.0" in written

        until = threading.Event()
        for _ in range(500):
            if ended():
                return
            until.wait(0.01)

    loaded = load_pipeline_text("stages: [{name: s, max_workers: 2, jobs: [send_report, looks]}]", file="s.yaml")
    plan = make_plan(loaded)
    recorder = Recorder(store)
    context = Context({}, identity=Identity("s", "run-1"))
    result = asyncio.run(run_plan(Prepared(plan, context, observer=recorder, journal=recorder)))
    store.close()
    assert result.status == "succeeded", result.errors
    assert "0.0" in written
