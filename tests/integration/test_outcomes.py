"""Outcomes of documents whose batch fails or that rules leave out, and their counts in the balance."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from deployments.catalog import load_catalog
from deployments.settings import Settings
from flows.errors import FatalError
from flows.loaders import load_pipeline
from handlers.models.embedding import HashingEmbedder
from tests.support.identities import STORES, balance, settings_for, shown, worked
from tests.support.ingesting import LONG_AGO, ingest, opened, write


@pytest.fixture(params=STORES)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    return settings_for(request.param, request, tmp_path)


def reasons(settings: Settings) -> dict[str, str]:
    """Why documents are not processed, by name."""
    with closing(opened(settings)) as store:
        return {row.name: row.reason for row in store.documents() if row.status != "processed"}


@contextmanager
def poisoned(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An embedder that fails for all texts once a passage contains `poison`, until other passages come."""
    embed, gone = HashingEmbedder.embed_documents, False

    def embed_or_fail(self: HashingEmbedder, texts: Any) -> Any:
        nonlocal gone
        gone = any("poison" in text for text in texts) or (gone and not any("words" in text for text in texts))
        if gone:
            raise FatalError("the endpoint refused")
        return embed(self, texts)

    with monkeypatch.context() as patched:
        patched.setattr(HashingEmbedder, "embed_documents", embed_or_fail)
        yield


def singly(settings: Settings, folder: Path, *, tolerated: str) -> Any:
    """The pipeline with batches of one document."""
    text = Path(str(load_catalog(settings).find("ingest").file)).read_text(encoding="utf-8")
    for old, new in (
        ("fill_documents: 64", "fill_documents: 1"),
        ("batch_documents: 8", "batch_documents: 1"),
        ("tolerated_failure: 5%", f"tolerated_failure: {tolerated}"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = folder / "singly.yaml"
    path.write_text(text, encoding="utf-8")
    return load_pipeline(path)


def test_the_documents_of_a_failed_batch_are_set_aside_by_name_and_taken_up_again(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "in", {"a.txt": "More of the poison.", "b.txt": "Here is poison."})
    with poisoned(monkeypatch):
        failed = ingest(settings, tmp_path / "in")
    assert failed.status == "failed"
    found = balance(failed)
    assert (found["seen"], found["processed"], found["set_aside"]) == (2, 0, 2)
    why = "its batch failed in generate_dense_embeddings: the endpoint refused"
    assert reasons(settings) == {"a.txt": why, "b.txt": why}
    again = ingest(settings, tmp_path / "in")
    assert again.status == "succeeded"
    assert balance(again)["processed"] == 2
    assert reasons(settings) == {}
    assert not worked(ingest(settings, tmp_path / "in"))


def test_batches_that_were_not_begun_are_set_aside_too(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{number}.txt" for number in range(8)]
    write(tmp_path / "in", dict.fromkeys(names, "Here is poison.") | {"broken.pdf": "%PDF-1.4 none"})
    pipeline = singly(settings, tmp_path, tolerated="1")
    with poisoned(monkeypatch):
        found = balance(ingest(settings, tmp_path / "in", pipeline=pipeline))
    assert (found["seen"], found["processed"], found["set_aside"]) == (9, 0, 9)
    given = reasons(settings)
    assert given.keys() >= set(names)
    assert {reason.partition(":")[0] for reason in given.values()} >= {
        "its batch failed in generate_dense_embeddings",
        "its batch was not begun",
    }
    assert balance(ingest(settings, tmp_path / "in", pipeline=pipeline))["processed"] == 8


def test_a_failed_batch_within_the_tolerance_leaves_the_others_processed(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "in", {"a.txt": "Good words.", "b.txt": "Here is poison.", "c.txt": "More words."})
    with poisoned(monkeypatch):
        result = ingest(settings, tmp_path / "in", pipeline=singly(settings, tmp_path, tolerated="1"))
    assert result.status == "partial"
    found = balance(result)
    assert (found["processed"], found["set_aside"]) == (2, 1)
    assert reasons(settings) == {"b.txt": "its batch failed in generate_dense_embeddings: the endpoint refused"}


def test_an_older_version_stays_searchable_when_its_batch_fails(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "in", {"a.txt": "Good words."})
    ingest(settings, tmp_path / "in")
    write(tmp_path / "in", {"a.txt": "Now it is poison."}, modified=LONG_AGO + 60)
    with poisoned(monkeypatch):
        ingest(settings, tmp_path / "in")
    with closing(opened(settings)) as store:
        (row,) = store.documents()
        assert (row.status, row.searchable) == ("failed", True)
        assert [chunk.text for chunk in store.chunks_of(row.id)] == ["Good words."]


def test_every_place_in_the_balance(settings: Settings, tmp_path: Path) -> None:
    source = tmp_path / "in"
    write(source, {"same.txt": "a b", "moved.txt": "c d", "edited.txt": "e f", "tagged.txt": "g h", "x.iso": "?"})
    write(source, {"broken.pdf": "%PDF-1.4 this is none", ".hidden/a.txt": "i", "~$lock.docx": "j"})
    first = balance(ingest(settings, source))
    assert (first["seen"], first["processed"], first["set_aside"]) == (8, 4, 1)
    assert first["left_out"] == {"format": 1, "hidden": 2}
    (source / "moved.txt").rename(source / "elsewhere.txt")
    write(source, {"edited.txt": "k l", "tagged.txt.tags.yaml": "team: x", "new.txt": "m"}, modified=LONG_AGO + 60)
    second = balance(ingest(settings, source))
    assert (second["processed"], second["unchanged"], second["set_aside"]) == (2, 3, 1)
    assert second["left_out"] == {"format": 1, "hidden": 2, "sidecar": 1}
    assert second["details"] == {
        "refreshed": 0,
        "moved": 1,
        "adopted": 0,
        "restated": 1,
        "set_aside_before": 1,
        "changed": 1,
    }
    third = balance(ingest(settings, source, only_step="extract_entities"))
    assert (third["processed"], third["unchanged"], third["set_aside"]) == (5, 0, 1)
    assert third["details"]["refreshed"] == 5
    with closing(opened(settings)) as store:
        (record,) = store.sources()
    assert {key: record.balance[key] for key in third} == third
    assert record.balance["ended_at"] == record.balance["good_at"]


@pytest.mark.parametrize(
    ("options", "rule"),
    [({"pattern": "*.txt"}, "pattern"), ({"exclude": ["*.md"]}, "excluded")],
)
def test_patterns_and_exclusions_are_rules(settings: Settings, tmp_path: Path, options: Any, rule: str) -> None:
    write(tmp_path / "in", {"a.txt": "a b", "b.md": "c d"})
    assert balance(ingest(settings, tmp_path / "in", **options))["left_out"] == {rule: 1}


@pytest.mark.parametrize("settings", ["memory", "sqlite"], indirect=True)
def test_what_this_user_may_not_read_is_left_out_and_never_pruned(settings: Settings, tmp_path: Path) -> None:
    source = tmp_path / "in"
    write(source, {"a.txt": "a b", "closed.txt": "c d", "inner/b.txt": "e f"})
    ingest(settings, source)
    before = shown(settings)
    os.chmod(source / "closed.txt", 0)
    os.chmod(source / "inner", 0)
    with somebody_else(tmp_path):
        found = balance(ingest(settings, source, prune=True, max_prune_share=1.0))
    os.chmod(source / "inner", 0o700)
    assert (found["seen"], found["unchanged"]) == (3, 1)
    assert found["left_out"] == {"permission": 2}
    assert shown(settings) == before


@contextmanager
def somebody_else(folder: Path) -> Iterator[None]:
    """Become another user for a moment, who may use the folder, since root may read everything."""
    if os.geteuid() != 0:
        yield
        return
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, 65534, 65534, follow_symlinks=False)
    chain = [each for each in folder.parents if not os.stat(each).st_mode & 0o001]
    modes = {each: os.stat(each).st_mode for each in chain}
    for each in chain:
        os.chmod(each, modes[each] | 0o111)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        for each, mode in modes.items():
            os.chmod(each, mode)


def test_strict_counts_left_out_files_as_failures_after_the_others_were_ingested(
    settings: Settings, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    write(source, {"a.txt": "a b", "b.xyz": "?", ".hidden": "h"})
    assert ingest(settings, source).status == "succeeded"
    write(source, {"c.txt": "c d"})
    strict = ingest(settings, source, strict=True)
    assert strict.status == "partial"
    assert [(each.item, each.error) for each in strict.failures] == [("b.xyz", "left out by the rule format: .xyz")]
    found = balance(strict)
    assert (found["processed"], found["set_aside"], found["left_out"]) == (1, 0, {"format": 1, "hidden": 1})
    assert shown(settings) == ["a.txt", "c.txt"]
    (source / "b.xyz").unlink()
    assert ingest(settings, source, strict=True).status == "succeeded"
