"""Statements for the rows that every step writes: compiled once per database, without SQLAlchemy's work per row."""

import json
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

_encode = json.JSONEncoder(default=str).encode


def as_json(value: Any) -> str:
    """The value as JSON; values without a JSON form become their text."""
    if value is None:
        return "null"
    if not value and type(value) in (dict, list):
        return "{}" if type(value) is dict else "[]"
    return _encode(value)


class RowStatement:
    """An `INSERT` or `DELETE` that is executed for many rows at once."""

    def __init__(self, clause: "sa.Insert | sa.Delete") -> None:
        self._clause = clause
        self._json = [str(column.key) for column in clause.table.c if isinstance(column.type, sa.JSON)]
        self._compiled: tuple[sa.Dialect, str, Callable[[Any], Any] | None] | None = None

    def execute(self, connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> None:
        """Execute it for rows with the same keys; values for JSON columns are serialised here, in the given rows."""
        if not rows:
            return
        if self._compiled is None or self._compiled[0] is not connection.dialect:
            self._compiled = self._compile(connection.dialect, list(rows[0]))
        _, text, values = self._compiled
        for name in self._json:
            if name in rows[0]:
                for row in rows:
                    row[name] = as_json(row[name])
        given: Any = rows if values is None else list(map(values, rows))
        connection.exec_driver_sql(text, given)

    def _compile(self, dialect: sa.Dialect, names: list[str]) -> "tuple[sa.Dialect, str, Callable[[Any], Any] | None]":
        """The statement's text, and what makes a row into its values, if they are positional."""
        inserting = isinstance(self._clause, sa.Insert)
        compiled: Any = self._clause.compile(dialect=dialect, column_keys=names if inserting else None)
        return dialect, str(compiled), _values_of(compiled.positiontup) if compiled.positional else None


def _values_of(names: Sequence[str]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda row: tuple(row[name] for name in names)
