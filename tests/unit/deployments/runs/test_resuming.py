"""`braid resume` and `braid replay`, as a person uses them after a run went wrong."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deployments.cli import app
from deployments.settings import load_settings
from flows.run_store import RunStore

HANDLERS = """
from pathlib import Path
from flows import handler
from flows.errors import FatalError

def called(text):
    with Path("calls").open("a") as file:
        file.write(text)

@handler(writes="items")
def resume_begin(*, count: int = 4) -> list[int]:
    called("begin ")
    return list(range(count))

@handler(writes="doubled")
def resume_double(item: int) -> int:
    called(f"{item} ")
    if item == 2 and not Path("mended").exists():
        raise FatalError("not mended")
    return item * 2

@handler(writes="total")
def resume_end(doubled: list[int]) -> int:
    called("end ")
    return sum(doubled)
"""
DYING = """
import os, signal
from pathlib import Path
from flows import Call, handler

@handler(writes="items")
def begins_for_coins(*, call: Call) -> list[int]:
    call.report_cost(coins=3)
    return [0, 1]

@handler(writes="total")
def dies_once(items: list[int]) -> int:
    if not Path("may_live").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return sum(items)
"""
PIPELINE = """
name: mended
parameters:
  name: {type: text, default: x}
  api_key: {type: text}
steps:
  - handler: resume_begin
    id: begin
    options: {count: 4}
  - for_each: items
    steps: [resume_double]
    collect: [doubled]
    max_concurrency: 1
  - handler: resume_end
    id: end
"""
PAID_AND_DYING = """
name: mended
parameters: {name: {type: text, default: x}, api_key: {type: text}}
steps: [begins_for_coins, dies_once]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BRAID_HANDLER_MODULES", "handlers_of_the_resume_test")
    (tmp_path / "handlers_of_the_resume_test.py").write_text(HANDLERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    write(tmp_path, PIPELINE)
    yield tmp_path
    sys.modules.pop("handlers_of_the_resume_test", None)


def write(folder: Path, text: str) -> None:
    (folder / "mended.yaml").write_text(text)


def braid(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


def failed_run() -> str:
    code, output = braid("run", "mended.yaml", "--engine", "inline", "--json")
    assert code == 1, output
    return json.loads(output)["run_id"]


def calls() -> list[str]:
    return Path("calls").read_text().split()


def test_a_failed_run_goes_on_where_it_was(folder: Path) -> None:
    run = failed_run()
    assert calls() == ["begin", "0", "1", "2"]
    (folder / "mended").touch()
    code, output = braid("resume", run[:-2], "--engine", "inline", "--json")
    result = json.loads(output)
    assert (code, result["status"], result["resumed_from"]) == (0, "succeeded", run)
    assert calls() == ["begin", "0", "1", "2", "2", "3", "end"]
    store = RunStore(load_settings().run_store_url)
    record = store.get(result["run_id"])
    assert record is not None
    assert (record.resumed_from, record.chain) == (run, run)
    store.close()


def test_what_is_changed_after_it_finished_needs_force(folder: Path) -> None:
    run = failed_run()
    (folder / "mended").touch()
    write(folder, (folder / "mended.yaml").read_text().replace("count: 4", "count: 5"))
    code, output = braid("resume", run, "--engine", "inline")
    assert code == 2
    message = " ".join(output.split())
    assert (
        "changed: begin; after a change: 1.0.resume_double. 0 finished calls can be reused. Go on with --force"
        in message
    )
    assert calls() == ["begin", "0", "1", "2"]
    code, output = braid("resume", run, "--engine", "inline", "--force")
    assert (code, calls()[4:]) == (0, ["begin", "0", "1", "2", "3", "4", "end"])


def test_the_run_s_own_pipeline_serves_when_its_file_is_gone(folder: Path) -> None:
    run = failed_run()
    (folder / "mended").touch()
    (folder / "mended.yaml").unlink()
    code, output = braid("resume", run, "--engine", "inline")
    assert (code, calls()[4:]) == (0, ["2", "3", "end"]), output


def test_secrets_have_to_be_given_again(folder: Path) -> None:
    code, output = braid("run", "mended.yaml", "--engine", "inline", "--json", "-p", "api_key=abc")
    run = json.loads(output)["run_id"]
    code, output = braid("resume", run, "--engine", "inline")
    assert code == 2
    assert "secrets in the parameters api_key, which are not recorded; give them again: -p api_key=…" in " ".join(
        output.split()
    )
    (folder / "mended").touch()
    code, output = braid("resume", run, "--engine", "inline", "-p", "api_key=abc")
    assert (code, calls()[4:]) == (0, ["2", "3", "end"]), output


def test_no_such_run(folder: Path) -> None:
    run = failed_run()
    code, output = braid("resume", f"{run}x")
    assert code == 2
    assert f"no run named '{run}x'; did you mean '{run}'?" in " ".join(output.split())


def test_a_step_is_done_again_on_what_it_saw(folder: Path) -> None:
    run = failed_run()
    code, output = braid("replay", run, "1.0.resume_double[1]", "--json")
    replayed = json.loads(output)
    assert (code, replayed["status"], replayed["same"]) == (0, "succeeded", True)
    assert replayed["writes"] == [{"field": "doubled", "kind": "set", "value": "2"}]
    code, output = braid("replay", run, "1.0.resume_double[2]")
    assert code == 1
    assert "not mended" in output
    assert "the step had not succeeded in that run" in output
    assert calls() == ["begin", "0", "1", "2", "1", "2"]


@pytest.mark.slow
def test_what_a_killed_run_had_paid_counts_in_the_budget_of_the_resumed_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, PAID_AND_DYING)
    (folder / "handlers_that_die.py").write_text(DYING)
    monkeypatch.setenv("BRAID_HANDLER_MODULES", "handlers_that_die")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    command = [sys.executable, "-m", "deployments", "run", "mended.yaml", "--engine", "inline"]
    died = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    (killed,) = json.loads(braid("runs", "--json")[1])["runs"]
    assert killed["cost"] == {"coins": 3}
    (folder / "may_live").touch()
    code, output = braid("resume", killed["run_id"], "--engine", "inline", "--budget", "coins=3", "--json")
    refused = json.loads(output)
    assert (code, refused["status"]) == (1, "failed")
    assert "3 coins of 3 coins used" in refused["stopped"]
    code, output = braid("resume", killed["run_id"], "--engine", "inline", "--budget", "coins=4", "--json")
    assert (code, json.loads(output)["status"]) == (0, "succeeded"), output
