"""The vectors of one model in the memory of a process: those that are gone are passed over, new ones are added."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

import numpy as np

ReadVectors: TypeAlias = Callable[[list[int]], Iterator[list[bytes]]]
"""The vectors of rows in their order, some at a time, each as little-endian float32."""
_BYTES = 4
_GATHERED = 4
"""Less than one row in so many is gathered; copying more takes longer than scoring all."""
_ROOM = 8
"""One row in so many is kept free for vectors to come."""


@dataclass(frozen=True)
class VectorMatrix:
    """Row i of `matrix` is vector row `rows[i]`; `listed` has the positions of the visible ones, whose passages and
    documents go with it.

    Vector rows never change under their key. So a newer matrix shares the memory of the one before as long as there is
    room: it only writes behind the rows that the one before has.
    """

    buffer: np.ndarray
    rows: np.ndarray
    listed: np.ndarray
    passages: np.ndarray
    documents: np.ndarray

    @property
    def dimensions(self) -> int:
        return int(self.buffer.shape[1])

    def products(self, vector: np.ndarray, chosen: np.ndarray | None = None) -> np.ndarray:
        """The inner products of the visible vectors, in the order of `passages`; of those at `chosen` if given."""
        listed = self.listed if chosen is None else self.listed[chosen]
        if len(listed) * _GATHERED < len(self.rows):
            return self.buffer[listed] @ vector
        scores = self.buffer[: len(self.rows)] @ vector
        return scores if len(listed) == len(self.rows) else scores[listed]


def with_visible(
    before: VectorMatrix | None,
    rows: np.ndarray,
    passages: np.ndarray,
    documents: np.ndarray,
    read: ReadVectors,
) -> VectorMatrix:
    """The matrix with exactly these rows visible (ascending, with their passages and documents); new ones are read.

    Of two matrices, only the newer may be used as `before`: they may share memory.
    """
    if before is None or not len(before.rows):
        blocks = read(rows.tolist())
        first = next(blocks, [b""])
        buffer = np.empty((len(rows), len(first[0]) // _BYTES), dtype=np.float32)
        _write(buffer, 0, chain([first], blocks) if len(rows) else ())
        return VectorMatrix(buffer, rows, np.arange(len(rows)), passages, documents)
    is_new = ~np.isin(rows, before.rows)
    kept, fresh = rows[~is_new], rows[is_new]
    at = len(before.rows)
    if len(kept) < 3 * at // 4 or at + len(fresh) > len(before.buffer):  # a quarter is gone, or there is no room
        buffer = np.empty((len(rows) + len(rows) // _ROOM, before.dimensions), dtype=np.float32)
        buffer[: len(kept)] = before.buffer[_positions(before.rows, kept)]
        before, at = VectorMatrix(buffer, kept, *[np.arange(0)] * 3), len(kept)
    _write(before.buffer, at, read(fresh.tolist()))
    held = np.concatenate([before.rows, fresh])
    listed = _positions(held, rows)
    order = np.argsort(listed)  # scores then come in the order of memory
    return VectorMatrix(before.buffer, held, listed[order], passages[order], documents[order])


def _positions(among: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where each of the wanted values, all of which are there, is among others."""
    order = np.argsort(among)
    return order[np.searchsorted(among, wanted, sorter=order)]


def _write(buffer: np.ndarray, at: int, blocks: Iterable[list[bytes]]) -> None:
    """Write vectors into the buffer from a row on; in blocks, so that they are in memory only once."""
    for block in blocks:
        buffer[at : at + len(block)] = np.frombuffer(b"".join(block), dtype="<f4").reshape(len(block), -1)
        at += len(block)
