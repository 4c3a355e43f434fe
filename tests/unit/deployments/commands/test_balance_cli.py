"""The balance on the command line, and the names that people may use for documents."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deployments.cli import app
from flows.errors import AmbiguousName
from tests.support.ingesting import write


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAID_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BRAID_EMBEDDING_MODEL", "hashing")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")


def braid(*arguments: str) -> tuple[int, str, str]:
    ended = CliRunner().invoke(app, list(arguments), prog_name="braid")
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return ended.exit_code, ended.stdout, ended.stderr


def braid_json(*arguments: str) -> tuple[int, Any]:
    code, out, _ = braid(*arguments, "--json")
    return code, json.loads(out)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    write(tmp_path / "one", {"readme.md": "The first words.", "sub/only.txt": "Here alone."})
    write(tmp_path / "one", {f"{number}.xyz": "?" for number in range(10)} | {".git/config": "c"})
    write(tmp_path / "two", {"readme.md": "The second words."})
    return tmp_path


def ingest(folder: Path, *more: str) -> tuple[int, Any]:
    return braid_json("ingest", str(folder), "--engine", "inline", "-i", "docs", *more)


def test_an_ingestion_ends_with_its_balance(folders: Path) -> None:
    code, out, _ = braid("ingest", str(folders / "one"), "--engine", "inline", "-i", "docs")
    assert code == 0
    head, row, note = [line.split() for line in out.splitlines()[-3:]]
    assert head == ["source", "seen", "processed", "unchanged", "set", "aside", "left", "out"]
    assert row == [f"file://{folders}/one", "13", "2", "0", "0", "11"]
    assert " ".join(note) == "left out: 10 format, 1 hidden"
    code, again = ingest(folders / "one")
    assert code == 0
    assert again["balance"] | {"run_id": "", "details": {}} == {
        "source": f"file://{folders}/one",
        "pattern": "**/*",
        "run_id": "",
        "seen": 13,
        "processed": 0,
        "unchanged": 2,
        "set_aside": 0,
        "left_out": {"format": 10, "hidden": 1},
        "details": {},
        "exact": True,
    }


def test_strict_ends_with_the_code_of_partial_success_and_the_names(folders: Path) -> None:
    code, ran = ingest(folders / "one", "--strict")
    assert (code, ran["status"]) == (3, "partial")
    assert [each["item"] for each in ran["failures"]] == [f"{number}.xyz" for number in range(10)]
    assert ran["balance"]["processed"] == 2
    assert ingest(folders / "two", "--strict")[0] == 0


def test_the_status_shows_sources_and_names_what_is_left_out(folders: Path) -> None:
    for name in ("one", "two"):
        ingest(folders / name)
    _, status = braid_json("documents", "status", "-i", "docs")
    assert status["counts"]["processed"] == 3
    assert [(each["source"].rpartition("/")[2], each["seen"]) for each in status["sources"]] == [
        ("one", 13),
        ("two", 1),
    ]
    assert "left_out" not in status
    _, named = braid_json("documents", "status", "-i", "docs", "--left-out", "--limit", "3", "--offset", "1")
    assert [(each["name"], each["rule"]) for each in named["left_out"]] == [
        ("0.xyz", "format"),
        ("1.xyz", "format"),
        ("2.xyz", "format"),
    ]
    _, hidden = braid_json("documents", "status", "-i", "docs", "--rule", "hidden")
    assert [(each["name"], each["reason"]) for each in hidden["left_out"]] == [(".git/", "its name begins with a dot")]
    out = braid("documents", "status", "-i", "docs", "--left-out")[1]
    assert "left out: 10 format, 1 hidden" in out
    assert "9.xyz" in out
    code, _, error = braid("documents", "status", "-i", "docs", "--rule", "formt")
    assert code == 2
    assert "no rule named 'formt'; did you mean 'format'?" in error


def test_documents_are_named_by_ends_of_names_and_uris(folders: Path) -> None:
    for name in ("one", "two"):
        ingest(folders / name)
    wanted = {"one/readme.md", f"file://{folders}/one/readme.md", f"{folders.name}/one/readme.md"}
    for name in wanted:
        code, shown = braid_json("documents", "show", name, "-i", "docs")
        assert (code, shown["name"]) == (0, "one/readme.md"), name
    assert braid_json("documents", "show", "only.txt", "-i", "docs")[1]["name"] == "sub/only.txt"
    code, _, error = braid("documents", "show", "readme.md", "-i", "docs")
    assert code == 2
    assert "'readme.md' matches several documents; name one of: one/readme.md, two/readme.md" in error
    code, _, error = braid("documents", "delete", "readme.md", "-i", "docs", "--yes")
    assert code == 2
    assert braid_json("documents", "delete", "two/readme.md", "-i", "docs", "--yes")[1]["deleted"] == ["two/readme.md"]
    assert ingest(folders / "one")[1]["balance"]["unchanged"] == 2
    _, found = braid_json("search", "first words", "-i", "docs", "--top", "1")
    assert found["hits"][0]["document"] == "readme.md", "no other document has that name any more"


def test_a_forgotten_source_is_a_part_of_the_folder_around_it(folders: Path) -> None:
    for source in ("one", "one/sub"):
        ingest(folders / source)
    (folders / "one" / "sub" / "only.txt").unlink()
    prune = ("--prune", "--max-prune-share", "1")
    ingest(folders / "one", *prune)
    assert braid_json("documents", "status", "-i", "docs")[1]["counts"]["processed"] == 2
    code, forgotten = braid_json("documents", "forget-source", str(folders / "one" / "sub"), "-i", "docs")
    assert (code, forgotten["forgotten"]) == (0, 1)
    ingest(folders / "one", *prune)
    assert braid_json("documents", "status", "-i", "docs")[1]["counts"]["processed"] == 1
    assert braid("documents", "forget-source", "nowhere", "-i", "docs")[0] == 2


def test_an_ambiguous_name_survives_pickling() -> None:
    import pickle

    error = AmbiguousName("document", "a", [f"{number}/a" for number in range(12)])
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert str(error).endswith(", …")
