"""Commands in bad surroundings: unusable folders and databases, poor encodings, signals. One line, and the right code."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deployments.commands.common import MEANINGS
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow  # each command is a process of its own

WAITING = """
import time
from pathlib import Path
from flows import handler

@handler
def wait_here(marker: str) -> None:
    Path(marker).touch()
    for _ in range(600):
        time.sleep(0.05)
"""


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "BRAID_HOME": str(folder / "home"), "NO_COLOR": "1", "COLUMNS": "200", **more}


def braid(folder: Path, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "deployments", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment(folder, **more), capture_output=True, text=True, timeout=120, check=False
    )


def assert_refused(ended: "subprocess.CompletedProcess[str]", *words: str) -> None:
    assert ended.returncode == 2, ended.stderr
    assert len(ended.stderr.splitlines()) <= 2, ended.stderr
    assert "Traceback" not in ended.stderr
    for word in words:
        assert word in ended.stderr


def test_a_home_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    home = str(tmp_path / "file")
    (tmp_path / "plain.yaml").write_text("name: plain\nparameters: {query: {required: true}}\nsteps: [query_rewrite]\n")
    run = ["run", str(tmp_path / "plain.yaml"), "-p", "query=x", "--engine", "inline"]
    for arguments in (["runs"], run, ["resume", "x"]):
        assert_refused(braid(tmp_path, *arguments, BRAID_HOME=home), "error: ", home)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:///{folder}/garbage.db", ["garbage.db", "not a database", "BRAID_DATABASE_URL"]),
        ("postgresql+psycopg://u:secret@127.0.0.1:1/x", ["u:***@127.0.0.1:1", "BRAID_DATABASE_URL"]),
        ("nonsense", ["'nonsense'", "BRAID_DATABASE_URL"]),
        ("mysql+nodriver://x/y", ["mysql", "BRAID_DATABASE_URL"]),
    ],
)
def test_a_run_store_that_cannot_be_opened_is_one_line(url: str, words: list[str], tmp_path: Path) -> None:
    (tmp_path / "garbage.db").write_text("no database, but some text of more than a hundred characters\n" * 10)
    ended = braid(tmp_path, "runs", BRAID_DATABASE_URL=url.format(folder=tmp_path))
    assert_refused(ended, *words)
    assert "secret" not in ended.stderr


def test_output_in_ascii_has_plain_spellings(tmp_path: Path) -> None:
    for arguments in (["--help"], ["plan", "ingest"], ["handlers"]):
        ended = braid(tmp_path, *arguments, PYTHONIOENCODING="ascii")
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.isascii()
    assert "->" in braid(tmp_path, "plan", "ingest", PYTHONIOENCODING="ascii").stdout


def test_json_in_ascii_keeps_every_character(tmp_path: Path) -> None:
    file = tmp_path / "ü→.yaml"
    file.write_text("name: plain\nsteps: [query_rewrite]\n")
    found = braid(tmp_path, "validate", str(file), "--json", PYTHONIOENCODING="ascii", PYTHONUTF8="1")
    assert json.loads(found.stdout)["files"][0]["file"] == str(file)


def test_the_version_needs_no_command(tmp_path: Path) -> None:
    ended = braid(tmp_path, "--version")
    assert (ended.returncode, ended.stdout.split()[0], ended.stderr) == (0, "braid", "")


@pytest.mark.parametrize("arguments", [["-v", "run"], ["run", "-v"], ["run", "--verbose"]])
def test_the_log_is_shown_wherever_the_option_stands(arguments: list[str], tmp_path: Path) -> None:
    file = tmp_path / "group.yaml"
    file.write_text("name: group\nparameters: {query: {required: true}}\nsteps: [{parallel: [query_rewrite]}]\n")
    ended = braid(tmp_path, *arguments, str(file), "-p", "query=x", "--engine", "inline")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("Executing parallel step") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_as_ctrl_c_does(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "waiting_handlers.py").write_text(WAITING)
    file, marker = tmp_path / "waits.yaml", tmp_path / "marker"
    file.write_text("name: waits\nparameters: {marker: {required: true}}\nsteps: [wait_here]\n")
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    variables = environment(tmp_path, BRAID_HANDLER_MODULES="waiting_handlers", PYTHONPATH=path)
    command = [sys.executable, "-m", "deployments", "run", str(file), "-p", f"marker={marker}", "--engine", "inline"]
    process = subprocess.Popen(command, cwd=ROOT, env=variables, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not marker.exists():
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "braid resume" in errors
    assert "Traceback" not in errors
    (recorded,) = json.loads(braid(tmp_path, "runs", "--json").stdout)["runs"]
    assert recorded["status"] == "cancelled"


def test_the_exit_codes_are_one_table_in_docs_and_help(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "reference" / "errors.md").read_text()
    helped = " ".join(braid(tmp_path, "--help").stdout.split())
    for code, meaning in MEANINGS.items():
        assert f"| {code} | {meaning} |" in page
        assert f"{code} {meaning}" in helped
