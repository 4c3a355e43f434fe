"""The truth table of tag filters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.tags import TagFilter

TAGS = (("user", "ann"), ("department", "sales"), ("department", "export"))


@pytest.mark.parametrize(
    ("wanted", "tags", "matches"),
    [
        ({}, TAGS, True),
        ({}, (), True),
        (None, (), True),
        ({"user": "ann"}, TAGS, True),
        ({"user": "bob"}, TAGS, False),
        ({"user": "ann"}, (), False),
        ({"user": ["bob", "ann"]}, TAGS, True),
        ({"department": ["export"]}, TAGS, True),
        ({"user": "ann", "department": "sales"}, TAGS, True),
        ({"user": "ann", "department": "law"}, TAGS, False),
        ({"user": ["ann", "bob"], "department": ["law", "export"]}, TAGS, True),
        ({"user": []}, TAGS, False),
        ({"user": "Ann"}, TAGS, False),
        ({"user": ""}, TAGS, False),
        ({"project": "ann"}, TAGS, False),
    ],
)
def test_keys_are_joined_by_and_and_values_by_or(wanted, tags, matches) -> None:
    assert TagFilter.of(wanted).matches(tags) is matches


@pytest.mark.parametrize("key", ["", "a=b", "a:b", "a;b"])
def test_a_tag_name_that_cannot_be_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="tag's name is not empty and contains none of = : ;"):
        TagFilter.of({key: "x"})


def test_a_filter_does_not_depend_on_the_order_it_was_written_in() -> None:
    assert TagFilter.of({"a": ["x", "y"], "b": "z"}) == TagFilter.of({"b": ["z"], "a": ["y", "x", "y"]})
    assert bool(TagFilter.of({"a": "x"}))
    assert not TagFilter.of({})


names = st.sampled_from("abc")


@given(st.dictionaries(names, st.lists(names, max_size=3), max_size=3), st.lists(st.tuples(names, names), max_size=5))
def test_one_more_key_never_lets_more_through(wanted: dict[str, list[str]], tags: list[tuple[str, str]]) -> None:
    fewer = dict(list(wanted.items())[:-1])
    assert TagFilter.of(fewer).matches(tags) or not TagFilter.of(wanted).matches(tags)
