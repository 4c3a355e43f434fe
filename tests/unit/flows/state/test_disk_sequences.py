"""Sequences on disk: they equal their items in every process, and vanish with their last reference."""

import pickle
import threading
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.errors import UnsupportedValue
from flows.state import Context, DiskSequence, Spool, fingerprint
from flows.state.equality import equal

LONG = 1234


@dataclass(frozen=True)
class Place:
    name: str
    size: int


places = st.lists(st.builds(Place, st.text(), st.integers()), max_size=20)


@given(places, st.integers(-25, 25), st.integers(-25, 25))
def test_it_is_read_as_the_list_it_was_made_of(listed: list[Place], start: int, stop: int) -> None:
    spilled = DiskSequence(listed)
    assert list(spilled) == listed
    assert spilled == tuple(listed)
    assert len(spilled) == len(listed)
    assert bool(spilled) == bool(listed)
    assert spilled[start:stop] == tuple(listed[start:stop])
    assert spilled[start:stop:-2] == tuple(listed[start:stop:-2])
    if -len(listed) <= start < len(listed):
        assert spilled[start] == listed[start]
    else:
        with pytest.raises(IndexError):
            spilled[start]


@given(st.lists(st.builds(Place, st.text(st.characters()), st.integers(0, 3)), max_size=20))
def test_it_is_sorted_as_python_sorts_and_equal_keys_keep_their_order(listed: list[Place]) -> None:
    by_name, by_size = Spool[Place](key=lambda each: each.name), Spool[Place](key=lambda each: str(each.size))
    by_name.extend(listed)
    by_size.extend(listed)
    assert list(by_name.finish()) == sorted(listed, key=lambda each: each.name)
    assert list(by_size.finish()) == sorted(listed, key=lambda each: each.size)


def test_more_than_a_page_is_read_and_pickled_whole() -> None:
    listed = [Place(f"{number}" * 50, number) for number in range(LONG)]
    spilled = DiskSequence(iter(listed))
    again = pickle.loads(pickle.dumps(spilled))
    del spilled
    assert again == listed
    assert again[LONG - 1] == listed[-1]
    assert len(pickle.dumps(again)) < len(pickle.dumps(listed))


def test_its_value_is_what_it_holds() -> None:
    listed = [Place("a", 1), Place("b", 2)]
    assert equal(DiskSequence(listed), pickle.loads(pickle.dumps(DiskSequence(listed))))
    assert not equal(DiskSequence(listed), DiskSequence(reversed(listed)))
    assert fingerprint(DiskSequence(listed)) == fingerprint(DiskSequence(listed))
    assert fingerprint(DiskSequence(listed)) != fingerprint(tuple(listed))  # types count


def test_contexts_share_it_and_nothing_is_changed_by_whoever_reads_it() -> None:
    spilled = DiskSequence([["a"], ["b"]])
    context = Context({"listed": spilled})
    branch = context.fork()
    assert branch.data["listed"] is spilled
    branch.data["listed"][0].append("mine")
    assert not branch.delta()
    assert spilled == [["a"], ["b"]]


def test_what_is_no_data_is_refused() -> None:
    with pytest.raises(UnsupportedValue, match=r"an item is a _thread\.lock"):
        DiskSequence([threading.Lock()])


def test_threads_read_it_side_by_side() -> None:
    spilled = DiskSequence(range(LONG))
    found: list[list[int]] = []
    threads = [threading.Thread(target=lambda: found.append(list(spilled))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [list(range(LONG))] * 4
