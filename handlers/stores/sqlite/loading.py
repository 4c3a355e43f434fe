"""The vectors of one model, read from the SQLite index: all at first, then those of added passages."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sqlalchemy import Connection

from handlers.stores.sqlite.columns import as_json
from handlers.stores.sqlite.passages import Passages
from handlers.stores.sqlite.vectors import VectorCodes

_AT_ONCE = 2048
_MANY = 0.2
"""Above this share of passages, reading the whole table is faster than single lookups."""


class LoadedVectors:
    """The vectors of visible passages by slot, for the passages loaded so far."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.codes: VectorCodes | None = None
        self.present = np.zeros(0, dtype=bool)
        """Which slots have a vector of the model."""
        self._looked_for = np.zeros(0, dtype=bool)
        self._numbers = set[int]()

    @property
    def dimensions(self) -> int:
        return self.codes.dimensions if self.codes else 0

    def load(self, connection: Connection, passages: Passages) -> None:
        """Read the vectors of all passages that have not been loaded yet."""
        if passages.number in self._numbers:
            return
        self._make_room(passages.size)
        missing = np.flatnonzero(passages.alive & ~self._looked_for[: passages.size])
        if len(missing):
            present = self.present.copy()  # other threads may be reading it
            keys = passages.keys[missing]
            for owners, rows in read_vectors(connection, self.model, keys, of=passages.size):
                slots, there = passages.find(owners)
                fresh = ~present[slots]
                if not fresh.any():
                    continue
                if self.codes is None:
                    self.codes = VectorCodes(rows.shape[1])
                rows = rows if there.all() else rows[there]
                self.codes.put(slots[fresh], rows if fresh.all() else rows[fresh])
                present[slots] = True
            self._looked_for[missing] = True
            self.present = present
        self._numbers.add(passages.number)

    def compacted(self, slots: np.ndarray) -> "LoadedVectors":
        """An independent copy with only these slots, in order."""
        made = LoadedVectors(self.model)
        self._make_room(int(slots.max(initial=-1)) + 1)
        made.codes = self.codes.compacted(slots) if self.codes else None
        made.present, made._looked_for = self.present[slots], self._looked_for[slots]
        return made

    def _make_room(self, size: int) -> None:
        more = size - len(self.present)
        if more > 0:
            none = np.zeros(more + size // 8, dtype=bool)
            self.present = np.concatenate([self.present, none])
            self._looked_for = np.concatenate([self._looked_for, none])


def read_vectors(
    connection: Connection, model: str, keys: np.ndarray, *, of: int | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the vectors of passages in batches: keys of those with a vector, and rows of float32.

    If these are a large share `of` all passages, vectors of other passages are included.
    """
    query, values = "SELECT passage, vector FROM vectors WHERE model = ?", (model,)
    if of is None or len(keys) < _MANY * of:
        query, values = f"{query} AND passage IN (SELECT value FROM json_each(?))", (model, as_json(keys))
    # Without SQLAlchemy's rows, which would double the time.
    driver: Any = connection.connection.driver_connection
    rows = driver.execute(query, values)
    while some := rows.fetchmany(_AT_ONCE):
        owners = np.fromiter((row[0] for row in some), dtype=np.int64, count=len(some))
        yield owners, np.frombuffer(b"".join(row[1] for row in some), dtype="<f4").reshape(len(some), -1)
