"""Statements for the rows that every step writes: compiled once per database, without SQLAlchemy's work per row."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa


def as_json(value: Any) -> str:
    """The value as JSON; values without a JSON form become their text."""
    return "{}" if value == {} else json.dumps(value, default=str)


class RowStatement:
    """An `INSERT` or `DELETE` that is executed for many rows at once."""

    def __init__(self, clause: "sa.Insert | sa.Delete") -> None:
        self._clause = clause
        self._json = [str(column.key) for column in clause.table.c if isinstance(column.type, sa.JSON)]
        self._compiled: tuple[sa.Dialect, str, tuple[str, ...] | None] | None = None

    def execute(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Execute it for rows with the same keys; values for JSON columns are serialised here."""
        if not rows:
            return
        if self._compiled is None or self._compiled[0] is not connection.dialect:
            self._compiled = self._compile(connection.dialect, list(rows[0]))
        _, text, order = self._compiled
        ready = [{**row, **{name: as_json(row[name]) for name in self._json if name in row}} for row in rows]
        given: Any = ready if order is None else [tuple(row[name] for name in order) for row in ready]
        connection.exec_driver_sql(text, given)

    def _compile(self, dialect: sa.Dialect, names: list[str]) -> "tuple[sa.Dialect, str, tuple[str, ...] | None]":
        inserting = isinstance(self._clause, sa.Insert)
        compiled: Any = self._clause.compile(dialect=dialect, column_keys=names if inserting else None)
        return dialect, str(compiled), tuple(compiled.positiontup) if compiled.positional else None
