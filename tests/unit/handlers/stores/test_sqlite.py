"""Specifics of the SQLite index: files, schema versions, other processes, and query plans."""

import multiprocessing
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, event

from flows.errors import FatalError, TransientError
from handlers.records import Chunk, Document, Embeddings, SparseVector, stable_id
from handlers.stores import Restatement, TermQuery, VectorQuery, Words
from handlers.stores.sqlite import SqliteIndexStore
from handlers.tags import TagFilter


def ingest(path: str, first: int, count: int) -> None:
    store = SqliteIndexStore(path)
    for place in range(first, first + count):
        made = Document(f"d{place}", f"d{place}", "", "", "text/plain", "storm", stable_id(str(place)))
        chunk = Chunk(stable_id(made.id), made.id, 0, "storm", 0, 5)
        versions = store.put_documents([made], [chunk], run_id="r")
        store.put_vectors([chunk], Embeddings((chunk.id,), np.eye(4, dtype=np.float32)[:1], "m"), run_id="r")
        store.put_terms([chunk], [SparseVector(chunk.id, (("storm", 1),), 1)], run_id="r")
        store.publish(versions, expect=("vectors", "terms"))
    store.close()


@pytest.mark.slow
def test_processes_write_at_once_and_see_each_other(tmp_path: Path) -> None:
    path = str(tmp_path / "new" / "index.db")
    reader = SqliteIndexStore(path)
    assert reader.search_terms({"storm": 1.0}) == []
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=ingest, args=(path, 20 * place, 20)) for place in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert len(reader.search_terms({"storm": 1.0})) == 40
    assert len(reader.search_vectors(np.eye(4, dtype=np.float32)[0])) == 40
    reader.close()


def test_what_is_stored_survives_reopening(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    ingest(str(path), 0, 1)
    store = SqliteIndexStore(path)
    assert [hit.document_id for hit in store.search_vectors(np.eye(4, dtype=np.float32)[0])] == ["d0"]
    store.close()
    assert len(store.documents()) == 1  # opens again by itself
    store.close()


def test_a_replaced_vector_is_seen_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "index.db")
    ingest(path, 0, 3)
    store = SqliteIndexStore(path)
    query = np.eye(4, dtype=np.float32)[1]
    assert {hit.score for hit in store.search_vectors(query)} == {0.0}
    chunk = Chunk(stable_id("d1"), "d1", 0, "storm", 0, 5)
    other = SqliteIndexStore(path)
    other.put_vectors([chunk], Embeddings((chunk.id,), np.eye(4, dtype=np.float32)[1:2], "m"))
    assert {hit.score for hit in store.search_vectors(query)} == {0.0}
    other.restate([Restatement("d1", run_id="")])
    assert next((hit.document_id, hit.score) for hit in store.search_vectors(query)) == ("d1", 1.0)
    other.delete(["d1"])
    assert [hit.document_id for hit in store.search_vectors(query)] == sorted(
        ["d0", "d2"], key=lambda name: stable_id(name)
    )
    other.close()
    store.close()


def test_other_files_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database, but long enough to be read as the header of one" * 20)
    with pytest.raises(FatalError, match="cannot be opened as an index"):
        SqliteIndexStore(text).statistics()
    foreign = tmp_path / "foreign.db"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(FatalError, match="is another database"):
        SqliteIndexStore(foreign).statistics()
    connection = sqlite3.connect(foreign)
    assert [name for (name,) in connection.execute("SELECT name FROM sqlite_schema")] == ["theirs"]
    connection.close()


def test_a_file_that_stays_locked_is_a_transient_failure(tmp_path: Path) -> None:
    path = str(tmp_path / "index.db")
    ingest(path, 0, 1)
    store = SqliteIndexStore(path, busy_timeout_s=0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(TransientError, match="another process writes"):
        store.delete(["d0"])
    assert store.statistics()["documents"] == 1
    other.execute("COMMIT")
    other.close()
    assert store.delete(["d0"]) == 1
    store.close()


def test_only_what_reads_everything_goes_through_all_visible_passages(tmp_path: Path) -> None:
    """SQLite assumes that `visible = 1` is rare, and prefers reading all visible passages to looking some up by id."""
    path = tmp_path / "index.db"
    ingest(str(path), 0, 3)
    store = SqliteIndexStore(path)
    statements: dict[str, object] = {}

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
            statements[statement] = parameters

    event.listen(Engine, "before_cursor_execute", note)
    try:
        ids = [hit.id for hit in store.search_terms({"storm": 1.0})]
        query = np.eye(4, dtype=np.float32)[0]
        where, words = TagFilter.of({"team": ["law"]}), Words(every=("storm",), none=("river",))
        for permitted in (None, where):
            store.search_terms({"storm": 1.0}, where=permitted, words=words, with_text=False)
            store.search_vectors(query, where=permitted)
            store.scores(ids, VectorQuery(query), where=permitted)
            store.scores(ids, TermQuery({"storm": 1.0}), where=permitted)
            store.having(ids, ["storm"], where=permitted)
            store.occurring(["storm"], where=permitted)
            store.hits(dict.fromkeys(ids, 1.0), found_by="", where=permitted)
            store.mentions(["storm"], where=permitted)
            store.neighbours(["storm"], where=permitted)
        store.chunk_states(ids)
        ingest(str(path), 3, 2)
        store.restate([Restatement("d1", run_id="again")])
        store.delete(["d2"])
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    store.close()
    with sqlite3.connect(path) as connection:
        reading_all = {
            statement
            for statement, parameters in statements.items()
            for (*_, step) in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters or ())  # pyright: ignore[reportArgumentType]
            if "passages_visible (visible=?)" in step or step in ("SCAN passages", "SCAN postings", "SCAN vectors")
        }
    meant = ("group_concat", "visible = 0")  # the snapshot reads all; hidden passages are rare
    assert "\n".join(each for each in reading_all if not any(mark in each for mark in meant)) == ""
