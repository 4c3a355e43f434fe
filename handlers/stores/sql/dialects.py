"""The differences between SQLite and PostgreSQL: rows in bulk, texts and vectors."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Double,
    Integer,
    LargeBinary,
    Table,
    Text,
    any_,
    bindparam,
    func,
    select,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

from handlers.stores.keys import storable_text


def upsert(connection: Connection, table: Table) -> sqlite.Insert:
    """An INSERT with ON CONFLICT, which has the same methods in both dialects."""
    if connection.dialect.name == "postgresql":
        return cast(sqlite.Insert, postgresql.insert(table))
    return sqlite.insert(table)


_ROWS_AT_ONCE = 10_000
"""The rows that SQLite gets at once, since they are copied for it."""


def insert_rows(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows straight through the driver: a COPY in PostgreSQL, one prepared statement in SQLite.

    Values of a vector column are float32 arrays.
    """
    if not rows:
        return
    names = ", ".join(f'"{name}"' for name in columns)
    kinds = [table.c[name].type for name in columns]
    texts = [index for index, kind in enumerate(kinds) if isinstance(kind, StorableText)]
    vectors = [index for index, kind in enumerate(kinds) if isinstance(kind, VectorColumn)]
    if connection.dialect.name == "postgresql":
        prepared = _prepared(rows, texts, [], None)
        driver: Any = connection.connection.driver_connection
        with (
            driver.cursor() as cursor,
            cursor.copy(f'COPY "{table.name}" ({names}) FROM STDIN WITH (FORMAT BINARY)') as copy,
        ):
            copy.set_types([_postgres_type(kind) for kind in kinds])
            for row in prepared:
                copy.write_row(row)
        return
    marks = ", ".join("?" * len(columns))
    for at in range(0, len(rows), _ROWS_AT_ONCE):
        prepared = _prepared(rows[at : at + _ROWS_AT_ONCE], texts, vectors, _to_bytes)
        connection.exec_driver_sql(f'INSERT INTO "{table.name}" ({names}) VALUES ({marks})', prepared)


def among(connection: Connection, column: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    """Whether the column has one of these values, sent as one parameter, where `in_` sends one for each.

    For the opposite, use `not_in`, since SQLAlchemy would negate this to `!= ANY`.
    """
    is_text = isinstance(column.type, StorableText)
    given = [storable_text(value) for value in values] if is_text else list(values)
    if connection.dialect.name != "postgresql":
        return column.in_(select(_listed(given)))
    array = postgresql.ARRAY(postgresql.TEXT() if is_text else column.type)
    return column == any_(bindparam(None, given, type_=array, unique=True))


def given_texts(connection: Connection, values: Iterable[str]) -> ColumnElement[str]:
    """The values as a column to select from, sent as one parameter."""
    texts = [storable_text(value) for value in values]
    if connection.dialect.name != "postgresql":
        return _listed(texts)
    array = postgresql.ARRAY(postgresql.TEXT())
    return func.unnest(sql_cast(bindparam(None, texts, type_=array, unique=True), array)).column_valued("given")


def _listed(values: Sequence[Any]) -> ColumnElement[Any]:
    return func.json_each(bindparam(None, json.dumps(values), unique=True)).table_valued("value").c.value


def upsert_rows(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], *, conflict: str
) -> None:
    """Insert rows in this order; `conflict`, for example `(id) DO NOTHING`, handles existing rows.

    In PostgreSQL one statement with one array per column: its text is the same for any number of rows.
    """
    names = ", ".join(f'"{name}"' for name in columns)
    insert = f'INSERT INTO "{table.name}" ({names})'
    _with_rows(
        connection,
        table,
        columns,
        rows,
        f"{insert} SELECT * FROM {{given}} ON CONFLICT {conflict}",
        f"{insert} VALUES ({', '.join('?' * len(columns))}) ON CONFLICT {conflict}",
    )


def update_rows(
    connection: Connection, table: Table, key: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Set the columns of the rows with these keys; each item has the new values first and the key last."""
    values = ", ".join(f'"{name}" = given."{name}"' for name in columns)
    marks = ", ".join(f'"{name}" = ?' for name in columns)
    _with_rows(
        connection,
        table,
        (*columns, key),
        rows,
        f'UPDATE "{table.name}" SET {values} FROM {{given}} WHERE "{table.name}"."{key}" = given."{key}"',
        f'UPDATE "{table.name}" SET {marks} WHERE "{key}" = ?',
    )


def move_rows(connection: Connection, table: Table, column: str, moves: Sequence[tuple[int, int]]) -> None:
    """Replace values in a column of keys; `moves` are pairs (before, after)."""
    if connection.dialect.name != "postgresql":
        moved = [(after, before) for before, after in moves]
        if moved:
            connection.exec_driver_sql(f'UPDATE "{table.name}" SET "{column}" = ? WHERE "{column}" = ?', moved)
        return
    connection.exec_driver_sql(
        f'UPDATE "{table.name}" SET "{column}" = given.after FROM unnest(%s::int8[], %s::int8[]) '
        f'AS given (before, after) WHERE "{table.name}"."{column}" = given.before',
        ([before for before, _ in moves], [after for _, after in moves]),
    )


def _with_rows(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
    postgres: str,
    sqlite: str,
) -> None:
    if not rows:
        return
    kinds = [table.c[name].type for name in columns]
    prepared = _prepared(rows, [index for index, kind in enumerate(kinds) if isinstance(kind, StorableText)], [], None)
    if connection.dialect.name != "postgresql":
        connection.exec_driver_sql(sqlite, prepared)
        return
    arrays = ", ".join(f"%s::{_postgres_type(kind)}[]" for kind in kinds)
    names = ", ".join(f'"{name}"' for name in columns)
    given = f"unnest({arrays}) AS given ({names})"
    connection.exec_driver_sql(
        postgres.format(given=given), tuple(list(column) for column in zip(*prepared, strict=True))
    )


def _prepared(
    rows: Sequence[tuple[Any, ...]], texts: Sequence[int], vectors: Sequence[int], encode: Any
) -> list[tuple[Any, ...]]:
    distinct = (value for index in texts for value in {row[index] for row in rows})
    if not vectors and all(value is None or storable_text(value) == value for value in distinct):
        return list(rows)
    prepared: list[tuple[Any, ...]] = []
    for row in rows:
        values = list(row)
        for index in texts:
            if values[index] is not None:
                values[index] = storable_text(values[index])
        for index in vectors:
            values[index] = encode(values[index])
        prepared.append(tuple(values))
    return prepared


def _postgres_type(kind: TypeEngine[Any]) -> str:
    if isinstance(kind, VectorColumn):
        return "vector"
    if isinstance(kind, StorableText):
        return "text"
    if isinstance(kind, LargeBinary):
        return "bytea"
    if isinstance(kind, Boolean):
        return "bool"
    if isinstance(kind, Double):
        return "float8"
    # Check first, because in SQLAlchemy BigInteger is a subclass of Integer.
    return "int4" if type(kind) is Integer else "int8"


class StorableText(TypeDecorator[str]):
    """Text that sorts as in Python, without characters that databases refuse (see `storable_text`)."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Any) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.TEXT(collation="C"))
        return dialect.type_descriptor(Text())

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else storable_text(value)


class PostgresVector(UserDefinedType[Any]):
    """pgvector's `vector`, with a fixed or any number of dimensions."""

    cache_ok = True

    def __init__(self, dimensions: int | None = None) -> None:
        self.dimensions = dimensions

    def get_col_spec(self, **_: Any) -> str:
        return "vector" if self.dimensions is None else f"vector({self.dimensions})"


class VectorColumn(TypeDecorator[np.ndarray]):
    """float32 numbers: little-endian bytes in SQLite, `vector` in PostgreSQL."""

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Any) -> TypeEngine[Any]:
        return dialect.type_descriptor(PostgresVector() if dialect.name == "postgresql" else LargeBinary())

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        if value is None:
            return None
        return np.asarray(value, dtype=np.float32) if dialect.name == "postgresql" else _to_bytes(value)

    def process_result_value(self, value: Any, dialect: Any) -> np.ndarray | None:
        if value is None:
            return None
        if dialect.name == "postgresql":
            return np.asarray(value.to_numpy(), dtype=np.float32)
        return np.frombuffer(value, dtype="<f4")


def _to_bytes(row: Any) -> bytes:
    return np.ascontiguousarray(row, dtype="<f4").tobytes()
