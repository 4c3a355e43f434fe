"""Isolation: changes of a branch, at any depth, are invisible to others before the merge."""

import copy
import pickle
import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.errors import UnsupportedValue
from flows.state import Context, fingerprint
from flows.state.context import UndeclaredAccess
from flows.state.equality import equal
from flows.state.values import own

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=8) | st.binary(max_size=8)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4), inner, max_size=4)
        | st.tuples(inner, inner)
        | st.sets(st.integers(), max_size=3)
    ),
    max_leaves=12,
)
fields = st.dictionaries(st.sampled_from("abcde"), values, max_size=5)


@dataclass
class Loose:
    """A mutable record, as a careless author might put into a context."""

    parts: list[Any] = field(default_factory=list)


def vandalise(value: Any, rng: random.Random) -> None:
    """Change everything that can be reached from a value, in place."""
    if isinstance(value, dict):
        for item in list(value.values()):
            vandalise(item, rng)
        value[f"added-{rng.random()}"] = "vandal"
        if len(value) > 1 and rng.random() < 0.5:
            value.pop(next(iter(value)))
    elif isinstance(value, list):
        for item in value:
            vandalise(item, rng)
        value.append("vandal")
        rng.shuffle(value)
    elif isinstance(value, set):
        value.add("vandal")
    elif isinstance(value, tuple):
        for item in value:
            vandalise(item, rng)
    elif isinstance(value, Loose):
        vandalise(value.parts, rng)
        value.parts = ["vandal"]
    elif isinstance(value, np.ndarray):
        with pytest.raises(ValueError, match="read-only|WRITEABLE"):
            value[...] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            value.flags.writeable = True


@given(fields, fields, st.integers())
def test_a_hostile_branch_changes_nothing_outside_itself(data: dict, documents: dict, seed: int) -> None:
    data = {**data, "loose": Loose([[1], {"x": [2]}]), "array": np.arange(4.0)}
    parent = Context(data, documents=documents, tags={"who": ["team"]})
    before, sibling = parent.fingerprint(), parent.fork()
    seen_by_sibling = sibling.fingerprint()
    hostile = parent.fork()
    rng = random.Random(seed)
    for section in (hostile.data, hostile.documents, hostile.tags):
        for key in list(section):
            vandalise(section[key], rng)
        section["new"] = "vandal"
    del hostile.data["loose"]
    hostile.log("vandal", "was here")
    hostile.mark_processed_by("vandal")
    hostile.delta()
    assert parent.fingerprint() == before
    assert sibling.fingerprint() == seen_by_sibling == before


@given(fields, fields)
def test_a_delta_carries_exactly_what_the_branch_did(before: dict, after: dict) -> None:
    parent = Context(copy.deepcopy(before))
    branch = parent.fork()
    for key in list(branch.data):
        if key not in after:
            del branch.data[key]
    for key, value in after.items():
        branch.data[key] = value
    left = branch.fingerprint()
    parent.apply(branch.delta())
    assert parent.fingerprint() == left == Context(after).fingerprint()


@given(fields)
def test_reading_leaves_no_delta(data: dict) -> None:
    branch = Context(data).fork()
    for key in branch.data:
        str(branch.data[key])
    assert branch.delta() == ()


def test_a_change_deep_inside_is_found_without_an_assignment() -> None:
    parent = Context({"report": {"pages": [{"words": 1}], "title": "x"}})
    branch = parent.fork()
    branch.data["report"]["pages"][0]["words"] = 2
    assert [change.field for change in branch.delta()] == ["report.pages"]


def test_a_reference_that_a_handler_keeps_does_not_reach_into_the_context() -> None:
    context, kept = Context(), [1]
    branch = context.fork()
    branch.data["numbers"] = kept
    context.apply(branch.delta())
    kept.append(2)
    assert context.fork().data["numbers"] == [1]


def test_arrays_of_a_delta_from_another_process_become_read_only() -> None:
    parent = Context()
    branch = parent.fork()
    branch.data["vectors"] = np.ones(3, dtype=np.float32)
    parent.apply(pickle.loads(pickle.dumps(branch.delta())))
    with pytest.raises(ValueError, match="read-only"):
        parent.data["vectors"][0] = 2.0


def test_marks_survive_into_branches_and_back() -> None:
    parent = Context()
    parent.mark_processed_by("Embed", "page-1")
    branch = parent.fork()
    assert branch.already_processed_by("embed", "PAGE-1")
    branch.mark_processed_by("embed", "page-2")
    parent.apply(branch.delta())
    assert parent.already_processed_by("embed", "page-2")
    assert not parent.already_processed_by("embed")


@given(fields, fields, st.integers())
def test_contexts_that_applied_one_delta_share_its_values_and_no_change(data: dict, more: dict, seed: int) -> None:
    rng, branch = random.Random(seed), Context(data).fork()
    branch.data.update(more)
    for key in data:
        vandalise(branch.data[key], rng)
    delta = branch.delta()
    written = fingerprint([change.value for change in delta if change.kind != "delete"])
    first, second = Context(data), Context(data)
    first.apply(delta)
    second.apply(delta)
    expected = branch.fingerprint()
    assert first.fingerprint() == second.fingerprint() == expected
    for _ in range(2):
        later = first.fork()
        for key in later.data:
            vandalise(later.data[key], rng)
        first.apply(later.delta())
    assert second.fingerprint() == expected
    assert fingerprint([change.value for change in delta if change.kind != "delete"]) == written


def test_what_never_changes_is_shared_and_never_walked() -> None:
    array, text, page = np.arange(4.0), "x" * 1000, ("a", 1)
    parent = Context({"array": array, "text": text, "rows": [page, page]})
    held = parent.fork().data
    assert held["array"] is parent.fork().data["array"]
    assert held["text"] is text
    assert all(row is page for row in held["rows"])


def test_live_objects_are_refused_with_the_place() -> None:
    branch = Context().fork()
    branch.data["job"] = {"connection": object()}
    with pytest.raises(
        UnsupportedValue, match=r"data\['job'\]\['connection'\] is a builtins.object.*make it a service"
    ):
        branch.delta()


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(UnsupportedValue, match="contains itself"):
        own(loop)


@pytest.mark.parametrize(("touch", "cure"), [("read", "add it to `reads`"), ("write", "add it to `writes`")])
def test_undeclared_access_names_the_field_and_the_cure(touch: str, cure: str) -> None:
    branch = Context({"secret": 1}).fork(reads=frozenset({"open"}), writes=frozenset({"out"}))
    with pytest.raises(UndeclaredAccess, match=f"'secret'.*{cure}"):
        if touch == "read":
            _ = branch.data["secret"]
        else:
            branch.data["secret"] = 2


@given(values, values)
def test_equal_values_and_only_they_have_equal_fingerprints(first: Any, second: Any) -> None:
    assert fingerprint(own(first)[0]) == fingerprint(first)
    assert equal(first, second) == (fingerprint(first) == fingerprint(second))


@pytest.mark.parametrize(
    ("first", "second"), [(1, True), (1, 1.0), ("1", 1), ([1], (1,)), ({}, []), (None, False), ("a", b"a")]
)
def test_types_count(first: Any, second: Any) -> None:
    assert fingerprint(first) != fingerprint(second)


def test_the_order_of_mapping_keys_does_not_count() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
