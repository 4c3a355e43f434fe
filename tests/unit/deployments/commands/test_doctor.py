"""`braid doctor` finds each broken part, and the finding names the cure."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deployments.cli import app
from deployments.commands.doctor import examine, unmet_requirements
from deployments.server.checks import clock, version
from deployments.server.findings import Finding
from deployments.settings import Settings, load_settings
from flows.run_store import RunningBranch, RunRecord, RunStore, open_database
from handlers.extraction import installed_engines
from tests.support.killed_process import run_and_kill


def braid(*arguments: str) -> tuple[int, str]:
    ended = CliRunner().invoke(app, list(arguments), prog_name="braid", env={"COLUMNS": "300"})
    return ended.exit_code, ended.stdout


def braid_json(*arguments: str) -> tuple[int, Any]:
    code, out = braid(*arguments, "--json")
    return code, json.loads(out)


def found(settings: Settings, topic: str, *, repair: bool = False) -> list[Finding]:
    return [finding for finding in examine(settings, repair=repair) if finding.topic == topic]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("BRAID_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BRAID_HANDLER_MODULES", "tests.support.dying_run")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return load_settings()


@pytest.mark.skipif("tesseract" not in installed_engines(), reason="tesseract is not installed")
def test_a_language_that_tesseract_lacks_is_named(settings: Settings) -> None:
    def ocr(languages: str) -> Finding:
        (finding,) = found(settings.model_copy(update={"ocr_engine": "tesseract", "ocr_languages": languages}), "OCR")
        return finding

    assert ocr("eng").level == "ok"
    missing = ocr("eng+tlh_x")
    assert missing.level == "warning"
    assert "tesseract lacks tlh_x (BRAID_OCR_LANGUAGES)" in missing.text
    assert missing.text.endswith("apt-get install tesseract-ocr-tlh-x")


@pytest.mark.slow
def test_a_killed_run_is_found_marked_and_can_be_resumed(settings: Settings, tmp_path: Path) -> None:
    run_and_kill("inline", tmp_path)
    store = RunStore(settings.run_store_url)
    (record,) = store.running()
    assert [step.step_id for step in store.running_branches(record.run_id)] == ["1.hangs_in_dying"]
    zombie, rest = found(settings, "runs")
    assert zombie.level == "warning"
    assert f"{record.run_id} (dying): process {record.process} on" in zombie.text
    assert "it was at 1.hangs_in_dying; `braid doctor --repair` marks it" in zombie.text
    assert rest == Finding("runs", "ok", "0 running")
    assert store.running() == [record]
    repaired, _ = found(settings, "runs", repair=True)
    assert repaired.level == "ok"
    assert repaired.text.endswith(f"go on with `braid resume {record.run_id}`")
    assert found(settings, "runs", repair=True) == [Finding("runs", "ok", "0 running")]
    ended = store.get(record.run_id)
    assert ended is not None
    assert ended.status == "crashed"
    shown = " ".join(braid("runs", "show", record.run_id)[1].split())  # long lines are wrapped
    assert f"go on with `braid resume {record.run_id}`" in shown
    code, resumed = braid_json("resume", record.run_id, "--engine", "inline")
    assert (code, resumed["status"]) == (0, "succeeded")
    assert [(o["id"], o["reused"]) for o in resumed["outcomes"]] == [
        ("0.first_of_dying", True),
        ("1.hangs_in_dying", False),
    ]
    store.close()


def test_a_living_run_is_left_alone_and_its_stuck_step_named(settings: Settings) -> None:
    from flows.author import now
    from flows.run_store.records import ProcessIdentity

    store, here = RunStore(settings.run_store_url), ProcessIdentity()
    store.start(
        RunRecord(
            "alive",
            "p",
            "f",
            "default",
            {},
            "running",
            now(),
            host=here.host,
            process=here.process,
            process_started=here.process_started,
        )
    )
    store.write("alive", "alive", running=[RunningBranch("0", "0.slow", now(), stuck=True)])
    stuck, running = found(settings, "runs", repair=True)
    assert stuck == Finding("runs", "warning", "alive: 0.slow reports no progress; see `braid runs show`")
    assert running == Finding("runs", "ok", "1 running")
    assert [record.run_id for record in store.running()] == ["alive"]
    store.close()


def test_a_run_that_ended_meanwhile_is_not_marked(settings: Settings) -> None:
    store = RunStore(settings.run_store_url)
    store.start(RunRecord("over", "p", "f", "default", {}, "succeeded", 1.0))
    assert store.crash("over") is False
    store.close()


def test_a_newer_run_store_is_an_error(settings: Settings) -> None:
    RunStore(settings.run_store_url).close()
    engine = open_database(settings.run_store_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    (finding,) = found(settings, "run store")
    assert finding.level == "error"
    assert "update Braid, or set BRAID_DATABASE_URL" in finding.text


def test_an_index_that_is_no_database_is_an_error(settings: Settings) -> None:
    folder = settings.home / "indexes"
    folder.mkdir(parents=True)
    (folder / "broken.db").write_text("this is no database" * 100)
    assert "error" in {finding.level for finding in found(settings, "indexes")}


def test_a_server_that_does_not_answer_is_an_error(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.server.checks.connect", _refuse)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    (finding,) = [one for one in found(settings, "prefect") if one.level == "error"]
    assert "does not answer" in finding.text


def _refuse(_: Settings) -> str:
    from flows.errors import OrchestrationError

    raise OrchestrationError("the Prefect server http://127.0.0.1:9/api does not answer; start it")


def test_a_package_in_a_version_that_another_refuses_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requires = ("fastapi<0.151,>=0.139", "sqlalchemy[asyncio]<3,>=2", "starlette<1; extra == 'old'", "absent>=9")
    _distribution(tmp_path, "server-of-ours", "3.9.1", *requires)
    _distribution(tmp_path, "fastapi", "0.151.0")
    _distribution(tmp_path, "sqlalchemy", "2.2.0rc1")
    _distribution(tmp_path, "starlette", "1.10.0")
    monkeypatch.syspath_prepend(tmp_path)
    (finding,) = unmet_requirements("server-of-ours")
    text = "server-of-ours 3.9.1 does not work with fastapi 0.151.0; pip install 'fastapi<0.151,>=0.139'"
    assert (finding.level, finding.text) == ("error", text)


def _distribution(folder: Path, name: str, version: str, *requires: str) -> None:
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    lines = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}"]
    metadata.write_text("\n".join([*lines, *(f"Requires-Dist: {each}" for each in requires), ""]), encoding="utf-8")


@pytest.mark.parametrize(
    ("ours", "theirs", "level"),
    [("3.8.8", "3.8.8", "ok"), ("3.8.8", "3.9.0", "note"), ("3.8.8", "3.7.1", "warning"), ("3.8.8", "2.20.1", "error")],
)
def test_versions_of_server_and_client_are_compared(ours: str, theirs: str, level: str) -> None:
    assert version(ours, theirs).level == level


@pytest.mark.parametrize(
    ("server", "level"),
    [(100.0, "ok"), (99.0, "ok"), (104.0, "ok"), (130.0, "warning"), (70.0, "warning"), (900.0, "error")],
)
def test_a_clock_that_is_wrong_is_told(server: float, level: str) -> None:
    assert clock(server, 99.8, 100.4).level == level


def test_what_is_called_ok_has_been_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "broken.yaml").write_text("name: broken\nsteps: [no_such_handler]\n")
    (tmp_path / "file").touch()
    settings = Settings(
        home=tmp_path / "home",
        pipelines_dirs=(tmp_path / "pipelines",),
        artifacts_url=str(tmp_path / "file" / "artifacts"),
    )
    found = list(examine(settings))
    assert any(each.level == "error" and each.text.startswith("broken cannot run: no handler named") for each in found)
    assert any(each.topic == "artifacts" and each.level == "error" for each in found)
    unusable = list(examine(Settings(home=tmp_path / "file")))
    assert any(each.topic == "settings" and each.level == "error" for each in unusable)
