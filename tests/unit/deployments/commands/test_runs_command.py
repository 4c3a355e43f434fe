"""`braid runs`: selection of runs, ambiguous ids, and shell completion."""

import os
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deployments.cli import app
from deployments.commands.runs import read_moment
from deployments.runs import open_run_store
from deployments.settings import load_settings
from flows.model import InvalidParameters
from flows.run_store import RunRecord

NOW = time.time()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BRAID_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "250")
    with open_run_store(load_settings()) as store:
        for number, status in enumerate(("succeeded", "failed", "failed")):
            started = NOW - (2 - number) * 86_400
            store.start(RunRecord(f"261129-{number}", "words", "", "default", {}, status, started))
    return tmp_path / "home"


def braid(*arguments: str, **variables: str) -> tuple[int, str, str]:
    ended = CliRunner().invoke(app, list(arguments), prog_name="braid", env=variables)
    return ended.exit_code, ended.stdout, ended.stderr


def listed(*arguments: str) -> list[str]:
    code, out, _ = braid("runs", *arguments)
    assert code == 0
    return [line.split()[0] for line in out.splitlines() if line.startswith("2611")]


def test_runs_are_chosen_by_status_and_time() -> None:
    assert listed() == ["261129-2", "261129-1", "261129-0"]
    assert listed("--status", "failed") == ["261129-2", "261129-1"]
    assert listed("--since", "36h") == ["261129-2", "261129-1"]
    assert listed("--since", "12h", "--status", "failed") == ["261129-2"]
    assert listed("--status", "partial") == []


def test_an_unknown_status_or_time_is_refused() -> None:
    assert braid("runs", "--status", "faild")[::2] == (
        2,
        "error: no run has the status 'faild'; did you mean 'failed'?\n",
    )
    code, _, errors = braid("runs", "--since", "yesterday")
    assert code == 2
    assert "is not a time; write 2026-11-21" in errors
    assert read_moment("2026-11-21T05:00:00+00:00") == 1795237200
    with pytest.raises(InvalidParameters):
        read_moment("7y")


@pytest.mark.parametrize("command", ["runs show", "resume", "replay"])
def test_an_id_that_fits_several_runs_is_refused_with_the_candidates(command: str) -> None:
    rest = ["step"] if command == "replay" else []
    code, _, errors = braid(*command.split(), "2611", *rest)
    assert code == 2
    assert "'2611' matches several runs; give more of the id: " in errors
    for number in range(3):
        assert f"261129-{number} (words, " in errors


def completed(line: str) -> list[str]:
    words = line.split(" ")
    variables = {"_BRAID_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    return braid(**variables)[1].split()


def test_the_shell_completes_pipelines_runs_and_indexes(home: Path) -> None:
    (home / "indexes").mkdir()
    from handlers.stores import open_index

    store = open_index(load_settings().index_location("manuals"))
    store.put_failures([])
    store.close()
    assert completed("braid run sea") == ["search"]
    assert completed("braid plan in") == ["ingest", "ingest_shards"]
    assert completed("braid runs show 261129-1") == ["261129-1"]
    assert completed("braid resume 2611") == ["261129-2", "261129-1", "261129-0"]
    assert completed("braid search x --index man") == ["manuals"]
    assert completed("braid index delete man") == ["manuals"]


def test_nothing_is_completed_where_the_settings_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAID_DATABASE_URL", "nonsense")
    assert completed("braid resume 2611") == []
    assert os.environ["BRAID_DATABASE_URL"] == "nonsense"
