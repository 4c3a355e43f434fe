"""`braid documents`: the status of each document, and the operations on it."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deployments.cli import app
from tests.support.ingesting import write

FILES = {
    "bees.md": "# Bees\n\nMatilda Smith keeps bees in Ghent.\n\n| hive | bees |\n|---|---|\n| A | 9 |\n\n"
    "```python\nprint(1)\n```\n",
    "ants.txt": "Ants carry leaves.",
    "broken.pdf": "%PDF-1.4 and then nothing",
}


def braid(*arguments: str) -> tuple[int, str]:
    ended = CliRunner().invoke(app, list(arguments), prog_name="braid")
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return ended.exit_code, ended.stdout


def braid_json(*arguments: str) -> Any:
    return json.loads(braid(*arguments, "--json")[1])


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in (
        ("BRAID_HOME", str(tmp_path / "home")),
        ("BRAID_EMBEDDING_MODEL", "hashing"),
        ("COLUMNS", "200"),
        ("NO_COLOR", "1"),
    ):
        monkeypatch.setenv(name, value)
    write(tmp_path / "in", FILES)
    return tmp_path / "in"


def ingest(source: Path, *options: str) -> Any:
    return braid_json("ingest", str(source), "--engine", "inline", *options)


def test_documents_are_listed_with_their_outcomes(source: Path) -> None:
    run = ingest(source)["run_id"]
    listed = braid_json("documents", "list")
    assert listed["counts"] == {"processed": 2, "failed": 1, "pending": 0, "searchable": 2}
    assert [(each["name"], each["status"], each["run_id"], each["runs"]) for each in listed["documents"]] == [
        ("ants.txt", "processed", run, 1),
        ("bees.md", "processed", run, 1),
        ("broken.pdf", "failed", run, 1),
    ]
    steps = {each["name"]: each["step"].rpartition(".")[2] for each in listed["documents"]}
    assert steps == {"ants.txt": "publish_documents", "bees.md": "publish_documents", "broken.pdf": "extract_text"}
    (failed,) = braid_json("documents", "--status", "failed")["documents"]
    assert "damaged" in failed["reason"]
    page = braid_json("documents", "list", "--limit", "1", "--offset", "1")
    assert [each["name"] for each in page["documents"]] == ["bees.md"]
    code, out = braid("documents", "--status", "failed")
    assert (code, "broken.pdf" in out, "ants.txt" in out) == (0, True, False)
    assert braid_json("documents", "status")["counts"]["failed"] == 1


def test_a_document_shows_its_encoding_and_whether_it_was_guessed(source: Path) -> None:
    (source / "ode.txt").write_bytes("Příliš žluťoučký kůň úpěl ďábelské ódy.".encode("cp1250"))
    ingest(source)
    assert "metadata: encoding=cp1250, encoding_guessed=yes\n" in braid("documents", "show", "ode.txt")[1]
    ingest(source, "--tag", "encoding=windows-1250")
    assert "metadata: encoding=cp1250\n" in braid("documents", "show", "ode.txt")[1]


def test_one_document_shows_what_was_found_in_it(source: Path) -> None:
    ingest(source, "--tag", "team=garden")
    found = braid_json("documents", "show", "bees.md")
    assert "Matilda Smith" in [each["name"] for each in found["entities"]]
    assert sorted(each["kind"] for each in found["artifacts"]) == ["code", "table"]
    assert found["tags"] == [["team", "garden"]]
    code, out = braid("documents", "show", "bees.md", "--passages")
    assert code == 0
    for text in ("Summary", "Matilda Smith (PERSON", "Tables (1)", "Code blocks (1)", "print(1)", "team=garden"):
        assert text in out or text.startswith("Matilda")
    code, out = braid("documents", "show", "bee.md", "--json")
    assert code == 2
    assert "did you mean 'bees.md'" in json.loads(out)["error"]["message"]


def test_failed_documents_are_tried_again_when_they_are_requeued(source: Path) -> None:
    ingest(source)
    assert not ingest(source)["failures"]
    assert braid_json("documents", "requeue", "--status", "failed")["requeued"] == 1
    assert [each["item"] for each in ingest(source)["failures"]] == ["broken.pdf"]
    (failed,) = braid_json("documents", "list", "--status", "failed")["documents"]
    assert failed["runs"] == 2
    assert braid_json("documents", "requeue", "ants.txt")["requeued"] == 0
    assert braid("documents", "requeue")[0] == 2
    assert braid("documents", "requeue", "--status", "processed")[0] == 2


def test_documents_are_deleted_and_come_back_while_their_files_are_there(source: Path) -> None:
    ingest(source)
    assert braid("documents", "delete", "ants.txt", "--json")[0] == 2  # not without --yes
    assert braid_json("documents", "delete", "ants.txt", "--yes")["deleted"] == ["ants.txt"]
    assert braid_json("documents", "status")["counts"]["processed"] == 1
    ingest(source)
    assert braid_json("documents", "status")["counts"]["processed"] == 2
    (source / "ants.txt").unlink()
    ingest(source, "--prune", "--max-prune-share", "0.5")
    assert [each["name"] for each in braid_json("documents", "list", "--status", "removed")["documents"]] == [
        "ants.txt"
    ]


def test_a_document_that_gets_another_name_is_not_removed(source: Path) -> None:
    ingest(source)
    other = source.parent / "other"
    other.mkdir()
    (other / "ants.txt").write_text("Other words of another folder.")
    ingest(other)
    (source / "ants.txt").rename(source / "bees.txt")
    ingest(source, "--prune", "--max-prune-share", "0.9")
    assert "removed" not in braid_json("documents", "status")["counts"]
    renamed = {each["name"] for each in braid_json("documents", "list", "--status", "renamed")["documents"]}
    assert len(renamed) == 2
    assert "ants.txt" in renamed
