"""A change of model, from ingestion to answer: questions use the old version until the new one is complete."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deployments.catalog import load_catalog
from deployments.cli import app
from deployments.proving import prove_index
from deployments.runs import Searches
from deployments.settings import Settings
from handlers.stores import IndexStore
from tests.support.ingesting import called, ingest, opened, settings_in, write
from tests.support.tiny_model import make_tiny_model

FILES = {f"{number}.md": f"# Part {number}\n\nThe pump {number} is green and hums." for number in range(6)}
WORDS = "the pump is green and hums part blue river 0 1 2 3 4 5".split()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    make_tiny_model(tmp_path / "models", "tiny", WORDS, dimensions=16)
    make_tiny_model(tmp_path / "models", "multilingual-e5-small", WORDS)
    return settings_in(tmp_path, model_dir=tmp_path / "models", embedding_model="tiny")


def with_model(settings: Settings, name: str) -> Settings:
    return settings.model_copy(update={"embedding_model": name})


def asked(settings: Settings, question: str = "green pump", index: str = "docs", **given: Any) -> list[Any]:
    searches = Searches(settings, load_catalog(settings))
    result = searches.run("search", {"query": question, "top_k": 20, **given}, index=index)
    assert result.status == "succeeded", result.errors
    return result.outputs["passages"]


@contextmanager
def store_of(settings: Settings) -> Iterator[IndexStore]:
    store = opened(settings)
    yield store
    store.close()


def versions(settings: Settings) -> list[tuple[str, str, str]]:
    with store_of(settings) as store:
        return [(each.name, each.state, each.model) for each in store.versions()]


def test_another_model_is_built_beside_and_switched_to_when_it_is_whole(settings: Settings, tmp_path: Path) -> None:
    write(tmp_path / "one", FILES)
    write(tmp_path / "two", {"river.md": "# River\n\nThe river is blue."})
    ingest(settings, tmp_path / "one")
    ingest(settings, tmp_path / "two")
    found = asked(settings)
    new = with_model(settings, "multilingual-e5-small")
    first = ingest(new, tmp_path / "one")
    assert called(first)["generate_dense_embeddings"] == 1
    assert "extract_text" not in called(first)
    built = first.context.data["index_version"]
    assert (built["name"], built["active"], built["unfinished"]) == ("2", "1", 1)
    assert versions(settings) == [("1", "active", "tiny"), ("2", "being built", "multilingual-e5-small")]
    for each in (settings, new):  # whichever model the settings name, a question goes to the active version
        assert asked(each) == found
    assert len(asked(new, index="docs@2")) > 0
    second = ingest(new, tmp_path / "two")
    assert second.context.data["index_version"]["active"] == "2"
    assert "; questions use version 2 now, which is complete" in second.summary
    assert versions(settings)[0] == ("2", "active", "multilingual-e5-small")
    assert {hit.id for hit in asked(settings)} == {hit.id for hit in found}
    again = ingest(new, tmp_path / "one")
    assert called(again) == {}
    assert "index_version" not in again.context.data


def test_an_ingestion_with_the_old_model_meanwhile_is_caught_up_with(settings: Settings, tmp_path: Path) -> None:
    write(tmp_path / "docs", FILES)
    write(tmp_path / "more", {"a.md": "# A\n\nThe river is green."})
    ingest(settings, tmp_path / "docs")
    ingest(settings, tmp_path / "more")
    new = with_model(settings, "multilingual-e5-small")
    ingest(new, tmp_path / "docs")
    write(tmp_path / "docs", {"1.md": "# Part 1\n\nThe pump 1 is blue."}, modified=1_700_000_100.0)
    ingest(settings, tmp_path / "docs")
    with store_of(settings) as store:
        assert len(store.versions()) == 2
    assert any("blue" in hit.content for hit in asked(settings, "blue pump"))
    assert ingest(new, tmp_path / "more").context.data["index_version"]["unfinished"] == 1
    last = ingest(new, tmp_path / "docs")
    assert last.context.data["index_version"]["active"] == "2"
    assert any("blue" in hit.content for hit in asked(new, "blue pump"))


def test_a_version_that_answers_judged_questions_worse_does_not_come_into_use(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "docs", {**FILES, "river.md": "# River\n\nThe river is blue."})
    ingest(settings, tmp_path / "docs")
    folder = settings.judged_folder / "docs"
    write(folder, {"queries.tsv": "1\tgreen pump", "qrels.txt": "1 0 river.md 1"})
    monkeypatch.setattr("deployments.runs.judging._figure", _worse)
    new = with_model(settings, "multilingual-e5-small")
    built = ingest(new, tmp_path / "docs").context.data["index_version"]
    assert (built["is_worse"], built["active"], built["unfinished"]) == (True, "1", 0)
    monkeypatch.undo()
    assert ingest(new, tmp_path / "docs").context.data["index_version"]["active"] == "2"


def _worse(services: Any, index: str, *_: Any) -> float:
    return 0.5 if index.endswith("@1") else 0.4


def test_a_named_version_is_switched_to_by_hand_and_rolled_back(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRAID_HOME", str(settings.home))

    def braid(*arguments: str) -> tuple[int, Any]:
        ended = CliRunner().invoke(app, ["index", *arguments, "--json"], prog_name="braid")
        return ended.exit_code, json.loads(ended.stdout or "null")

    write(tmp_path / "docs", FILES)
    ingest(settings, tmp_path / "docs")
    built = ingest(settings, tmp_path / "docs", index="docs@trial", ocr="never").context.data["index_version"]
    assert (built["is_named"], built["active"], built["unfinished"]) == (True, "1", 0)
    assert [each["name"] for each in braid("versions", "docs")[1]["versions"]] == ["1", "trial"]
    assert braid("rollback", "docs")[0] == 2
    assert braid("switch", "docs", "trial")[1]["active"] == "trial"
    assert braid("rollback", "docs")[1]["active"] == "1"
    assert braid("remove-version", "docs", "trial")[0] == 0
    assert versions(settings) == [("1", "active", "tiny")]


def test_an_index_is_proven_and_repaired_from_its_sources(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "docs", FILES)
    ingest(settings, tmp_path / "docs", tags={"team": ["x"]})
    catalog = load_catalog(settings)
    first = prove_index(settings, catalog, "docs")
    assert (first.documents, first.differences, first.flaws, first.unproven) == (6, [], [], [])
    with closing(sqlite3.connect(tmp_path / "home/indexes/docs.db")) as connection, connection:
        keys = dict(connection.execute("SELECT name, published FROM documents"))
        passages = dict(connection.execute("SELECT version, passage FROM chunks"))
        spoilt = passages[keys["1.md"]], keys["2.md"], passages[keys["3.md"]]
        connection.execute("UPDATE passages SET text = 'x' || substr(text, 2) WHERE key = ?", spoilt[:1])
        connection.execute("DELETE FROM tags WHERE version = ?", spoilt[1:2])
        connection.execute("DELETE FROM vectors WHERE passage = ?", spoilt[2:])
    write(tmp_path / "docs", {"5.md": "# Part 5\n\nNew words."}, modified=1_700_000_100.0)
    (tmp_path / "docs/0.md").unlink()
    found = prove_index(settings, catalog, "docs", repair=True)
    assert sorted(each.facet for each in found.differences) == ["tags", "text", "vectors"]
    assert [each.kind for each in found.flaws] == ["orphan"]  # the token vectors of the deleted one
    assert (found.documents, found.changed, found.unproven, found.repaired) == (4, 1, ["0.md"], 4)
    samples = [prove_index(settings, catalog, "docs", share=0.6, seed=str(number)) for number in range(10)]
    assert all(sample.holds for sample in samples)
    assert 0 < sum(sample.documents for sample in samples) < 40  # the ids, and with them the samples, differ per run
