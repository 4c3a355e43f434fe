"""Values that travel between processes: as they were, with large arrays in a file that both sides map."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from flows.calling.parcels import BESIDE, pack, unpack
from flows.calling.processes import call_in_process, folder_of_calls, stop_processes

LARGE = BESIDE // 8


def arrays_of_all_kinds() -> "st.SearchStrategy[np.ndarray[Any, Any]]":
    """Arrays of every kind of number and layout, some of them larger than what stays inside the pickle."""
    small = arrays.arrays(arrays.scalar_dtypes(), arrays.array_shapes(max_dims=3, min_side=0, max_side=4))
    large = st.integers(LARGE - 2, LARGE + 2).map(lambda count: np.arange(count, dtype=np.float64))
    layouts = [np.ascontiguousarray, np.asfortranarray, lambda array: array[::-1], lambda array: array[:, None].T]
    return st.builds(lambda array, layout: layout(array), st.one_of(small, large), st.sampled_from(layouts))


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.binary(), arrays_of_all_kinds()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
    max_leaves=8,
)


@given(value=VALUES, beside=st.booleans())
def test_a_value_arrives_as_pickle_alone_would_bring_it(
    value: Any, beside: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("parcels")
    assert same(pickle.loads(pickle.dumps(value, protocol=5)), unpack(pack(value, str(folder) if beside else None)))


def test_an_array_is_mapped_and_its_changes_stay_with_the_receiver(tmp_path: Path) -> None:
    sent = {"one": np.arange(LARGE, dtype=np.float64), "two": np.ones((3, LARGE), dtype=np.int64), "small": b"x" * 9}
    packed = pack(sent, str(tmp_path))
    assert len(packed) < 2_000
    assert len(list(tmp_path.iterdir())) == 1
    first, second = unpack(packed), unpack(packed)
    first["one"][0] = -1
    assert (second["one"][0], unpack(packed)["one"][0], sent["one"][0]) == (0, 0, 0)
    next(tmp_path.iterdir()).unlink()
    assert np.array_equal(second["two"], sent["two"])  # what is mapped outlives its file


def test_without_room_for_a_file_everything_is_in_the_pickle(tmp_path: Path) -> None:
    sent = np.arange(LARGE * 2, dtype=np.float64)
    packed = pack(sent, str(tmp_path / "missing"))
    assert len(packed) > sent.nbytes
    assert np.array_equal(unpack(packed), sent)


def doubled(array: "np.ndarray[Any, Any]") -> "tuple[int, np.ndarray[Any, Any]]":
    array *= 2
    return os.getpid(), array


@pytest.mark.slow
async def test_arrays_go_to_a_worker_and_come_back(tmp_path: Path) -> None:
    sent = np.arange(1_000_000, dtype=np.float64)
    try:
        pid, found = await call_in_process(doubled, sent)
        assert pid != os.getpid()
        assert np.array_equal(found, np.arange(1_000_000) * 2.0)
        found[0] = 7  # it may be changed, as every result may
        assert sent[1] == 1, "the worker changes its own copy"
        assert not [each for each in Path(folder_of_calls()).iterdir() if each.is_dir()]
    finally:
        stop_processes()
