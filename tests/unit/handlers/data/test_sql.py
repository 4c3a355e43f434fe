"""SQL queries: values are bound wherever they come from, names are refused, nothing is written, nothing is cut short."""

import datetime as dt
import decimal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.author import Call
from flows.errors import InvalidPipeline
from flows.state import Services
from handlers.data import Connections
from handlers.data.binding import BadQuery
from handlers.data.references import Reference
from handlers.data.sql import check_sql, fetch
from handlers.data.sql_rows import Bounds
from tests.support.data import StepFailed, data_services, run_steps, step_output
from tests.support.profiles import scaled


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "sales data.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(
            """
            CREATE TABLE sales (id INTEGER, region TEXT, amount REAL, day TEXT);
            INSERT INTO sales VALUES (1, 'north', 10.5, '2026-01-01'), (2, 'south', 20.0, '2026-02-01'),
                                     (3, 'it''s', 30.0, '2026-03-01');
            """
        )
    connection.close()
    return path


@pytest.fixture
def services(database: Path, tmp_path: Path) -> Services:
    return data_services(tmp_path, connections={"shop": f"sqlite:///{database}"})


def ask(sql: str, services: Services, fields: Any = None, **options: Any) -> Any:
    return step_output("query", {"source": "shop", "query": sql, **options}, fields, services=services)


@pytest.mark.parametrize(
    ("sql", "fields", "ids"),
    [
        ("SELECT id FROM sales WHERE day >= {start}", {"start": "2026-02-01"}, [2, 3]),
        ("SELECT id FROM sales WHERE day >= {period.start}", {"period": {"start": "2026-03-01"}}, [3]),
        ("SELECT id FROM sales WHERE day >= {start}", {"start": dt.date(2026, 3, 1)}, [3]),
        ("SELECT id FROM sales WHERE day > {start}", {"start": dt.datetime(2026, 2, 1, 12)}, [3]),
        ("SELECT id FROM sales WHERE day IN {days}", {"days": [dt.date(2026, 1, 1), dt.date(2026, 3, 1)]}, [1, 3]),
        ("SELECT id FROM sales WHERE {at} = '2026-02-01 12:30:00'", {"at": dt.datetime(2026, 2, 1, 12, 30)}, [1, 2, 3]),
        ("SELECT id FROM sales WHERE id IN {ids} ORDER BY id", {"ids": [1, 3]}, [1, 3]),
        ("SELECT id FROM sales WHERE (id in ({ids}))", {"ids": [2]}, [2]),
        ("SELECT id FROM sales WHERE (id IN {ids}) AND id > 1", {"ids": [1, 2]}, [2]),
        ("SELECT id FROM sales WHERE id IN ({a}, {b})", {"a": 1, "b": 2}, [1, 2]),
        ("SELECT id FROM sales WHERE id IN {ids}", {"ids": []}, []),
        ("SELECT id FROM sales WHERE region LIKE '%' || {part}", {"part": "th"}, [1, 2]),
        ("SELECT id FROM sales WHERE region = {r} OR region = {r}", {"r": "it's"}, [3]),
        ("SELECT id FROM sales -- {not} a placeholder\nWHERE id = {n}", {"n": 1}, [1]),
        ("SELECT id FROM sales WHERE '12:30' = {t} AND id = 1", {"t": "12:30"}, [1]),
        ("SELECT id FROM sales LIMIT {n}", {"n": 1}, [1]),
        ("SELECT id FROM sales WHERE amount IS DISTINCT FROM {x}", {"x": 10.5}, [2, 3]),
    ],
)
def test_placeholders_are_bound(sql: str, fields: Any, ids: list[int], services: Services) -> None:
    if "not" in sql:
        fields = {**fields, "not": 0}
    assert [row["id"] for row in ask(sql, services, fields)] == ids


ATTACKS = [
    "' OR '1'='1",
    "'; DROP TABLE sales; --",
    "1 OR 1=1",
    "\\' OR 1=1 --",
    "x' UNION SELECT sql FROM sqlite_master --",
    ":p0",
    "{start}",
    "%s",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_value_never_becomes_part_of_the_statement(attack: str, services: Services, database: Path) -> None:
    assert ask("SELECT id FROM sales WHERE region = {region}", services, {"region": attack}) == []
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM sales").fetchone() == (3,)
    connection.close()


@pytest.fixture(scope="module")
def empty_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    path = tmp_path_factory.mktemp("sql") / "empty.db"
    sqlite3.connect(path).close()
    connections = Connections({})
    yield connections.engine(f"sqlite:///{path}", read_only=True)
    connections.close()


@settings(max_examples=scaled(40))
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.integers(-(2**63), 2**63 - 1))
def test_any_value_comes_back_as_it_went_in(empty_engine: Any, text: str, number: int) -> None:
    sql = "SELECT {text} AS text, ':x' AS literal, {number} AS number /* {text} */"
    (row,) = fetch(
        empty_engine, sql, {"text": text, "number": number}.__getitem__, Call(), bounds=Bounds(1, 10_000_000, 30)
    )
    assert row == {"text": text, "literal": ":x", "number": number}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM {table}",
        "SELECT * FROM a JOIN {table} ON 1",
        "SELECT a.{column} FROM a",
        "SELECT {schema}.a FROM a",
        "SELECT a FROM b ORDER BY {column}",
        "SELECT a FROM b GROUP BY {column}",
        "SELECT {function}(a) FROM b",
        'SELECT "{column}" FROM a',
        "SELECT `{column}` FROM a",
        "UPDATE {table} SET a = 1",
        "INSERT INTO {table} VALUES (1)",
    ],
)
def test_names_cannot_be_placeholders(sql: str) -> None:
    with pytest.raises(BadQuery, match="is used as the name of a table or column; parameters can only be values"):
        check_sql(sql)


def test_a_placeholder_within_quotes_is_refused_with_the_cure() -> None:
    with pytest.raises(BadQuery, match=r"\{start\} is inside quotes: '\{start\}'; write \{start\} alone"):
        check_sql("SELECT * FROM sales WHERE day >= '{start}'")


def refusal(options: dict[str, Any], services: Services, given: Any = ()) -> str:
    with pytest.raises(InvalidPipeline) as caught:
        run_steps(
            [{"handler": "query", "options": {"output": "out", **options}}], dict.fromkeys(given, 1), services=services
        )
    return str(caught.value)


def test_queries_are_refused_when_they_are_planned(services: Services) -> None:
    assert "write {name} instead of {{ name }}" in refusal(
        {"source": "shop", "query": "SELECT {{ x }}"}, services, ["x"]
    )
    assert "is used as the name" in refusal({"source": "shop", "query": "SELECT * FROM {t}"}, services, ["t"])
    assert "query reads 'start', which no earlier step writes" in refusal(
        {"source": "shop", "query": "SELECT {start}"}, services
    )
    assert "needs the option 'query'" in refusal({"source": "shop"}, services)
    assert "query needs the option 'source'" in refusal({"query": "SELECT 1"}, services)


@pytest.mark.parametrize("value", [{"$gt": ""}, [[1]], object])
def test_only_plain_values_are_bound(value: Any, services: Services) -> None:
    with pytest.raises((StepFailed, Exception), match="cannot take as a parameter|cannot hold"):
        ask("SELECT {x} AS x", services, {"x": value})


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM sales",
        "INSERT INTO sales VALUES (9, '', 0, '')",
        "DROP TABLE sales",
        "ATTACH '/tmp/other.db' AS o",
        "PRAGMA query_only = OFF",
        "CREATE TABLE t (a)",
        "SELECT load_extension('x')",
        "VACUUM INTO '/tmp/copy.db'",
    ],
)
def test_queries_only_read(sql: str, services: Services) -> None:
    with pytest.raises(StepFailed, match="FatalError|BadQuery"):
        ask(sql, services)


def test_a_query_may_write_when_it_says_so(services: Services) -> None:
    assert ask("DELETE FROM sales WHERE id = {n}", services, {"n": 1}, read_only=False) == [{"rows_changed": 1}]
    assert ask("SELECT count(*) AS n FROM sales", services) == [{"n": 2}]


def test_results_are_never_cut_short(services: Services) -> None:
    with pytest.raises(StepFailed, match="more than max_rows 2 rows; add a LIMIT or raise max_rows"):
        ask("SELECT id FROM sales", services, max_rows=2)
    with pytest.raises(StepFailed, match="several columns of the result are named 'id'; name each with AS"):
        ask("SELECT id, id FROM sales", services)
    with pytest.raises(StepFailed, match="more than max_bytes 20"):
        ask("SELECT * FROM sales", services, max_bytes=20)


def test_large_results_go_by_reference_and_are_read_again(services: Services, tmp_path: Path) -> None:
    kept = ask("SELECT id, x'00ff' AS raw FROM sales WHERE id < 3", services, max_inline_bytes=10)
    assert isinstance(kept, Reference)
    assert kept.rows == 2
    rows = step_output("merge", {"inputs": ["kept", "n"]}, {"kept": kept, "n": 1}, services=services)["kept"]
    assert rows == [{"id": 1, "raw": b"\x00\xff"}, {"id": 2, "raw": b"\x00\xff"}]
    Path(kept.uri.removeprefix("file://")).write_text("[]")
    with pytest.raises(StepFailed, match="was changed since it was written"):
        step_output("merge", {"inputs": ["kept", "n"]}, {"kept": kept, "n": 1}, services=services)


def test_a_reference_leads_to_artifacts_only(services: Services, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("[1]")
    for uri in (f"file://{tmp_path}/secret.json", f"file://{tmp_path}/artifacts/../secret.json", "file:///etc/passwd"):
        with pytest.raises(StepFailed, match="is not below the artifacts"):
            step_output(
                "merge", {"inputs": ["a", "b"]}, {"a": Reference(uri, 1, 3, "0" * 64), "b": 1}, services=services
            )


def test_a_slow_query_is_stopped_in_the_database(services: Services) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS c FROM n"
    with pytest.raises(StepFailed, match="took longer than 0.2 s and was stopped"):
        ask(endless, services, timeout_s=0.2)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("shopp", "BRAID_CONNECTIONS: no connection named 'shopp'; did you mean 'shop'?"),
        ("postgresql://me:hunter22@host/db", "`source` is a URL; URLs hold passwords and stay out of pipelines"),
    ],
)
def test_connections_go_by_name(source: str, message: str, services: Services) -> None:
    with pytest.raises(StepFailed) as caught:
        step_output("query", {"source": source, "query": "SELECT 1 AS n"}, services=services)
    assert message in str(caught.value)
    assert "hunter22" not in str(caught.value)


def test_errors_name_the_connection_and_show_no_values(services: Services, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(StepFailed) as caught:
        ask("SELECT {key} AS k FROM nowhere", services, {"key": "hunter22"})
    assert "connection 'shop': no such table: nowhere" in str(caught.value)
    assert "hunter22" not in str(caught.value) + caplog.text


def test_a_connection_may_come_from_a_secret(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_URL", f"sqlite:///{database}")
    services = data_services(tmp_path, connections={"shop": "env:SHOP_URL"})
    assert ask("SELECT count(*) AS n FROM sales", services) == [{"n": 3}]
    direct = {"source": "any", "credential_ref": "env:SHOP_URL", "query": "SELECT count(*) AS n FROM sales"}
    assert step_output("query", direct, services=data_services(tmp_path)) == [{"n": 3}]
    with pytest.raises(StepFailed, match="env:NO_URL: the environment has no variable NO_URL"):
        step_output("query", {**direct, "credential_ref": "env:NO_URL"}, services=services)
    with pytest.raises(StepFailed) as caught:
        step_output("query", {**direct, "credential_ref": "sqlite:///me:hunter22@x"}, services=services)
    assert "a secret is given by reference" in str(caught.value)
    assert "hunter22" not in str(caught.value)


def test_decimals_and_times_survive_a_reference(services: Services) -> None:
    from handlers.data.references import _decoded, _encoded  # pyright: ignore[reportPrivateUsage]

    rows = [
        {
            "$type": "trap",
            "a": decimal.Decimal("1.10"),
            "t": dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC),
            "d": dt.date(2026, 1, 2),
            "s": dt.timedelta(seconds=1.5),
            "n": None,
            "l": [1, {"x": b"\0"}],
        }
    ]
    assert _decoded(_encoded(rows)) == rows
