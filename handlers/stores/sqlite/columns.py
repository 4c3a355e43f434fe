"""Reads columns of integers from SQLite as arrays."""

import json
from collections.abc import Iterable, Sequence

import numpy as np
from sqlalchemy import Connection


def read_columns(connection: Connection, query: str, names: Sequence[str], *values: object) -> list[np.ndarray]:
    """The columns of these names of a query, as arrays of integers, ascending by the first."""
    # One text per column, parsed by numpy, is five times as fast as one row per number (100,000 passages in 45 ms).
    texts = ", ".join(f"group_concat({name})" for name in names)
    found = connection.exec_driver_sql(f"SELECT {texts} FROM ({query})", values).one()
    columns = [as_numbers(text) for text in found]
    order = np.argsort(columns[0], kind="stable")
    return [column[order] for column in columns]


def as_numbers(text: str | None) -> np.ndarray:
    """The integers in a comma-separated text."""
    return np.fromstring(text or "", dtype=np.int64, sep=",")


def as_json(keys: Iterable[int] | np.ndarray) -> str:
    """Keys as one parameter, for `IN (SELECT value FROM json_each(?))`."""
    return json.dumps(keys.tolist() if isinstance(keys, np.ndarray) else list(keys))
