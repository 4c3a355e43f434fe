"""An index in SQL records its latest changes passage by passage, up to a fixed number."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from handlers.stores import open_index
from handlers.stores.sql import changes
from handlers.stores.sqlite import SqliteIndexStore
from tests.support.index_stores import document, ingest


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteIndexStore]:
    made = open_index(str(tmp_path / "index.db"))
    assert isinstance(made, SqliteIndexStore)
    yield made
    made.close()


def since(store: SqliteIndexStore, number: int) -> changes.Changes | None:
    with store._read() as connection:  # pyright: ignore[reportPrivateUsage]
        return changes.changes_between(connection, number, changes.changes_number(connection))


def test_added_and_removed_passages_are_recorded_with_the_difference_in_numbers(store: SqliteIndexStore) -> None:
    ingest(store, document("a", "storm river\nbridge"), document("b", "train"))
    first = since(store, 0)
    assert first
    assert (first.came.tolist(), first.went.tolist()) == ([1, 2, 3], [])
    assert (first.passages, first.terms) == (3, 4)
    ingest(store, document("a", "storm river\nviolin orchard"), run="r2")
    second = since(store, 1)
    assert second
    assert (second.came.tolist(), second.went.tolist()) == ([1, 4], [1, 2])  # the terms of 1 were recounted
    assert (second.passages, second.terms) == (0, 1)
    store.delete(["b"])
    third = since(store, 2)
    assert third
    assert (third.came.tolist(), third.went.tolist()) == ([], [3])
    together = since(store, 0)
    assert together
    assert together.came.tolist() == [1, 4]
    assert (together.passages, together.terms) == (2, 4)


def test_only_so_many_changes_are_kept(store: SqliteIndexStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MOST_CHANGES", 3)
    for number in range(5):
        ingest(store, document("a", f"storm{number}"), run=f"r{number}")
    assert since(store, 2)
    assert since(store, 1) is None
    assert since(store, 0) is None
