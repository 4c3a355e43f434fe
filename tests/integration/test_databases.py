"""The same promises on real servers: PostgreSQL, DuckDB, Redis and a MongoDB-compatible server."""

import datetime as dt
import decimal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flows.state import Services
from tests.support.data import StepFailed, data_services, step_output

ATTACK = "'; DROP TABLE sales; --"


def ask(query: Any, services: Services, fields: Any = None, **options: Any) -> Any:
    return step_output("query", {"source": "shop", "query": query, **options}, fields, services=services)


@pytest.fixture(params=["postgresql", "duckdb"])
def sql(request: pytest.FixtureRequest, tmp_path: Path) -> Services:
    if request.param == "duckdb":
        url = f"duckdb:///{tmp_path / 'shop.duckdb'}"
    else:
        url = request.getfixturevalue("postgres_url")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE sales (id INTEGER, region TEXT, amount DECIMAL(10, 2), day DATE)"))
        connection.execute(
            sa.text("INSERT INTO sales VALUES (1, 'north', 10.50, '2026-01-01'), (2, 'south', 20, '2026-02-01')")
        )
    engine.dispose()
    return data_services(tmp_path, connections={"shop": url})


def test_sql_servers_bind_and_only_read(sql: Services) -> None:
    rows = ask(
        "SELECT * FROM sales WHERE day >= {start} AND id IN {ids} -- 10:30", sql, {"start": "2026-01-15", "ids": [1, 2]}
    )
    assert rows == [{"id": 2, "region": "south", "amount": decimal.Decimal("20.00"), "day": dt.date(2026, 2, 1)}]
    assert ask("SELECT id FROM sales WHERE region = {r}", sql, {"r": ATTACK}) == []
    assert ask(
        "SELECT CAST(id AS TEXT) AS t, id::TEXT AS u FROM sales WHERE day = {d}", sql, {"d": dt.date(2026, 1, 1)}
    ) == [{"t": "1", "u": "1"}]
    for statement in ("DELETE FROM sales", "DROP TABLE sales", "CREATE TABLE t (a INTEGER)"):
        with pytest.raises(StepFailed, match="read-only|read only"):
            ask(statement, sql)
    assert ask("SELECT count(*) AS n FROM sales", sql) == [{"n": 2}]
    assert ask("UPDATE sales SET region = {r} WHERE id = 1", sql, {"r": ATTACK}, read_only=False)
    assert ask("SELECT region FROM sales WHERE id = 1", sql) == [{"region": ATTACK}]


def test_errors_of_servers_are_fatal_and_show_no_values(sql: Services) -> None:
    with pytest.raises(StepFailed, match="connection 'shop': .*nowhere") as caught:
        ask("SELECT {key} AS k FROM nowhere", sql, {"key": "hunter22"})
    assert "hunter22" not in str(caught.value)


def test_duckdb_reads_no_other_files(tmp_path: Path) -> None:
    url = f"duckdb:///{tmp_path / 'empty.duckdb'}"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE t (a INTEGER)"))
    engine.dispose()
    with pytest.raises(StepFailed, match="file system operations are disabled"):
        ask("SELECT * FROM read_text('/etc/hostname')", data_services(tmp_path, connections={"shop": url}))


def test_postgresql_stops_a_slow_query(postgres_url: str, tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"took longer than 0.3 s and was stopped"):
        ask(
            "SELECT pg_sleep({s})",
            data_services(tmp_path, connections={"shop": postgres_url}),
            {"s": 120},
            timeout_s=0.3,
        )


def test_a_server_that_is_away_may_come_back_and_its_password_stays_hidden(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    for url in ("postgresql+psycopg://me:hunter22@127.0.0.1:1/db", "redis://:hunter22@127.0.0.1:1/0"):
        query = "GET x" if url.startswith("redis") else "SELECT 1 AS n"
        with pytest.raises(StepFailed, match="TransientError|OperationalError|StepFailed|connection 'shop'") as caught:
            ask(query, data_services(tmp_path, connections={"shop": url}))
        assert "hunter22" not in str(caught.value)
    assert "hunter22" not in caplog.text


@pytest.fixture
def redis_services(redis_url: str, tmp_path: Path) -> Iterator[Services]:
    import redis

    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        client.flushdb()
        client.set("user:1", "Ada")
        client.hset("cart:1", mapping={"apples": "3"})
        client.rpush("queue", "a", "b", "c")
        client.sadd("tags", "y", "x")
        client.zadd("scores", {"ada": 2.5})
        yield data_services(tmp_path, connections={"shop": redis_url})


def test_redis_reads(redis_services: Services) -> None:
    fields = {"n": 1, "keys": ["user:1", "user:2"], "evil": "1 user:2\r\nFLUSHALL", "any": "*"}
    cases: list[tuple[Any, Any]] = [
        ("GET user:{n}", [{"value": "Ada"}]),
        ("GET missing", []),
        ("MGET {keys}", [{"key": "user:1", "value": "Ada"}, {"key": "user:2", "value": None}]),
        ({"command": "hgetall", "args": ["cart:{n}"]}, [{"apples": "3"}]),
        ("LRANGE queue 0 1", [{"value": "a"}, {"value": "b"}]),
        ("SMEMBERS tags", [{"value": "x"}, {"value": "y"}]),
        ("SCAN user:*", [{"key": "user:1"}]),
        ("SCAN {any}", []),  # a value stands for itself, not for a pattern
        ("GET user:{evil}", []),
    ]
    for query, rows in cases:
        assert ask(query, redis_services, fields) == rows, query


def test_redis_commands_that_write_run_code_or_give_too_much_are_refused(redis_services: Services) -> None:
    for query in ("FLUSHALL now", "SET a b", "EVAL return 1", "CONFIG GET *", "KEYS *"):
        with pytest.raises(StepFailed, match="a Redis query is one command that reads"):
            ask(query, redis_services)
    with pytest.raises(StepFailed, match="'queue' has 3 entries, more than max_rows 2"):
        ask("LRANGE queue 0 -1", redis_services, max_rows=2)
    assert len(ask("LRANGE queue 0 1", redis_services, max_rows=2)) == 2


@pytest.fixture
def mongo_services(mongo_url: str, tmp_path: Path) -> Iterator[Services]:
    import pymongo

    with pymongo.MongoClient(mongo_url) as client:
        sales = client.get_default_database()["sales"]
        sales.delete_many({})
        sales.insert_many(
            [
                {"_id": 1, "region": "north", "amount": 10},
                {"_id": 2, "region": "south", "amount": 20},
                {"_id": 3, "region": "s.uth", "amount": 30},
            ]
        )
        yield data_services(tmp_path, connections={"shop": mongo_url})


def test_mongodb_finds_and_aggregates(mongo_services: Services) -> None:
    fields = {"least": 20, "part": "s.u", "regions": ["north", "south"]}
    cases: list[tuple[Any, Any]] = [
        (
            {"filter": {"amount": {"$gte": "{least}"}}, "projection": {"region": 1, "_id": 0}, "sort": {"amount": -1}},
            [{"region": "s.uth"}, {"region": "south"}],
        ),
        ({"filter": {"region": {"$in": "{regions}"}}, "projection": {"_id": 1}}, [{"_id": 1}, {"_id": 2}]),
        ({"filter": {"region": {"$regex": "^{part}"}}, "projection": {"_id": 1}}, [{"_id": 3}]),
        ({"filter": {"region": {"$regex": "{part}"}}, "projection": {"_id": 1}}, [{"_id": 3}]),
        (
            {
                "pipeline": [
                    {"$match": {"amount": {"$gte": "{least}"}}},
                    {"$group": {"_id": None, "total": {"$sum": "$amount"}}},
                ]
            },
            [{"_id": None, "total": 50}],
        ),
    ]
    for query, rows in cases:
        assert ask({"collection": "sales", **query}, mongo_services, fields) == rows, query


def test_mongodb_takes_no_operators_from_values_and_runs_no_code(mongo_services: Services) -> None:
    with pytest.raises(StepFailed, match="which a query cannot take as a parameter"):
        ask({"collection": "sales", "filter": {"region": "{r}"}}, mongo_services, {"r": {"$gt": ""}})
    for bad in (
        {"filter": {"$where": "1"}},
        {"pipeline": [{"$out": "copy"}]},
        {"filter": {"$expr": {"$function": {"body": "x"}}}},
    ):
        with pytest.raises(StepFailed, match="runs code or writes"):
            ask({"collection": "sales", **bad}, mongo_services)
    with pytest.raises(StepFailed, match="more than max_rows 2 documents"):
        ask({"collection": "sales"}, mongo_services, max_rows=2)
