"""Long sequences in pieces: complete, in order, and read only on demand."""

from itertools import count

import pytest

from flows.state import chunked


@pytest.mark.parametrize(
    ("number", "size", "pieces"),
    [
        (0, 3, []),
        (3, 3, [[0, 1, 2]]),
        (7, 3, [[0, 1, 2], [3, 4, 5], [6]]),
        (2, 500, [[0, 1]]),
    ],
)
def test_pieces_hold_everything_in_order(number: int, size: int, pieces: list[list[int]]) -> None:
    assert list(chunked(range(number), size)) == pieces


def test_an_endless_sequence_is_taken_piece_by_piece() -> None:
    pieces = chunked(count(), 2)
    assert [next(pieces), next(pieces)] == [[0, 1], [2, 3]]
