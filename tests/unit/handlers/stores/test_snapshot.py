"""A question is answered from the state of its own transaction, even if other processes have loaded newer data."""

from pathlib import Path

from handlers.stores.ranking import TermQuery, VectorQuery
from handlers.stores.sql import Limits
from handlers.stores.sqlite import SqliteIndexStore
from tests.support.index_stores import document, ingest, vector

TERMS = TermQuery({"storm": 1.0, "river": 1.0})


def answers(store: SqliteIndexStore, connection: object) -> list[dict[int, float]]:
    kept = store._snapshots[1]  # pyright: ignore[reportPrivateUsage]
    question = VectorQuery(vector("storm river"))
    return [
        kept.nearest(connection, question, 10, Limits()),  # pyright: ignore[reportArgumentType]
        kept.matching(connection, TERMS, 10, Limits()),  # pyright: ignore[reportArgumentType]
    ]


def test_an_older_transaction_still_sees_its_own_state(tmp_path: Path) -> None:
    store = SqliteIndexStore(tmp_path / "index.db")
    ingest(store, document("a", "storm river\nbridge"), document("b", "river"))
    with store._read() as older:  # pyright: ignore[reportPrivateUsage]
        before = answers(store, older)
        ingest(store, document("a", "river river\nstorm"), document("c", "storm"), run="r2")
        store.delete(["b"])
        with store._read() as newer:  # pyright: ignore[reportPrivateUsage]
            after = answers(store, newer)
        assert after != before
        assert answers(store, older) == before
    store.close()


def test_a_transaction_from_before_the_first_question_sees_its_own_state(tmp_path: Path) -> None:
    store = SqliteIndexStore(tmp_path / "index.db")
    ingest(store, document("a", "storm river\nbridge"), document("b", "river"))
    with store._read() as older:  # pyright: ignore[reportPrivateUsage]
        older.exec_driver_sql("SELECT count(*) FROM documents")  # from now on, it sees one state
        store.delete(["b"])
        assert len(store.search_terms(TERMS.weights)) == 1
        assert [len(found) for found in answers(store, older)] == [3, 2]
    assert len(store.search_vectors(vector("storm"))) == 2
    store.close()
