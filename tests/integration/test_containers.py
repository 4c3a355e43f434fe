"""Archives and mails: their members are separate documents, which are found, cited, updated and pruned with them."""

import os
from pathlib import Path
from typing import Any

import pytest

from deployments.catalog import load_catalog
from deployments.runs import Searches
from deployments.settings import Settings
from flows.author import RunResult
from handlers.extraction import members
from handlers.stores import DocumentRow
from tests.support.archives import make_mail, make_tar, make_zip
from tests.support.documents import make_pdf
from tests.support.ingesting import LONG_AGO, ingest, opened, settings_in


def put(path: Path, data: bytes, *, modified: float = LONG_AGO) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (modified, modified))


def rows(settings: Settings) -> dict[str, DocumentRow]:
    store = opened(settings)
    found = {row.name: row for row in store.documents(limit=1000)}
    store.close()
    return found


def changes(result: RunResult) -> dict[str, Any]:
    return result.context.data["changes"]


def left_out(result: RunResult) -> dict[str, int]:
    return dict(result.context.data["left_out"])


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "docs"
    invoice = make_pdf(["Invoice four hundred for the copper valve"])
    mail = make_mail("Please see the invoice.", {"invoice.pdf": invoice, "logo.bin": b"\0\1"})
    files = {"a/report.txt": b"The zebra report.", "a/data.bin": b"\0" * 9, ".hidden.txt": b"x", "m.eml": mail}
    put(made / "old.zip", make_zip(files))
    put(made / "more.tar.gz", make_tar({"notes.md": b"# Notes\n\nThe walrus sleeps."}, "w:gz"))
    put(made / "offer.eml", make_mail("An offer.", {"price.pdf": make_pdf(["Nine thousand crowns for the mill"])}))
    put(made / "plain.txt", b"Plain words.")
    return made


NAMES = {
    "plain.txt",
    "old.zip",
    "old.zip!/a/report.txt",
    "old.zip!/m.eml",
    "old.zip!/m.eml!/invoice.pdf",
    "more.tar.gz",
    "more.tar.gz!/notes.md",
    "offer.eml",
    "offer.eml!/price.pdf",
}


def test_what_is_inside_is_found_and_cited(folder: Path, settings: Settings):
    result = ingest(settings, folder)
    assert result.status == "succeeded", result.failures
    found = rows(settings)
    assert set(found) == NAMES
    assert {row.status for row in found.values()} == {"processed"}
    assert left_out(result) == {"format": 2, "hidden": 1}
    assert changes(result)["listed"] == len(NAMES)
    searches = Searches(settings, load_catalog(settings))
    for question, name in (
        ("zebra report", "old.zip!/a/report.txt"),
        ("invoice copper valve", "old.zip!/m.eml!/invoice.pdf"),
        ("walrus sleeps", "more.tar.gz!/notes.md"),
        ("nine thousand crowns for the mill", "offer.eml!/price.pdf"),
    ):
        ended = searches.run("search", {"query": question}, index="docs")
        hit = ended.context.data["results"][0]
        assert hit.name == name
    uri = found["old.zip!/m.eml!/invoice.pdf"].uri
    assert uri == f"file://{folder}/old.zip!/m.eml!/invoice.pdf"
    store = opened(settings)
    [stored] = store.read_documents([found["offer.eml!/price.pdf"].id])
    assert dict(stored.document.metadata)["parent"] == "offer.eml"
    store.close()


def test_what_has_not_changed_is_not_opened(folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch):
    first = ingest(settings, folder)

    def fail(*_: Any) -> None:
        raise AssertionError("opened")

    with monkeypatch.context() as patch:
        for name in ("members_of", "unpack"):
            patch.setattr(members, name, fail)
        again = ingest(settings, folder)
    assert again.status == "succeeded"
    assert changes(again)["unchanged"] == changes(again)["listed"] == len(NAMES)
    assert left_out(again) == left_out(first)


def test_of_a_changed_archive_only_what_changed_is_read(folder: Path, settings: Settings):
    ingest(settings, folder)
    more = {"notes.md": b"# Notes\n\nThe walrus sleeps.", "new.md": b"Otter."}
    put(folder / "more.tar.gz", make_tar(more, "w:gz"), modified=LONG_AGO + 9)
    result = ingest(settings, folder)
    assert result.status == "succeeded"
    assert changes(result)["process"] == 2
    assert set(rows(settings)) == NAMES | {"more.tar.gz!/new.md"}


def test_members_go_with_their_archive_and_move_out_of_it(folder: Path, settings: Settings):
    ingest(settings, folder)
    (folder / "old.zip").unlink()
    put(folder / "report.txt", b"The zebra report.")
    put(folder / "offer.eml", make_mail("An offer, changed."))
    result = ingest(settings, folder, prune=True, max_prune_share=0.9)
    assert result.status == "succeeded", result.errors
    assert set(rows(settings)) == {"plain.txt", "report.txt", "more.tar.gz", "more.tar.gz!/notes.md", "offer.eml"}
    assert changes(result)["move"] == 1


def test_an_archive_that_breaks_is_set_aside_and_keeps_its_members(folder: Path, settings: Settings):
    ingest(settings, folder)
    put(folder / "more.tar.gz", b"\x1f\x8bnothing", modified=LONG_AGO + 9)
    result = ingest(settings, folder, prune=True)
    assert [failure.item for failure in result.failures] == ["more.tar.gz"]
    assert "is damaged" in result.failures[0].error
    assert rows(settings)["more.tar.gz!/notes.md"].status == "processed"


def test_a_run_that_was_cut_short_is_finished(folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch):
    """The archive itself was stored, but not its members, so it is opened again."""
    ingest(settings, folder)
    store = opened(settings)
    store.delete([rows(settings)["old.zip!/a/report.txt"].id])
    store.close()
    result = ingest(settings, folder)
    assert changes(result)["process"] == 1
    assert set(rows(settings)) == NAMES


def test_one_archive_can_be_the_source(folder: Path, settings: Settings):
    assert ingest(settings, folder / "old.zip").status == "succeeded"
    assert {name for name in NAMES if name.startswith("old.zip")} == set(rows(settings))
    again = ingest(settings, folder / "old.zip")
    assert changes(again)["unchanged"] == 4
    whole = ingest(settings, folder)
    assert whole.status == "succeeded"
    assert set(rows(settings)) == NAMES


def test_the_tags_of_an_archive_are_those_of_its_members(folder: Path, settings: Settings):
    (folder / "old.zip.tags.yaml").write_text("department: legal\n")
    ingest(settings, folder)
    store = opened(settings)
    tags = store.tags_of([row.id for name, row in rows(settings).items() if name.startswith("old.zip")])
    store.close()
    assert len(tags) == 4
    assert set(tags.values()) == {(("department", "legal"),)}


def test_rules_that_change_open_archives_again(folder: Path, settings: Settings):
    ingest(settings, folder, exclude=["**/a/**"])
    assert "old.zip!/a/report.txt" not in rows(settings)
    ingest(settings, folder)
    assert "old.zip!/a/report.txt" in rows(settings)
