"""Indexes that earlier schema versions made are upgraded when they are opened, with nothing lost, or refused.

`older_indexes` has the tables as the commits with these versions made them.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flows.errors import FatalError
from handlers.stores import FailedDocument, IndexStore, open_index
from handlers.stores.sql.schema import SCHEMA_VERSION
from tests.support.index_stores import document, index_url, ingest, stage, vector
from tests.support.older_indexes import OLDER, TABLES, copy_as_older_file

OLDER_VERSIONS = (2, 3, 4, 5, 6, 7, 8)
DOCUMENTS = [
    document("a", "Ada Byron\nstorm river\nbridge", tags=[("team", "x")]),
    document("b", "Charles Babbage met Ada Byron\nriver train"),
    document("c", "orchard"),
]

COLUMNS = sa.text(
    'SELECT table_name AS "table", column_name AS name, data_type, collation_name, is_nullable '
    "FROM information_schema.columns WHERE table_schema = :schema ORDER BY table_name, ordinal_position"
)
CONSTRAINTS = sa.text(
    "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
    "WHERE connamespace = CAST(:schema AS regnamespace) ORDER BY conname"
)
INDEXES = sa.text(
    "SELECT replace(indexdef, schemaname || '.', '') FROM pg_indexes WHERE schemaname = :schema ORDER BY indexname"
)


def fill(store: IndexStore) -> None:
    ingest(store, *DOCUMENTS)
    store.put_failures([FailedDocument("d", "d.txt", "u", "broken")])
    stage(store, [document("c", "violin orchard")], run="left behind")


def answers(store: IndexStore) -> dict[str, Any]:
    return {
        "fingerprint": store.fingerprint(),
        "statistics": store.statistics(),
        "vectors": store.search_vectors(vector("river storm")),
        "terms": store.search_terms({"river": 1.0, "Ada": 2.0, "orchard": 1.0}),
        "facts": (store.neighbours(["Ada", "Babbage"]), store.mentions(["Byron"])),
        "states": store.document_states(),
        "tags": store.tags_of(["a", "b"]),
        "sources": store.sources(),
    }


def go_on(store: IndexStore) -> None:
    """Every writing operation, on an index that was upgraded."""
    ingest(store, document("b", "bridge\nriver train"), document("e", "Ada Lovelace storm"), run="r2")
    store.delete(["a"])
    store.put_failures([FailedDocument("d", "d.txt", "u", "broken", tried="v2")])


def make_older_postgres(url: str, version: int) -> str:
    """The URL of an index of an older schema version, with the content that `fill` writes into a current index."""
    new = open_index(index_url(url, "new"))
    fill(new)
    new.close()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA braid_old; COMMENT ON SCHEMA braid_old IS 'Braid index old'")
        connection.exec_driver_sql("SET LOCAL search_path TO braid_old, public")
        connection.exec_driver_sql((OLDER / f"postgresql-{version}.sql").read_text())
        for table in TABLES:
            names = [
                row.name for row in connection.execute(COLUMNS, {"schema": "braid_old"}) if row.table == table.name
            ]
            columns = ", ".join(f'"{name}"' for name in names)
            connection.exec_driver_sql(
                f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM braid_new.{table.name}"
            )
            if names[0] == "key":
                connection.exec_driver_sql(
                    f"SELECT setval('{table.name}_key_seq', (SELECT coalesce(max(key), 1) FROM {table.name}))"
                )
        connection.exec_driver_sql(f"UPDATE counters SET value = {version} WHERE name = 'schema'")
    engine.dispose()
    return index_url(url, "old")


def make_older_file(folder: Path, version: int) -> str:
    new = open_index(str(folder / "new.db"))
    fill(new)
    new.close()
    copy_as_older_file(folder / "new.db", folder / "old.db", version)
    return str(folder / "old.db")


@pytest.fixture(params=["sqlite", "postgres"])
def make_older(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[int], str]:
    if request.param == "sqlite":
        return lambda version: make_older_file(tmp_path, version)
    url = request.getfixturevalue("postgres_url")
    return lambda version: make_older_postgres(url, version)


@pytest.mark.parametrize("version", OLDER_VERSIONS)
def test_an_older_index_is_upgraded_with_nothing_lost(make_older: Callable[[int], str], version: int) -> None:
    older = make_older(version)
    new, upgraded = open_index("new".join(older.rsplit("old", 1))), open_index(older)
    assert answers(upgraded) == answers(new)
    go_on(new)
    go_on(upgraded)
    assert answers(upgraded) == answers(new)
    upgraded.close()
    again = open_index(older)  # there is nothing left to upgrade
    assert answers(again) == answers(new)
    for store in (again, new):
        store.close()


def test_upgraded_tables_are_those_of_a_new_index(postgres_url: str) -> None:
    older = make_older_postgres(postgres_url, OLDER_VERSIONS[0])
    store = open_index(older)
    store.statistics()
    store.close()
    engine = sa.create_engine(postgres_url)
    with engine.connect() as connection:
        for query in (COLUMNS, CONSTRAINTS, INDEXES):
            shapes: list[Any] = []
            for schema in ("braid_old", "braid_new"):
                connection.exec_driver_sql(f"SET search_path TO {schema}, public")
                shapes.append(connection.execute(query, {"schema": schema}).all())
            assert shapes[0] == shapes[1] != []
    engine.dispose()


@pytest.mark.parametrize(
    ("version", "cure"),
    [(1, "give another name, or delete .* and ingest again"), (99, "use the newer Braid that made it")],
)
def test_an_index_that_cannot_be_upgraded_is_refused_untouched(
    make_older: Callable[[int], str], version: int, cure: str
) -> None:
    older = make_older(OLDER_VERSIONS[0])
    _mark(older, version)
    for _ in range(2):
        with pytest.raises(
            FatalError, match=f"old.* schema version {version}; .* schema version {SCHEMA_VERSION}: {cure}"
        ):
            open_index(older).statistics()
    _mark(older, OLDER_VERSIONS[0])
    store = open_index(older)
    assert store.statistics()["documents"] == len(DOCUMENTS)
    store.close()


def _mark(older: str, version: int) -> None:
    """Set the schema version that an index reports."""
    if "://" not in older:
        with sqlite3.connect(older) as connection:
            connection.execute(f"PRAGMA user_version = {version}")
        connection.close()
        return
    engine = sa.create_engine(older.partition("?index")[0] if "?index" in older else older.partition("&index")[0])
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE braid_old.counters SET value = {version} WHERE name = 'schema'")
    engine.dispose()


def test_what_schema_version_2_wrote_over_while_it_was_visible_is_made_again(tmp_path: Path) -> None:
    older = make_older_file(tmp_path, 3)
    with sqlite3.connect(older) as connection:
        connection.execute("UPDATE versions SET fingerprint = '~text=1'")
    connection.close()
    store = open_index(older)
    assert {state.fingerprint for state in store.document_states()} == {""}
    store.close()


def test_an_older_index_gets_another_version_beside_its_only_one(make_older: Callable[[int], str]) -> None:
    store = open_index(make_older(OLDER_VERSIONS[-1]))
    before = store.fingerprint()
    assert store.begin_version("another") == "2"
    store.switch_version("2")
    store.switch_version("1")
    store.remove_version("2")
    assert store.fingerprint() == before
    store.close()
