"""The vectors of one model in memory, with eight bits per number, and bounds for the errors of products."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

_BLOCK = 2048
"""How many rows are converted to floats at once, few enough for the processor's cache."""
_ROUNDED = 256
"""How many rows are rounded at once, for the same reason."""
_GATHERED = 4
"""Rows are gathered only if they are less than one in this many; otherwise multiplying all rows is faster."""
_ROUNDING = 1e-5
"""An upper bound of the float32 error of a product of vectors of length 1."""


@dataclass(frozen=True)
class _Block:
    codes: np.ndarray
    steps: np.ndarray
    """The value of 1 in the codes, per row."""
    errors: np.ndarray
    """The distance between a row and its codes."""


class VectorCodes:
    """Row i is the vector of the passage in slot i, rounded to 255 steps between its greatest number and the opposite.

    Rows are written once and blocks are only added, so readers and one writer can work at the same time.
    """

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self._blocks: list[_Block] = []

    def put(self, slots: np.ndarray, rows: np.ndarray) -> None:
        """Write float32 rows into slots, each of them once."""
        while slots.max(initial=-1) >= len(self._blocks) * _BLOCK:
            numbers = np.zeros((2, _BLOCK), dtype=np.float32)
            self._blocks.append(_Block(np.zeros((_BLOCK, self.dimensions), dtype=np.int8), *numbers))
        for block, chosen, within in self._parts(slots):
            given = rows[chosen]
            for start in range(0, len(within), _ROUNDED):
                some = within[start : start + _ROUNDED]
                block.codes[some], block.steps[some], block.errors[some] = _rounded(given[start : start + _ROUNDED])

    def compacted(self, slots: np.ndarray) -> "VectorCodes":
        """The rows of these slots, in their order."""
        made = VectorCodes(self.dimensions)
        for start in range(0, len(slots), _BLOCK):
            some = slots[start : start + _BLOCK]
            block = _Block(np.zeros((_BLOCK, self.dimensions), dtype=np.int8), *np.zeros((2, _BLOCK), dtype=np.float32))
            for old, chosen, within in self._parts(some):
                block.codes[chosen], block.steps[chosen] = old.codes[within], old.steps[within]
                block.errors[chosen] = old.errors[within]
            made._blocks.append(block)
        return made

    def nearest(self, vector: np.ndarray, chosen: np.ndarray, count: int) -> np.ndarray:
        """The chosen slots (a mask) that may have one of the `count` greatest products with a vector.

        The result contains all slots with such a product: a product's error is at most the row's error times the
        vector's length, and a row is left out only if its best possible product is below the worst possible one of
        `count` others.
        """
        slots = np.flatnonzero(chosen)
        if len(slots) <= count or count <= 0:
            return slots if count > 0 else slots[:0]
        if len(slots) * _GATHERED < len(chosen):
            products, errors = self._gathered(vector, slots)
        else:
            products, errors = (each[slots] for each in self._all(vector, len(chosen)))
        errors *= np.float32(np.linalg.norm(vector))
        at_least = products - errors
        worst = np.partition(at_least, len(slots) - count)[len(slots) - count]
        return slots[products + errors >= worst]

    def _all(self, vector: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        products, errors = np.zeros((2, size), dtype=np.float32)
        wide = np.empty((_BLOCK, self.dimensions), dtype=np.float32)
        for number, block in enumerate(self._blocks[: -(-size // _BLOCK)]):
            start = number * _BLOCK
            rows = min(_BLOCK, size - start)
            wide[:rows] = block.codes[:rows]
            # Not `@`, which uses threads of its own for several rows and takes thirty times as long on a busy machine.
            products[start : start + rows] = np.vecdot(wide[:rows], vector) * block.steps[:rows]
            errors[start : start + rows] = block.errors[:rows]
        return products, errors

    def _gathered(self, vector: np.ndarray, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        products, errors = np.empty((2, len(slots)), dtype=np.float32)
        for block, chosen, within in self._parts(slots):
            products[chosen] = np.vecdot(block.codes[within].astype(np.float32), vector) * block.steps[within]
            errors[chosen] = block.errors[within]
        return products, errors

    def _parts(self, slots: np.ndarray) -> Iterable[tuple[_Block, np.ndarray | slice, np.ndarray]]:
        """Each block that has any of the slots, with the positions of these among `slots` and within the block."""
        blocks = slots // _BLOCK
        is_ascending = (blocks[1:] >= blocks[:-1]).all()
        for number in np.unique(blocks).tolist():
            if is_ascending:
                chosen = slice(*np.searchsorted(blocks, (number, number + 1)).tolist())
            else:
                chosen = np.flatnonzero(blocks == number)
            yield self._blocks[number], chosen, slots[chosen] % _BLOCK


def _rounded(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes, steps and errors of rows."""
    top = np.maximum(rows.max(axis=1, initial=0), -rows.min(axis=1, initial=0))
    steps = np.where(top > 0, top / 127, 1).astype(np.float32)
    codes = np.rint(rows * (1 / steps)[:, None])
    off = codes * steps[:, None]
    off -= rows
    return codes, steps, np.sqrt(np.einsum("ij,ij->i", off, off)) + _ROUNDING * np.maximum(top, 1)
