"""Specifics of indexes in PostgreSQL: the database, lost connections, concurrent writers, and the vector index."""

import json
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from deployments.catalog import load_catalog
from deployments.cli import app
from deployments.runs import Request, run_pipeline
from deployments.settings import load_settings
from flows.errors import FatalError, TransientError
from handlers.records import Embeddings
from handlers.stores import IndexStore, copy_index, open_index
from handlers.stores.postgres import PostgresIndexStore, drop_index, names_in_database
from handlers.tags import TagFilter
from handlers.text import terms
from tests.support.index_stores import chunks_of, count_terms, document, index_url, ingest, stage
from tests.support.paths import DOCUMENTS
from tests.support.ports import free_port


@pytest.fixture
def address(postgres_url: str) -> str:
    return index_url(postgres_url, "zoo")


@pytest.fixture
def connect() -> Iterator[Callable[[str], IndexStore]]:
    """Opens indexes that are closed after the test."""
    opened: list[IndexStore] = []

    def open_one(url: str) -> IndexStore:
        opened.append(open_index(url))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


def admin(url: str) -> sa.Engine:
    return sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)


def test_indexes_of_a_database_do_not_see_each_other(connect: Callable[[str], IndexStore], postgres_url: str) -> None:
    names = ["zoo", "Zoo", "odd.name-1", "n" * 64]
    stores = [connect(index_url(postgres_url, name)) for name in names]
    for place, store in enumerate(stores):
        ingest(store, *(document(f"d{number}", "storm") for number in range(place)))
    assert [store.statistics()["documents"] for store in stores] == [0, 1, 2, 3]
    assert names_in_database(index_url(postgres_url, "x")) == sorted(names)
    with closing(pickle.loads(pickle.dumps(stores[1]))) as copy:
        assert copy.statistics() == stores[1].statistics()
    assert drop_index(index_url(postgres_url, "zoo"))
    assert not drop_index(index_url(postgres_url, "zoo"))
    assert names_in_database(index_url(postgres_url, "x")) == sorted(names[1:])


def test_many_may_open_a_new_index_at_once(connect: Callable[[str], IndexStore], address: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda place: ingest(connect(address), document(f"d{place}", "storm")), range(6)))
    store = connect(address)
    assert store.statistics()["documents"] == 6


def test_what_cannot_be_opened_says_why_without_the_password(
    connect: Callable[[str], IndexStore], address: str, postgres_url: str
) -> None:
    url = sa.make_url(address)
    for broken, error, message in [
        (url.set(database="nowhere"), FatalError, 'database "nowhere" does not exist'),
        (url.set(username="nobody", password="s3cret"), FatalError, 'role "nobody" does not exist'),
        (
            url.set(host="127.0.0.1", port=free_port(), password="s3cret").difference_update_query(["host"]),
            TransientError,
            "refused",
        ),
    ]:
        with pytest.raises(error, match=message) as raised:
            connect(broken.render_as_string(hide_password=False)).statistics()
        assert "s3cret" not in str(raised.value)
    with pytest.raises(FatalError, match=r"names no index; add \?index=NAME") as raised:
        connect("postgresql://u:s3cret@host/db")
    assert "s3cret" not in str(raised.value)
    connect(address).statistics()
    with admin(postgres_url).connect() as connection:
        connection.execute(sa.text("UPDATE braid_zoo.counters SET value = 99 WHERE name = 'schema'"))
    with pytest.raises(FatalError, match="is an index of schema version 99"):
        connect(address).statistics()


def test_a_connection_killed_before_publication_leaves_the_old_version_and_the_next_run_repairs(
    connect: Callable[[str], IndexStore], address: str, postgres_url: str
) -> None:
    store = connect(address)
    ingest(store, document("a", "storm of York"))
    before = store.fingerprint()
    versions = stage(store, [document("a", "violin of Goole")], run="dead")
    kill = sa.text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    assert isinstance(store, PostgresIndexStore)
    with pytest.raises(TransientError, match="could not be reached or was busy"), store._write() as connection:
        connection.execute(sa.text("UPDATE documents SET status = 'failed'"))
        with admin(postgres_url).connect() as other:
            other.execute(kill)
        connection.execute(sa.text("SELECT 1"))
    assert store.fingerprint() == before
    assert [hit.content for hit in store.search_terms({"storm": 1.0, "violin": 1.0})] == ["storm of York"]
    assert store.sweep(alive=["next"], older_than_s=0).versions == 1
    with pytest.raises(FatalError, match="is not stored"):
        store.publish(versions)
    ingest(store, document("a", "violin of Goole"), run="next")
    assert [chunk.text for chunk in store.chunks_of("a")] == ["violin of Goole"]


def test_writers_of_different_documents_do_not_wait_for_each_other(
    connect: Callable[[str], IndexStore], address: str
) -> None:
    store, other = connect(address), connect(address)
    ingest(store, document("a", "Ada Byron"), document("b", "Ada Byron"))
    assert isinstance(store, PostgresIndexStore)
    held, written = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        with store._write() as connection:
            connection.execute(sa.text("SELECT key FROM documents WHERE id = 'a' FOR NO KEY UPDATE"))
            ingest(other, document("b", "Ada Lovelace"), run="r2")  # does not wait, though they share an entity
            waiting = pool.submit(
                lambda: (held.set(), ingest(other, document("a", "Ada Lovelace"), run="r3"), written.set())
            )
            assert held.wait(60)
            assert not written.wait(0.2)
        waiting.result(60)
    assert {chunk.text for name in "ab" for chunk in other.chunks_of(name)} == {"Ada Lovelace"}
    assert other.find_entities(["Byron"]) == {}


def test_entities_survive_writers_that_remove_and_add_them_at_once(
    connect: Callable[[str], IndexStore], address: str
) -> None:
    store = connect(address)

    def rewrite(name: str) -> None:
        for place in range(8):
            text = "Ada Byron Selby" if place % 2 else f"Ada Goole {name.title()}"
            ingest(store, document(name, text), run=f"r{place}")

    names = [f"n{place}" for place in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(rewrite, names))
    assert store.find_entities(["Ada", "Byron", "Selby", "Goole"]) == {"Ada": "Ada", "Byron": "Byron", "Selby": "Selby"}
    assert len(store.mentions(["Ada"])) == len(store.mentions(["Selby"])) == 6
    store.sweep(older_than_s=0)
    assert isinstance(store, PostgresIndexStore)
    with store._read() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM entities")).scalar_one() == 3


def test_the_vector_index_answers_as_an_exact_scan_and_no_filter_starves(address: str) -> None:
    rng = np.random.default_rng(7)
    documents = [
        document(
            f"d{place:03}",
            "\n".join(f"{place} {line}" for line in range(5)),
            tags=[("half", str(place % 2)), *([("rare", "x")] if place % 60 == 0 else [])],
        )
        for place in range(120)
    ]
    chunks = [chunk for made in documents for chunk in chunks_of(made)]
    rows = rng.normal(size=(len(chunks), 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    exact, indexed = PostgresIndexStore(address), PostgresIndexStore(address, hnsw_from=100)
    versions = exact.put_documents(documents, chunks)
    exact.put_vectors(chunks, Embeddings(tuple(chunk.id for chunk in chunks), rows, "it's 100%"))
    exact.publish(versions)
    where = TagFilter.of({"rare": "x"})
    filters = (None, where, TagFilter.of({"half": "1"}))
    queries = rows[:5] + np.float32(0.01)
    before = [[exact.search_vectors(query, top_k=10, where=each) for each in filters] for query in queries]
    indexed.publish(versions)
    with indexed._read() as connection:
        assert (
            connection.execute(sa.text("SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%hnsw%'")).scalar_one()
            == 1
        )
    for query, answers in zip(queries, before, strict=True):
        for each, expected in zip(filters, answers, strict=True):
            found = indexed.search_vectors(query, top_k=10, where=each)
            assert [hit.id for hit in found] == [hit.id for hit in expected]
            assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], abs=1e-6)
        assert len(indexed.search_vectors(query, top_k=50, where=where)) == 10  # all there are
    exact.close()
    indexed.close()


def test_answers_are_those_of_sqlite_on_real_documents(
    connect: Callable[[str], IndexStore], address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRAID_HOME", str(tmp_path))
    monkeypatch.setenv("BRAID_EMBEDDING_MODEL", "hashing")
    settings = load_settings()
    catalog = load_catalog(settings)
    parameters = {"source": str(DOCUMENTS / "time")}
    request = Request(catalog.find("ingest"), parameters, index="real", engine="inline", recorded=False)
    run_pipeline(request, settings=settings, catalog=catalog)
    ours, theirs = connect(settings.index_location("real")), connect(address)
    assert copy_index(ours, theirs).matches
    assert ours.statistics()["chunks"] > 50
    stored = ours.read_documents([state.id for state in ours.document_states()])
    vectors = [vector for each in stored for _, vector in each.vectors.values()]
    for question in (
        "How do leap seconds work?",
        "time zones of Europe",
        "calendar",
        "Internet Engineering Task Force",
    ):
        counts = dict.fromkeys(terms(question), 1.0)
        one, other = ours.search_terms(counts), theirs.search_terms(counts)
        assert [(hit.id, hit.start, hit.heading) for hit in one] == [(hit.id, hit.start, hit.heading) for hit in other]
        assert [hit.score for hit in one] == pytest.approx([hit.score for hit in other], rel=1e-12)
    for vector in vectors[:: len(vectors) // 5]:
        scores = [{hit.id: hit.score for hit in store.search_vectors(vector, top_k=20)} for store in (ours, theirs)]
        assert sorted(scores[0].values()) == pytest.approx(sorted(scores[1].values()), abs=1e-6)
        apart = scores[0].keys() ^ scores[1].keys()  # only where the last place is tied
        assert all(abs((scores[0] | scores[1])[each] - min(scores[0].values())) < 1e-6 for each in apart)
    names = [name for each in stored for name in {found.name for found in each.entities}][:200]
    assert ours.neighbours(names) == theirs.neighbours(names)
    assert ours.mentions(names) == theirs.mentions(names)


def test_the_commands_work_on_a_database(
    connect: Callable[[str], IndexStore],
    address: str,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("BRAID_HOME", str(tmp_path))
    monkeypatch.setenv("BRAID_INDEX_URL", postgres_url)
    store = connect(address)
    made = document("a", "storm at York")
    store.publish(store.put_documents([made], chunks_of(made)))
    store.put_terms(chunks_of(made), count_terms(chunks_of(made)))

    def braid(*arguments: str) -> dict[str, object]:
        ended = CliRunner().invoke(app, [*arguments, "--json"], prog_name="braid")
        assert ended.exit_code == 0, ended.output
        return json.loads(ended.stdout)

    assert braid("index", "copy", "zoo", "copy")["matches"] is True
    listed = braid("index", "list")["indexes"]
    assert isinstance(listed, list)
    assert [(each["index"], each["chunks"]) for each in listed] == [("copy", 1), ("zoo", 1)]
    assert braid("index", "delete", "zoo", "--yes")["deleted"] == "zoo"
    assert names_in_database(address) == ["copy"]
    refused = CliRunner().invoke(app, ["search", "x", "--index", "cop"], prog_name="braid")
    assert refused.exit_code == 2
    assert "did you mean" in refused.stderr
