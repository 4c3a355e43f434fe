"""Paths of steps: their parts, enclosing and inner paths, and their order."""

import copy
import json
import pickle

import pytest

from flows.model import StepPath


@pytest.mark.parametrize(
    ("path", "plain", "item", "around"),
    [
        ("", "", "", []),
        ("4", "4", "", []),
        ("3[2].0", "3.0", "[2]", ["3", "3[2]"]),
        ("3[2].0[11].1", "3.0.1", "[2][11]", ["3", "3[2]", "3[2].0", "3[2].0[11]"]),
        ("1/0[4]", "1/0", "[4]", ["1", "1/0"]),
        ("2:1.0", "2:1.0", "", ["2", "2:1"]),
    ],
)
def test_parts_of_a_path(path: str, plain: str, item: str, around: list[str]) -> None:
    parted = StepPath(path)
    assert (parted.plain, parted.item, list(parted.around)) == (plain, item, around)
    assert all(parted.inside(outer) for outer in around)
    assert parted.inside(path)
    assert parted.inside("")


@pytest.mark.parametrize("other", ["1", "10", "1.10", "1.1.0", "11", "1[1]"])
def test_nothing_is_inside_what_only_begins_alike_or_is_further_in(other: str) -> None:
    assert StepPath("1.1").inside(other) is (other == "1")


@pytest.mark.parametrize(
    ("id", "step"), [("embed", "embed"), ("0.embed[2][0]", "0.embed"), ("sub.embed[1f0a.1]", "sub.embed")]
)
def test_the_step_of_an_id_and_of_a_key(id: str, step: str) -> None:
    assert StepPath(id).step == step


def test_paths_sort_in_declared_order() -> None:
    paths = ["10", "3[10]", "3", "3[2].0", "3[2]", "2/1", "2:1.0", "2"]
    assert sorted(paths, key=lambda path: StepPath(path).sort_key) == [
        "2",
        "2/1",
        "2:1.0",
        "3",
        "3[2]",
        "3[2].0",
        "3[10]",
        "10",
    ]


def test_what_is_in_an_item_has_the_item_in_its_path() -> None:
    item = StepPath("3").of_item(2)
    assert item == "3[2]"
    assert StepPath("3.0.1").moved("3", item) == "3[2].0.1"
    assert StepPath("0").moved("", "3[2]/") == "3[2]/0"


def test_a_path_is_plain_text_wherever_it_is_stored() -> None:
    path = StepPath("3[2].0")
    assert json.dumps({path: path}) == '{"3[2].0": "3[2].0"}'
    assert pickle.loads(pickle.dumps(path)).plain == copy.deepcopy(path).plain == "3.0"
    assert path in {"3[2].0": 1}
