"""The vectors that the SQLite index keeps in memory are those that are visible, whatever came and went before."""

from collections.abc import Iterator

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flows.state import chunked
from handlers.stores.sqlite.vectors import VectorMatrix, with_visible

STORED = np.random.default_rng(1).normal(size=(60, 4)).astype("<f4")
visible = st.sets(st.integers(0, len(STORED) - 1), max_size=len(STORED)).map(sorted)


@given(st.lists(visible, min_size=1, max_size=8))
def test_products_are_those_of_the_visible_vectors(seen: list[list[int]]) -> None:
    read: list[int] = []

    def reading(rows: list[int]) -> Iterator[list[bytes]]:
        read.extend(rows)
        for some in chunked(rows, 7):
            yield [STORED[row].tobytes() for row in some]

    question = np.array([1.0, -2.0, 0.5, 0.0], dtype=np.float32)
    earlier: list[tuple[VectorMatrix, list[int]]] = []
    matrix: VectorMatrix | None = None
    for rows in seen:
        keys = np.array(rows, dtype=np.int64)
        matrix = with_visible(matrix, keys, keys + 100, keys + 1000, reading)
        earlier.append((matrix, rows))
        for each, expected in earlier:  # one that somebody still uses stays as it was
            products = each.products(question) if expected else np.zeros(0)
            found = dict(zip(each.passages.tolist(), products.tolist(), strict=True))
            assert found.keys() == {row + 100 for row in expected}
            for row in expected:
                assert np.isclose(found[row + 100], float(STORED[row] @ question), atol=1e-5)
            assert (each.documents - each.passages == 900).all()


def test_a_vector_is_read_once_as_long_as_it_is_visible() -> None:
    read: list[int] = []

    def reading(rows: list[int]) -> Iterator[list[bytes]]:
        read.extend(rows)
        yield [STORED[row].tobytes() for row in rows]

    matrix: VectorMatrix | None = None
    for count in (10, 11, 30, 31, 60):
        keys = np.arange(count)
        matrix = with_visible(matrix, keys, keys, keys, reading)
    assert read == list(range(60))
