"""`braid new` writes files that pass every check unchanged."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deployments.cli import app
from tests.support.paths import ROOT


def braid(*arguments: str) -> tuple[int, str]:
    ended = CliRunner().invoke(app, list(arguments), prog_name="braid")
    return ended.exit_code, ended.output


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BRAID_HOME", str(tmp_path / "home"))
    return tmp_path


def test_a_new_pipeline_is_valid_and_can_be_planned(project: Path) -> None:
    assert braid("new", "pipeline", "my_drafts") == (0, "wrote pipelines/my_drafts.yaml\n")
    code, out = braid("validate", "pipelines/my_drafts.yaml")
    assert code == 0, out
    assert "warning" not in out
    assert braid("plan", "pipelines/my_drafts.yaml")[0] == 0


@pytest.mark.parametrize("folder", ["handlers", "team/steps"])
@pytest.mark.slow
def test_a_new_handler_passes_its_test_and_ruff(project: Path, folder: str) -> None:
    package = folder if folder != "handlers" else "zhandlers"  # sorts behind `flows`, as `handlers` does
    code, out = braid("new", "handler", "tally", "--folder", package, "--tests", "tests")
    assert code == 0, out
    for path in project.rglob("*.py"):
        imported = [line.split()[1] for line in path.read_text().splitlines() if line.startswith(("from ", "import "))]
        assert set(imported) <= {"flows", f"{package.replace('/', '.')}.tally"}, path
    environment = {**os.environ, "PYTHONPATH": f"{project}{os.pathsep}{ROOT}"}
    ruff = ["--config", ROOT / "pyproject.toml", "--config", f"src = ['{project}', '{ROOT}']", "."]
    for command in (
        ["pytest", "-q", "tests", "-p", "no:cacheprovider"],
        ["ruff", "check", *ruff],
        ["ruff", "format", "--check", *ruff],
    ):
        ended = subprocess.run(
            [sys.executable, "-m", *map(str, command)], capture_output=True, text=True, check=False, env=environment
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("name", ["Bad Name", "class", "../up", "", "_x"])
def test_a_name_that_cannot_be_is_refused(name: str, project: Path) -> None:
    for kind in ("pipeline", "handler"):
        code, out = braid("new", kind, name)
        assert code == 2
        assert "cannot be the name" in out
    assert not list(project.rglob("*.yaml"))


def test_nothing_is_overwritten(project: Path) -> None:
    braid("new", "handler", "tally")
    (project / "handlers/tally.py").write_text("mine")
    assert "exists already" in braid("new", "handler", "tally")[1]
    assert (project / "handlers/tally.py").read_text() == "mine"
