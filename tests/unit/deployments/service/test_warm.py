"""Warm indexes: opened once, never confused with a new index of the same name, closed when unused."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deployments.indexes import remove_index
from deployments.service import OWNER, Library, Question
from deployments.service.warm import WarmIndexes
from deployments.settings import Settings
from flows.errors import UnknownName
from tests.support.tagged_index import Tagged, make_index


@pytest.fixture
def chosen(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, embedding_model="hashing")


def test_an_index_is_opened_once_and_shares_its_models(chosen: Settings, tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_index(chosen, name, [Tagged(1, {})], tmp_path / "files")
    warm = WarmIndexes(chosen)
    with warm.services("one") as first, warm.services("one") as again, warm.services("two") as other:
        assert first is again
        assert first["index_store"] is not other["index_store"]
        assert first["embedder"] is other["embedder"]
    warm.close()


def test_the_least_recent_is_closed_first_but_never_under_its_users(chosen: Settings, tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        make_index(chosen, name, [Tagged(1, {})], tmp_path / "files")
    warm = WarmIndexes(chosen, most=1)
    with warm.services("one") as used:
        store = used["index_store"]
        with warm.services("two"), warm.services("three"):
            assert len(warm) == 1
            assert store.statistics()["documents"] == 1
            assert used["index_store"] is store
    warm.close()


def test_an_index_that_was_deleted_is_gone_and_a_new_one_of_its_name_is_another(
    chosen: Settings, tmp_path: Path
) -> None:
    make_index(chosen, "docs", [Tagged(1, {})], tmp_path / "files")
    library = Library(chosen)
    view = library.seen_by(OWNER)
    assert view.search("docs", Question("pump", 3)).hits[0].document == Tagged(1, {}).name
    remove_index(chosen, "docs")
    with pytest.raises(UnknownName, match="no index named 'docs'"):
        view.search("docs", Question("pump", 3))
    make_index(chosen, "docs", [Tagged(2, {})], tmp_path / "files")
    assert {hit.document for hit in view.search("docs", Question("pump", 3)).hits} == {Tagged(2, {}).name}
    library.close()


def test_many_ask_at_once(chosen: Settings, tmp_path: Path) -> None:
    make_index(chosen, "docs", [Tagged(number, {}) for number in range(3)], tmp_path / "files")
    library = Library(chosen)
    view = library.seen_by(OWNER)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: view.search("docs", Question("pump", 3)), range(24)))
    assert len({tuple(hit.chunk_id for hit in answer.hits) for answer in answers}) == 1
    library.close()
