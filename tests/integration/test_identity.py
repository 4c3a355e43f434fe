"""The canonical URI identifies a document: sources never overwrite each other, and overlapping ones agree."""

import os
import unicodedata
from contextlib import closing
from pathlib import Path

import pytest

from deployments.settings import Settings
from handlers.records import SourceFile, stable_id
from tests.support.identities import STORES, names_of, settings_for, shown, tags_of, words_of, worked
from tests.support.ingesting import LONG_AGO, called, ingest, opened, settings_in, write
from tests.support.older_indexes import copy_as_older_file

TREE = {"readme.md": "# Handbook\n\nThe pump is blue.", "sub/valve.txt": "The valve is red.", "sub/hose.txt": "A hose."}


@pytest.fixture(params=STORES)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings with an empty index of every kind."""
    return settings_for(request.param, request, tmp_path)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    write(tmp_path / "docs", TREE)
    return tmp_path / "docs"


def content(settings: Settings) -> str:
    with closing(opened(settings)) as store:
        return store.fingerprint()


def test_two_folders_keep_their_files_of_one_name(settings: Settings, tmp_path: Path) -> None:
    write(tmp_path / "one", {"readme.md": "The first words.", "only.txt": "Here alone."})
    write(tmp_path / "two", {"readme.md": "The second words."})
    ingest(settings, tmp_path / "one")
    assert shown(settings) == ["only.txt", "readme.md"]
    ingest(settings, tmp_path / "two")
    assert words_of(settings) == {
        "one/readme.md": "The first words.",
        "only.txt": "Here alone.",
        "two/readme.md": "The second words.",
    }
    before = content(settings)
    for folder in ("one", "two", "one"):
        assert not worked(ingest(settings, tmp_path / folder))
    assert content(settings) == before


def test_labels_of_sources_are_as_long_as_they_have_to_be(settings: Settings, tmp_path: Path) -> None:
    for team in ("legal", "sales"):
        write(tmp_path / team / "docs", {"a.txt": f"Words of {team}."})
        ingest(settings, tmp_path / team / "docs")
    assert shown(settings) == ["legal/docs/a.txt", "sales/docs/a.txt"]


@pytest.mark.parametrize("order", [("docs", "docs/sub"), ("docs/sub", "docs"), ("docs/sub/valve.txt", "docs")])
def test_sources_inside_each_other_have_each_document_once(
    settings: Settings, docs: Path, order: tuple[str, str]
) -> None:
    for source in order:
        ingest(settings, docs.parent / source)
    assert shown(settings) == sorted(TREE)
    before = content(settings)
    for source in ("docs", "docs/sub", "docs/sub/valve.txt", "docs"):
        assert not worked(ingest(settings, docs.parent / source)), source
    assert content(settings) == before


def test_a_file_that_arrives_is_the_document_that_the_folder_has(settings: Settings, docs: Path) -> None:
    ingest(settings, docs)
    write(docs, {"sub/new.txt": "It arrived."})
    ingest(settings, f"file://{docs}/sub/new.txt")
    assert shown(settings) == sorted([*TREE, "sub/new.txt"])
    assert not worked(ingest(settings, docs))


def test_every_spelling_of_a_source_is_the_same(
    settings: Settings, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(settings, docs)
    monkeypatch.chdir(docs.parent)
    spellings = ["docs", "docs/", "./docs", "docs/sub/..", f"file://{docs}", f"FILE://localhost{docs}/", f"/{docs}"]
    for spelling in spellings:
        assert not worked(ingest(settings, spelling)), spelling
    with closing(opened(settings)) as store:
        assert [source.uri for source in store.sources()] == [f"file://{docs}"]


@pytest.mark.parametrize("edited", [False, True])
def test_a_file_whose_name_is_decomposed_stays_one_document(settings: Settings, tmp_path: Path, edited: bool) -> None:
    composed = unicodedata.normalize("NFC", "Über.txt")
    decomposed = unicodedata.normalize("NFD", composed)
    folder = tmp_path / "in"
    write(folder, {composed: "The first words.", "other.txt": "More."})
    ingest(settings, folder)
    os.rename(folder / composed, folder / decomposed)
    if edited:
        write(folder, {decomposed: "The second words."}, modified=LONG_AGO + 60)
    ingest(settings, folder)
    assert words_of(settings) == {composed: f"The {'second' if edited else 'first'} words.", "other.txt": "More."}
    assert not worked(ingest(settings, folder))


def test_of_two_spellings_of_one_name_one_is_the_document_and_the_other_is_counted(
    settings: Settings, tmp_path: Path
) -> None:
    composed = unicodedata.normalize("NFC", "Über.txt")
    decomposed = unicodedata.normalize("NFD", composed)
    write(tmp_path / "in", {composed: "Composed.", decomposed: "Decomposed."})
    if len(os.listdir(tmp_path / "in")) == 1:
        pytest.skip("this disk knows one form only")
    result = ingest(settings, tmp_path / "in")
    assert result.context.data["balance"]["left_out"] == {"duplicate": 1}
    assert words_of(settings) == {composed: "Composed."}
    assert not worked(ingest(settings, tmp_path / "in"))


def test_pruning_a_source_leaves_the_documents_of_sources_in_it_and_beside_it(settings: Settings, docs: Path) -> None:
    write(docs.parent / "docs-2", {"gone.txt": "Beside."})
    for source in (docs, docs / "sub", docs.parent / "docs-2"):
        ingest(settings, source)
    for path in (docs / "readme.md", docs / "sub" / "valve.txt", docs.parent / "docs-2" / "gone.txt"):
        path.unlink()
    write(docs, {"stays.txt": "It stays."})
    pruned = ingest(settings, docs, prune=True, max_prune_share=1.0)
    assert pruned.context.data["changes"]["kept"] == 1
    assert shown(settings) == ["gone.txt", "stays.txt", "sub/hose.txt", "sub/valve.txt"]
    ingest(settings, docs / "sub", prune=True, max_prune_share=1.0)
    assert shown(settings) == ["gone.txt", "stays.txt", "sub/hose.txt"]


def test_what_is_there_and_left_out_is_not_gone(settings: Settings, docs: Path) -> None:
    ingest(settings, docs)
    before = content(settings)
    (docs / "readme.md").write_text("")
    pruned = ingest(settings, docs, prune=True, max_prune_share=1.0)
    assert pruned.context.data["balance"]["left_out"] == {"empty": 1}
    assert content(settings) == before


def test_tags_are_the_same_whichever_source_brings_a_document(settings: Settings, docs: Path) -> None:
    write(docs, {".tags.yaml": "team: all\nrules:\n- {match: 'sub/v*', tags: {kind: valve}}\n"})
    write(docs, {"sub/.tags.yml": "team: inner\n", "sub/valve.txt.tags.yaml": "own: yes it is\n"})
    ingest(settings, docs, tags={"given": ["g"]})
    wanted = tags_of(settings)
    assert wanted["sub/valve.txt"] == (("given", "g"), ("kind", "valve"), ("own", "yes it is"), ("team", "inner"))
    for source in (docs / "sub", docs / "sub" / "valve.txt"):
        assert not worked(ingest(settings, source)), source
    ingest(settings, docs / "sub", tags={"given": ["nearer"]})
    nearer = tags_of(settings)
    assert nearer["sub/hose.txt"] == (("given", "nearer"), ("team", "inner"))
    assert not worked(ingest(settings, docs, tags={"given": ["g"]}))
    assert tags_of(settings) == nearer


def test_a_document_is_read_again_when_another_encoding_is_declared(settings: Settings, docs: Path) -> None:
    russian = docs / "sub" / "russian.txt"
    russian.write_bytes("Привет, насос.".encode("cp1251"))
    os.utime(russian, (LONG_AGO, LONG_AGO))

    def declared(encoding: str) -> list[str]:
        write(docs, {"sub/.tags.yaml": f"rules:\n- {{match: 'r*', tags: {{encoding: {encoding}}}}}\n"})
        return worked(ingest(settings, docs))

    assert declared("iso-8859-5")
    assert words_of(settings)["sub/russian.txt"] == "Привет, насос.".encode("cp1251").decode("iso-8859-5")
    assert declared("windows-1251")
    assert words_of(settings)["sub/russian.txt"] == "Привет, насос."
    assert not declared("windows-1251")
    assert declared("klingon")
    assert not declared("klingon")
    assert declared("windows-1251")
    assert tags_of(settings)["sub/russian.txt"] == (("encoding", "windows-1251"),)


def make_older(settings: Settings, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ingest a folder as releases did that knew documents by their names alone."""
    with monkeypatch.context() as patch:
        patch.setattr(SourceFile, "document_id", property(lambda self: stable_id("doc", self.name)))
        ingest(settings, source)
    with closing(opened(settings)) as store:
        store.forget_sources((each.uri, each.pattern) for each in store.sources())
        assert {state.id for state in store.document_states()} == {
            stable_id("doc", state.name) for state in store.document_states()
        }


def test_documents_of_earlier_releases_are_taken_over_without_embedding_anything(
    settings: Settings, docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(docs, {"broken.pdf": "%PDF-1.4 this is none", "table.md": "# T\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"})
    make_older(settings, docs, monkeypatch)
    result = ingest(settings, docs)
    assert "chunks" not in result.cost
    changes = result.context.data["changes"]
    assert (changes["adopt"], changes["process"], changes["unchanged"]) == (4, 1, 4)
    new = settings_in(tmp_path / "new")
    ingest(new, docs)
    assert content(settings) == content(new)
    assert not worked(ingest(settings, docs))


def test_what_has_changed_since_the_earlier_release_is_processed(
    settings: Settings, docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_older(settings, docs, monkeypatch)
    write(docs, {"readme.md": "# Handbook\n\nThe pump is green."}, modified=LONG_AGO + 60)
    (docs / "sub" / "hose.txt").rename(docs / "pipe.txt")
    result = ingest(settings, docs)
    assert result.cost["chunks"] == 1
    assert called(result)["move"] == 1
    new = settings_in(tmp_path / "new")
    ingest(new, docs)
    assert content(settings) == content(new)


def test_an_index_file_of_the_release_before_is_taken_over(
    docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_in(tmp_path, index_url=f"sqlite:///{tmp_path}/{{index}}.db")
    make_older(settings, docs, monkeypatch)
    copy_as_older_file(tmp_path / "docs.db", tmp_path / "older.db", 4)
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"docs.db{suffix}").unlink(missing_ok=True)
    (tmp_path / "older.db").replace(tmp_path / "docs.db")
    result = ingest(settings, docs)
    assert "chunks" not in result.cost
    assert result.context.data["changes"]["adopt"] == len(TREE)
    assert not worked(ingest(settings, docs))


def test_of_an_older_document_that_two_folders_wrote_over_each_gets_its_own(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "one", {"readme.md": "The first words."})
    write(tmp_path / "two", {"readme.md": "The second words."})
    make_older(settings, tmp_path / "two", monkeypatch)
    assert list(names_of(settings)) == [f"file://{tmp_path}/two/readme.md"]
    ingest(settings, tmp_path / "one")
    assert "chunks" not in ingest(settings, tmp_path / "two").cost
    assert words_of(settings) == {"one/readme.md": "The first words.", "two/readme.md": "The second words."}
