"""An index that does not exist is refused by every command and form, and only a write makes one."""

import os
import subprocess
import sys
import threading
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deployments import run
from deployments.cli import app
from deployments.indexes import MissingIndex
from handlers.stores import IndexMadeOnWrite
from handlers.stores.protocol import IndexSources, IndexWriter
from tests.support.paths import ROOT


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BRAID_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BRAID_EMBEDDING_MODEL", "hashing")
    monkeypatch.setenv("BRAID_OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("BRAID_CHAT_MODEL", "none")
    monkeypatch.setenv("COLUMNS", "300")
    return tmp_path / "home"


@pytest.mark.parametrize(
    "command",
    [
        "search x -i nowhere",
        "ask x -i nowhere",
        "run search -p query=x -i nowhere --engine inline",
        "run ask -p query=x -i nowhere --engine inline",
        "run {folder}/own.yaml -p query=x -i nowhere --engine inline",
        "run {folder}/declares.yaml -p query=x -p index=nowhere --engine inline",
        "documents -i nowhere",
        "documents list -i nowhere",
        "documents status -i nowhere",
        "documents show x -i nowhere",
        "documents delete x -i nowhere --yes",
        "documents requeue x -i nowhere",
        "index copy nowhere there",
        "index delete nowhere --yes",
        "index fingerprint nowhere",
    ],
)
def test_every_command_refuses_an_index_that_does_not_exist(command: str, tmp_path: Path, home: Path) -> None:
    (tmp_path / "own.yaml").write_text("name: own\nparameters: {query: {required: true}}\nsteps: [keyword_search]\n")
    (tmp_path / "declares.yaml").write_text(
        "name: declares\nparameters: {query: {required: true}, index: {default: other}}\nsteps: [keyword_search]\n"
    )
    ended = CliRunner().invoke(app, command.format(folder=tmp_path).split(), prog_name="braid")
    assert ended.exit_code == 2, ended.output
    assert "no index named 'nowhere'" in ended.stderr
    assert "braid ingest FOLDER --index nowhere" in ended.stderr
    assert not list(home.rglob("nowhere*"))


def test_a_home_that_cannot_be_used_is_named_with_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    for home in (tmp_path / "file", tmp_path / "file" / "home"):
        monkeypatch.setenv("BRAID_HOME", str(home))
        ended = CliRunner().invoke(app, ["search", "x", "-i", "demo"], prog_name="braid")
        assert ended.exit_code == 2, ended.output
        assert f"no index named 'demo': the home {home} cannot be used; set BRAID_HOME to the folder" in ended.stderr


@pytest.mark.slow
def test_a_deployment_is_not_started_for_it(home: Path) -> None:
    asked: list[str] = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with ExitStack() as stopping:
        stopping.callback(server.server_close)
        stopping.callback(server.shutdown)
        ended = subprocess.run(
            [sys.executable, "-m", "deployments", *"run search -p query=x -i nowhere --deployed".split()],
            env=os.environ | {"PREFECT_API_URL": f"http://127.0.0.1:{server.server_port}/api", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 2, ended.stderr
    assert not [path for path in asked if "deployments" in path]
    assert "no index named 'nowhere'" in ended.stderr


def test_a_search_from_python_refuses_it_too(home: Path) -> None:
    with pytest.raises(MissingIndex):
        run("search", query="x", index="nowhere")
    assert not list(home.rglob("nowhere*"))


def test_an_ingestion_that_fails_makes_no_index(tmp_path: Path, home: Path) -> None:
    ended = CliRunner().invoke(app, ["ingest", str(tmp_path / "no folder"), "-i", "new", "--engine", "inline"])
    assert ended.exit_code == 1, ended.output
    assert not list(home.rglob("new*"))


def test_an_ingestion_of_nothing_makes_no_index_and_one_that_writes_does(tmp_path: Path, home: Path) -> None:
    (tmp_path / "in").mkdir()
    arguments = ["ingest", str(tmp_path / "in"), "-i", "new", "--engine", "inline"]
    CliRunner().invoke(app, arguments)
    assert not list(home.rglob("new*"))
    (tmp_path / "in" / "a.txt").write_text("The queen bee is called Matilda.\n")
    assert CliRunner().invoke(app, arguments).exit_code == 0
    found = CliRunner().invoke(app, ["search", "queen", "-i", "new"])
    assert (found.exit_code, "Matilda" in found.stdout) == (0, True)


def test_every_method_that_writes_makes_the_index(tmp_path: Path) -> None:
    methods = {
        name for kind in (IndexWriter, IndexSources) for name in vars(kind) if name.startswith(("put_", "publish"))
    }
    assert {"put_documents", "put_failures", "put_source", "publish"} <= methods
    for name in sorted(methods):
        with closing(IndexMadeOnWrite(str(tmp_path / f"{name}.db"))) as store:
            assert store.statistics()["documents"] == 0
            assert not (tmp_path / f"{name}.db").exists()
            assert callable(getattr(store, name))  # as for a call, whatever it would be given
            assert store.statistics()["documents"] == 0
            assert (tmp_path / f"{name}.db").exists()
