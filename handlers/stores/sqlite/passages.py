"""The visible passages of the SQLite index, cached in a process and updated by changes."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sqlalchemy import Connection

from handlers.stores.sql import Changes, view_of
from handlers.stores.sqlite.columns import as_json, read_columns

_VISIBLE = "SELECT key, document, coalesce(length, 0) AS length FROM passages WHERE visible AND side IN (0, {side})"


@dataclass(frozen=True)
class Passages:
    """The passages that are visible after the change `number`.

    Each has a slot: its position in `keys`, `documents` and `lengths`, in the order of arrival. The slot of a removed
    passage is a hole, in which `alive` is false; a passage whose terms or vector were replaced has a new slot.
    """

    number: int
    keys: np.ndarray
    documents: np.ndarray
    lengths: np.ndarray
    alive: np.ndarray
    ascending: np.ndarray
    """The slots that are alive, by key."""

    @classmethod
    def read(cls, connection: Connection, number: int) -> "Passages":
        keys, documents, lengths = read_columns(connection, _visible(connection), ("key", "document", "length"))
        return cls(number, keys, documents, lengths, np.ones(len(keys), dtype=bool), np.arange(len(keys)))

    @property
    def size(self) -> int:
        """The number of slots."""
        return len(self.keys)

    @cached_property
    def sorted_keys(self) -> np.ndarray:
        """The keys that are alive, ascending."""
        return self.keys[self.ascending]

    @property
    def holes(self) -> int:
        return self.size - len(self.ascending)

    def find(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The slots of the existing keys, and a mask of these keys."""
        if not len(self.ascending):
            return np.arange(0), np.zeros(len(keys), dtype=bool)
        at = np.searchsorted(self.sorted_keys, keys)
        at[at == len(self.ascending)] = 0
        there = self.sorted_keys[at] == keys
        return self.ascending[at[there]], there

    def after(self, connection: Connection, number: int, changes: Changes) -> "Passages":
        """The passages after these changes, up to a number; added passages are read from the database."""
        alive, ascending = self.alive, self.ascending
        if len(changes.went):
            gone, _ = self.find(changes.went)
            alive = alive.copy()
            alive[gone] = False
            ascending = ascending[alive[ascending]]
        if not len(changes.came):
            return Passages(number, self.keys, self.documents, self.lengths, alive, ascending)
        keys, documents, lengths = read_columns(
            connection,
            f"{_visible(connection)} AND key IN (SELECT value FROM json_each(?))",
            ("key", "document", "length"),
            as_json(changes.came),
        )
        new = np.arange(self.size, self.size + len(keys))
        places = np.searchsorted(self.keys[ascending], keys)
        return Passages(
            number,
            np.concatenate([self.keys, keys]),
            np.concatenate([self.documents, documents]),
            np.concatenate([self.lengths, lengths]),
            np.concatenate([alive, np.ones(len(keys), dtype=bool)]),
            np.insert(ascending, places, new),
        )

    def compacted(self) -> "Passages":
        """These passages without holes, by key."""
        slots = self.ascending
        kept = (self.keys[slots], self.documents[slots], self.lengths[slots])
        return Passages(self.number, *kept, np.ones(len(slots), dtype=bool), np.arange(len(slots)))


def _visible(connection: Connection) -> str:
    return _VISIBLE.format(side=view_of(connection).side)
