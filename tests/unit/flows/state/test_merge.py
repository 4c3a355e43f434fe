"""Merging: declared order, never completion order; conflicts refused; nothing lost."""

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import pytest

from flows.errors import MergeConflict, OrchestrationError, UnknownName
from flows.state import Change, Context, merge_deltas, resolve_reducer
from flows.state.merge import reducer
from flows.state.values import DEEP


def branches_of(parent: Context, *changes: Any) -> list:
    made = []
    for number, change in enumerate(changes, start=1):
        branch = parent.fork()
        change(branch)
        made.append((f"branch_{number}", branch.delta()))
    return made


def test_the_lost_update_is_not_lost() -> None:
    # The comparable system copied each branch's whole snapshot over the parent: {'a': 'old', 'b': 'new_by_h2'}.
    parent = Context({"a": "old", "b": "old"})

    def first(branch: Context) -> None:
        branch.data["a"] = "new_by_h1"

    def second(branch: Context) -> None:
        branch.data["b"] = "new_by_h2"

    merge_deltas(parent, branches_of(parent, first, second))
    assert dict(parent.data) == {"a": "new_by_h1", "b": "new_by_h2"}


def test_changes_of_different_keys_deep_inside_both_stay() -> None:
    parent = Context({"stats": {"pages": {"a": 1}, "gone": 1}})

    def first(branch: Context) -> None:
        branch.data["stats"]["pages"]["b"] = 2

    def second(branch: Context) -> None:
        del branch.data["stats"]["gone"]

    merge_deltas(parent, branches_of(parent, first, second))
    assert parent.data["stats"] == {"pages": {"a": 1, "b": 2}}


def test_a_conflict_names_both_branches_field_values_and_cure() -> None:
    parent = Context({"title": "old"})

    def write(text: str) -> Any:
        return lambda branch: branch.data.__setitem__("title", text)

    with pytest.raises(MergeConflict) as caught:
        merge_deltas(parent, branches_of(parent, write("x"), write("y")))
    message = str(caught.value)
    for part in ("'branch_1'", "'branch_2'", "'title'", "'x'", "'y'", "reducers: {title: namespaced}"):
        assert part in message
    assert parent.data["title"] == "old"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda d: d["m"].__setitem__("k", 1), lambda d: d.__setitem__("m", 5)),
        (lambda d: d.pop("m"), lambda d: d["m"].__setitem__("k", 1)),
        (lambda d: d["l"].append(1), lambda d: d.__setitem__("l", [9])),
        (lambda d: d.pop("m"), lambda d: d.__setitem__("m", {"other": 1})),
    ],
)
def test_changes_of_one_place_conflict_whichever_comes_first(first: Any, second: Any) -> None:
    for one, other in permutations([first, second]):
        parent = Context({"m": {"k": 0}, "l": [0]})
        deltas = branches_of(parent, lambda b, f=one: f(b.data), lambda b, f=other: f(b.data))
        with pytest.raises(MergeConflict):
            merge_deltas(parent, deltas)


def test_equal_writes_agree_and_appends_add_up_in_declared_order() -> None:
    parent = Context({"seen": [0], "flag": 0})

    def change(number: int) -> Any:
        def apply(branch: Context) -> None:
            branch.data["flag"] = 1
            branch.data["seen"].append(number)

        return apply

    merge_deltas(parent, branches_of(parent, change(1), change(2), change(3)))
    assert dict(parent.data) == {"seen": [0, 1, 2, 3], "flag": 1}


@pytest.mark.parametrize(
    ("name", "before", "written", "after"),
    [
        ("append", [0], [[0, 1], [0, 2]], [0, 1, 2]),
        ("append", None, ["x", "y"], ["x", "y"]),
        ("sum", 10, [11, 15], 16),
        ("sum", None, [1, 2], 3),
        ("max", 3, [7, 5], 7),
        ("min", 3, [7, 5], 3),
        ("replace", 0, ["first", "last"], "last"),
        ("namespaced", None, ["v1", "v2"], {"branch_1": "v1", "branch_2": "v2"}),
        (
            "union_by(id)",
            None,
            [[{"id": 1, "by": "a"}], [{"id": 1, "by": "b"}, {"id": 2}]],
            [{"id": 1, "by": "a"}, {"id": 2}],
        ),
    ],
)
def test_reducers(name: str, before: Any, written: list, after: Any) -> None:
    parent = Context({} if before is None else {"field": before})
    deltas = branches_of(parent, *(lambda b, v=value: b.data.__setitem__("field", v) for value in written))
    merge_deltas(parent, deltas, reducers={"field": name})
    assert parent.data["field"] == after


def test_a_reducer_of_ones_own() -> None:
    @reducer("longest_in_test")
    def longest(base: str | None, values: Sequence[str]) -> str:
        return max([base or "", *values], key=len)

    parent = Context({"name": "ab"})
    deltas = branches_of(parent, *(lambda b, v=v: b.data.__setitem__("name", v) for v in ("abcd", "x")))
    merge_deltas(parent, deltas, reducers={"name": "longest_in_test"})
    assert parent.data["name"] == "abcd"


def test_a_reducer_that_changes_its_values_changes_no_branch() -> None:
    @reducer("careless")
    def combine(base: Any, written: Any) -> Any:
        base["seen"].append("reducer")
        for each in written:
            each["seen"].clear()
        return base

    parent = Context({"log": {"seen": ["start"]}})
    delta = (Change("set", ("data", "log"), {"seen": ["a"]}, owned=DEEP),)
    merge_deltas(parent, [("a", delta)], reducers={"log": "careless"})
    assert delta[0].value == {"seen": ["a"]}
    assert parent.data["log"] == {"seen": ["start", "reducer"]}


def test_an_unknown_reducer_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="no reducer named 'apend'; did you mean 'append'"):
        resolve_reducer("apend")


@pytest.mark.parametrize("name", ["sum", "max", "min"])
@pytest.mark.parametrize("written", [[None, 1], ["a", 1], [{"x": 1}, [2]]])
def test_a_reducer_that_cannot_combine_the_values_names_them(name: str, written: list[Any]) -> None:
    parent = Context()
    deltas = branches_of(parent, *(lambda b, v=value: b.data.__setitem__("field", v) for value in written))
    with pytest.raises(OrchestrationError, match=f"the reducer '{name}' cannot combine 'field': TypeError"):
        merge_deltas(parent, deltas, reducers={"field": name})
    assert "field" not in parent.data


def test_a_reducer_of_ones_own_may_raise_anything() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise ValueError("no text")

    @reducer("odd_in_test")
    def odd(base: Any, values: Sequence[Any]) -> Any:
        raise Odd

    parent = Context()
    deltas = branches_of(parent, *(lambda b, v=v: b.data.__setitem__("name", v) for v in ("a", "b")))
    with pytest.raises(OrchestrationError, match="'odd_in_test' cannot combine 'name': Odd: .*cannot be shown"):
        merge_deltas(parent, deltas, reducers={"name": "odd_in_test"})


def test_lines_of_the_log_and_lists_of_a_tag_are_joined_without_being_asked() -> None:
    parent = Context()

    def write(name: str, *topics: str) -> Any:
        def work(branch: Context) -> None:
            branch.log(name, "was here")
            branch.tags["topics"] = [*branch.tags.get("topics", []), *topics]

        return work

    merge_deltas(parent, branches_of(parent, write("a", "x", "y"), write("b", "y", "z")))
    merge_deltas(parent, branches_of(parent, write("c", "x"), write("d", "w")))
    assert [entry.writer for entry in parent.log_entries] == ["a", "b", "c", "d"]
    assert parent.tags["topics"] == ["x", "y", "z", "w"]


def test_a_tag_that_is_no_list_conflicts_and_the_named_reducer_combines_it() -> None:
    parent = Context()
    deltas = branches_of(parent, *(lambda b, v=v: b.tags.__setitem__("level", v) for v in (1, 2)))
    with pytest.raises(MergeConflict, match=r"`reducers: \{tags\.level: namespaced\}`"):
        merge_deltas(parent, deltas)
    merge_deltas(parent, deltas, reducers={"tags.level": "max"})
    assert parent.tags["level"] == 2


def test_results_are_united_by_id_without_being_asked() -> None:
    parent = Context()

    def add(*ids: int) -> Any:
        return lambda branch: branch.results.extend({"id": one} for one in ids)

    merge_deltas(parent, branches_of(parent, add(1, 2), add(2, 3)))
    assert [hit["id"] for hit in parent.results] == [1, 2, 3]


def test_what_an_earlier_branch_wrote_may_be_overwritten_by_one_that_saw_it() -> None:
    parent = Context({"x": 0})
    first = parent.fork()
    first.data["x"] = 1
    base = parent.fork()
    base.apply(first.delta())
    second = base.fork()
    second.data["x"] = 2
    merge_deltas(parent, [("a", first.delta()), ("b", second.delta())], ordered=lambda i, j: (i, j) == (0, 1))
    assert parent.data["x"] == 2
