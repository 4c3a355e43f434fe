"""A read-only query is one reading statement, whatever its text; its session ends with it; its rows are bounded."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flows.state import Services
from tests.support.data import StepFailed, data_services, run_steps, step_output


def ask(url: str, folder: Path, query: str, **options: Any) -> Any:
    return step_output("query", {"source": "shop", "query": query, **options}, services=serve(url, folder))


def serve(url: str, folder: Path) -> Services:
    return data_services(folder, connections={"shop": url})


def sessions(url: str, folder: Path, *queries: str, **options: Any) -> list[Any]:
    """The rows of queries that run one after another with the same services, as in one run."""
    steps = [
        {"handler": "query", "options": {"source": "shop", "query": query, "output": f"rows_{number}", **options}}
        for number, query in enumerate(queries)
    ]
    result, context = run_steps(steps, services=serve(url, folder))
    assert result.status == "succeeded", result.outcomes
    return [context.data[f"rows_{number}"] for number in range(len(queries))]


def tables(url: str) -> list[str]:
    engine = sa.create_engine(url)
    try:
        return sa.inspect(engine).get_table_names()
    finally:
        engine.dispose()


@pytest.fixture(params=["postgresql", "sqlite", "duckdb", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "sqlite":
            found = f"sqlite:///{tmp_path / 'shop.db'}"
        case "duckdb":
            found = f"duckdb:///{tmp_path / 'shop.duckdb'}"
        case "postgresql":
            found = request.getfixturevalue("postgres_url")
        case _:
            found = request.getfixturevalue("mariadb_url")
    engine = sa.create_engine(found)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE IF EXISTS sales"))
        connection.execute(sa.text("CREATE TABLE sales (id INTEGER, name VARCHAR(20))"))
        connection.execute(sa.text("INSERT INTO sales VALUES (1, 'a;b'), (2, 'c')"))
    engine.dispose()
    return found


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1 AS n; COMMIT; CREATE TABLE taken (a INTEGER)",
        "SELECT 1 AS n; CREATE TABLE taken (a INTEGER)",
        "COMMIT; CREATE TABLE taken (a INTEGER)",
        "CREATE TABLE taken AS SELECT 1 AS n",
        "SELECT id INTO taken FROM sales",
        "INSERT INTO sales VALUES (3, 'd')",
        "DELETE FROM sales",
        "COMMIT",
        "CREATE TEMPORARY TABLE taken (a INTEGER)",
    ],
)
def test_one_statement_that_reads_and_nothing_else(url: str, query: str, tmp_path: Path) -> None:
    with pytest.raises(StepFailed):
        ask(url, tmp_path, query)
    assert tables(url) == ["sales"]
    assert ask(url, tmp_path, "SELECT count(*) AS n FROM sales;") == [{"n": 2}]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT name FROM sales WHERE name = 'a;b'",
        "SELECT name FROM sales WHERE id = 1 -- ; DROP TABLE sales",
        "WITH one AS (SELECT * FROM sales WHERE id = 1) SELECT name FROM one /* ; */ ;",
        "(SELECT name FROM sales WHERE id = 1) UNION (SELECT name FROM sales WHERE id = 1)",
    ],
)
def test_semicolons_that_part_nothing_are_left_alone(url: str, query: str, tmp_path: Path) -> None:
    if url.startswith("sqlite"):  # which has no SELECT within parentheses
        query = query.replace("(SELECT name FROM sales WHERE id = 1)", "SELECT name FROM sales WHERE id = 1")
    assert ask(url, tmp_path, query) == [{"name": "a;b"}]


def test_rows_are_counted_while_they_arrive(url: str, tmp_path: Path) -> None:
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) SELECT i FROM n"
    with pytest.raises(StepFailed, match="more than max_rows 10 rows"):
        ask(url, tmp_path, numbers.replace("1000000", "900"), max_rows=10)
    wide = "SELECT a.id, repeat('x', 1000000) AS wide FROM sales a, sales b, sales c"
    if url.startswith("sqlite"):
        wide = wide.replace("repeat('x', 1000000)", "hex(zeroblob(500000))")
    with pytest.raises(StepFailed, match="more than max_bytes 3000000"):
        ask(url, tmp_path, wide, max_bytes=3_000_000)


def test_a_query_that_may_write_is_still_one_statement(url: str, tmp_path: Path) -> None:
    with pytest.raises(StepFailed):
        ask(url, tmp_path, "DELETE FROM sales; CREATE TABLE taken (a INTEGER)", read_only=False)
    assert ask(url, tmp_path, "SELECT count(*) AS n FROM sales") == [{"n": 2}]
    assert tables(url) == ["sales"]
    ask(url, tmp_path, "UPDATE sales SET name = 'e' WHERE id = 2", read_only=False)
    assert ask(url, tmp_path, "SELECT name FROM sales WHERE id = 2") == [{"name": "e"}]


def test_what_one_step_leaves_in_its_session_the_next_does_not_meet(url: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="kept"):
        sessions(url, tmp_path, "CREATE TEMPORARY TABLE kept (a INTEGER)", "SELECT * FROM kept", read_only=False)


@pytest.mark.parametrize(
    "query",
    [
        "COPY sales TO PROGRAM 'touch {mark}'",
        "COPY (SELECT 1) TO '{mark}'",
        "SELECT 1 AS n; COPY sales TO PROGRAM 'touch {mark}'",
        "SET ROLE other",
        "SET SESSION AUTHORIZATION other",
        "RESET ALL",
        "SET TRANSACTION READ WRITE",
        "BEGIN",
        "LISTEN x",
        "LOCK TABLE sales",
        "PREPARE p AS SELECT 1",
        "DO $$ BEGIN PERFORM 1; END $$",
        "CALL nothing()",
        "WITH gone AS (DELETE FROM sales RETURNING id) SELECT * FROM gone",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_catalog.pg_try_advisory_xact_lock /* */ (1)",
        'SELECT "pg_advisory_lock"(1)',
        "SELECT set_config('role', 'other', false)",
        'SELECT U&"pg\\005fadvisory\\005flock"(1)',
        "SELECT pg_read_file('/etc/hostname')",
        "SELECT lo_export(1, '{mark}')",
        "SELECT pg_terminate_backend(1)",
        "SELECT query_to_xml('SELECT pg_' || 'advisory_lock(1)', true, true, '')",
    ],
)
def test_postgresql_is_held_to_reading(query: str, postgres_url: str, tmp_path: Path) -> None:
    engine = sa.create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE sales (id INTEGER)"))
    engine.dispose()
    mark = tmp_path / "mark"
    with pytest.raises(StepFailed, match="read|one statement"):
        ask(postgres_url, tmp_path, query.replace("{mark}", str(mark)))
    assert not mark.exists()


def test_sessions_of_postgresql_are_reset_between_steps(postgres_url: str, tmp_path: Path) -> None:
    engine = sa.create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP ROLE IF EXISTS somebody"))
        connection.execute(sa.text("CREATE ROLE somebody"))
    who = "SELECT current_user::text AS me"
    (me, _, still, _, locks, _, path) = sessions(
        postgres_url,
        tmp_path,
        who,
        "SET ROLE somebody",
        who,
        "SELECT pg_advisory_lock(7)",
        "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory'",
        "SET search_path TO nowhere",
        "SHOW search_path",
        read_only=False,
    )
    assert me == still
    assert locks == [{"n": 0}]
    assert path != [{"search_path": "nowhere"}]
    with engine.begin() as connection:
        connection.execute(sa.text("DROP ROLE somebody"))
    engine.dispose()


@pytest.mark.parametrize(
    "query",
    [
        "SELECT id FROM sales INTO OUTFILE '{mark}'",
        "SELECT id FROM sales LIMIT 1 INTO @x",
        "SELECT id INTO DUMPFILE '{mark}' FROM sales",
        "SELECT /*! 1 INTO OUTFILE '{mark}' */",
        "SELECT 1 /*M! ; DELETE FROM sales */",
        "SELECT LOAD_FILE('/etc/hostname') AS t",
        "SELECT GET_LOCK('x', 1) AS n",
        "SELECT @x := 1 AS n",
        "SELECT id FROM sales FOR UPDATE",
        "SET SESSION TRANSACTION READ WRITE",
        "LOCK TABLES sales READ",
        "HANDLER sales OPEN",
    ],
)
def test_mysql_is_held_to_reading(query: str, mariadb_url: str, tmp_path: Path) -> None:
    engine = sa.create_engine(mariadb_url)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE IF EXISTS sales"))
        connection.execute(sa.text("CREATE TABLE sales (id INTEGER)"))
        connection.execute(sa.text("INSERT INTO sales VALUES (1)"))
    engine.dispose()
    mark = tmp_path / "mark"
    tmp_path.chmod(0o777)
    with pytest.raises(StepFailed, match="read|one statement"):
        ask(mariadb_url, tmp_path, query.replace("{mark}", str(mark)))
    assert not mark.exists()
    assert ask(mariadb_url, tmp_path, "SELECT count(*) AS n FROM sales") == [{"n": 1}]


def test_mysql_stops_a_slow_query(mariadb_url: str, tmp_path: Path) -> None:
    endless = "SELECT count(*) AS n FROM seq_1_to_100000 a, seq_1_to_100000 b, seq_1_to_100000 c"
    with pytest.raises(StepFailed, match=r"took longer than 0.3 s and was stopped"):
        ask(mariadb_url, tmp_path, endless, timeout_s=0.3)
    (row,) = ask(
        mariadb_url, tmp_path, "SELECT count(*) AS n FROM information_schema.processlist WHERE info LIKE '%seq_1%c'"
    )
    assert row == {"n": 0}


def test_a_backend_that_cannot_be_held_to_reading_is_refused(tmp_path: Path) -> None:
    for url in ("mssql+pyodbc://me:hunter22@host/db", "oracle://host/db", "postgresql+pg8000://host/db"):
        with pytest.raises(StepFailed, match="cannot be restricted to reading.*read_only: false") as caught:
            ask(url, tmp_path, "SELECT 1 AS n")
        assert "hunter22" not in str(caught.value)
