"""The result of a run on the command line: as people read it, and as one JSON document."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from typer.testing import CliRunner

from deployments.cli import app
from flows import handler
from tests.support.ingesting import write


@handler(effects=())
def spoken_words(speech: str) -> list[dict[str, Any]]:
    return [{"word": word, "length": len(word)} for word in speech.split()]


@handler(effects=())
def many_words(speech: str) -> list[str]:
    return speech.split() * 100_000


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAID_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BRAID_EMBEDDING_MODEL", "hashing")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")


def braid(*arguments: str) -> tuple[int, str]:
    ended = CliRunner().invoke(app, list(arguments), prog_name="braid")
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return ended.exit_code, ended.stdout


def braid_json(*arguments: str) -> Any:
    return json.loads(braid(*arguments, "--json")[1])


@pytest.fixture
def speech(tmp_path: Path) -> str:
    file = tmp_path / "speech.yaml"
    file.write_text("name: speech\nparameters: {speech: {required: true}}\nsteps: [spoken_words, many_words]\n")
    return str(file)


def test_run_and_runs_show_the_result(speech: str) -> None:
    arguments = ("run", speech, "-p", "speech=to be", "--engine", "inline")
    code, out = braid(*arguments)
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    shown = lines[lines.index(["spoken_words", "list[dict[str,", "Any]]"]) :]
    assert shown[1:4] == [["word", "length"], ["to", "2"], ["be", "2"]]
    ran = braid_json(*arguments)
    assert ran["outputs"]["spoken_words"] == [{"word": "to", "length": 2}, {"word": "be", "length": 2}]
    (uri,) = ran["shortened_outputs"].values()
    assert json.loads(Path(uri.removeprefix("file://")).read_text()) == ["to", "be"] * 100_000
    kept = braid_json("runs", "show", ran["run_id"])
    assert (kept["outputs"], kept["shortened_outputs"]) == (ran["outputs"], ran["shortened_outputs"])
    code, text = braid("runs", "show", ran["run_id"])
    assert code == 0
    assert [line.split() for line in text.splitlines()][-len(shown) :][1:4] == shown[1:4]
    assert uri in text.replace("\n", "")


def test_an_ingestion_gives_its_balance_and_a_search_its_passages(tmp_path: Path) -> None:
    write(
        tmp_path / "docs", {"log.md": "# The log\n\nThe write-ahead log is written first.", "b.md": "Apples are red."}
    )
    ran = braid_json("run", "ingest", "-p", f"source={tmp_path / 'docs'}", "-i", "zoo", "--engine", "inline")
    assert ran["outputs"]["balance"]["processed"] == 2
    found = braid_json("run", "search", "-p", "query=write-ahead log", "-i", "zoo", "--engine", "inline")
    first = found["outputs"]["passages"][0]
    assert (first["name"], "written first" in first["content"]) == ("log.md", True)
    assert first["highlights"]
    code, text = braid("runs", "show", found["run_id"])
    assert code == 0
    assert "1. log.md" in text


def test_the_file_of_a_large_output_goes_when_results_expire(speech: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("run", speech, "-p", "speech=to be", "--engine", "inline")
    ran = braid_json(*arguments)
    (uri,) = ran["shortened_outputs"].values()
    file = Path(unquote(uri.removeprefix("file://")))
    braid_json(*arguments)
    assert file.exists()
    monkeypatch.setenv("BRAID_KEEP_RESULTS_DAYS", "0")
    other = braid_json(*arguments)
    assert not file.parent.exists()
    assert Path(unquote(next(iter(other["shortened_outputs"].values())).removeprefix("file://"))).exists()
    shown = braid("runs", "show", ran["run_id"])[1]
    assert "the whole value is not kept" in shown
    assert str(file.parent) not in shown
