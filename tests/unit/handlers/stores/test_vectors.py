"""8-bit vectors never miss one of the nearest passages, whatever was written before and whichever passages are searched."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.stores.sqlite import vectors
from handlers.stores.sqlite.vectors import VectorCodes


@pytest.fixture(autouse=True, scope="module")
def _small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "_BLOCK", 8)
        patch.setattr(vectors, "_ROUNDED", 3)
        yield


@given(
    seed=st.integers(0, 1000),
    parts=st.lists(st.integers(0, 20), min_size=1, max_size=4),
    share=st.sampled_from([0.05, 0.5, 1.0]),
    count=st.integers(0, 12),
    scale=st.sampled_from([1.0, 30.0, 1e-3]),
)
def test_the_nearest_are_among_those_that_may_be(
    seed: int, parts: list[int], share: float, count: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    size = sum(parts)
    rows = (scale * rng.normal(size=(size, 6))).astype(np.float32)
    rows[rng.random(size) < 0.2] = 0
    if size > 3:
        rows[-3:] = rows[0]
    codes = VectorCodes(6)
    slots = rng.permutation(size)
    start = 0
    for part in parts:
        codes.put(slots[start : start + part], rows[slots[start : start + part]])
        start += part
    question = rng.normal(size=6).astype(np.float32)
    chosen = rng.random(size) < share
    for some, kept in ((codes, np.arange(size)), (codes.compacted(np.flatnonzero(chosen)), np.flatnonzero(chosen))):
        mask = chosen[kept]
        products = rows[kept] @ question
        found = some.nearest(question, mask, count)
        assert mask[found].all()
        assert len(found) >= min(count, int(mask.sum()))
        if 0 < count < mask.sum():
            worst = np.sort(products[mask])[-count]
            assert set(np.flatnonzero(mask & (products > worst))) <= set(found.tolist())


def test_few_more_than_the_nearest_have_to_be_compared() -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(5000, 64)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    codes = VectorCodes(64)
    codes.put(np.arange(5000), rows)
    found = codes.nearest(rows[7], np.ones(5000, dtype=bool), 10)
    assert 7 in found
    assert len(found) < 40
