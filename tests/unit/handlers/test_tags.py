"""Valid tags, in every place where they can be written."""

import pytest

from handlers.tags import RESERVED, InvalidTag, check_tags, read_tags, tag_name


@pytest.mark.parametrize("name", ["", " team", "team ", "a=b", "a:b", "a;b"])
def test_a_name_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(InvalidTag, match="not empty and contains none of = : ;"):
        tag_name(name)


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_reserved_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidTag, match="is reserved for the system; use a name like"):
        tag_name(name)
    with pytest.raises(InvalidTag, match="'__mine' starts with '__', which is reserved"):
        tag_name("__mine")


def test_pairs_are_sorted_and_each_once() -> None:
    assert check_tags({"team": ["sea", "law", "sea"], "level": "open"}) == (
        ("level", "open"),
        ("team", "law"),
        ("team", "sea"),
    )
    for value in ("", " ", 3):
        with pytest.raises(InvalidTag, match=f"tag 'level': {value!r} is not a value"):
            check_tags({"level": [value]})  # pyright: ignore[reportArgumentType]


def test_tags_are_read_as_written_on_a_command_line() -> None:
    written = ["team=law", "when = 2026-01-01T10:00", "team=sea", "team=law"]
    assert read_tags(written) == {"team": ["law", "sea"], "when": ["2026-01-01T10:00"]}
    with pytest.raises(InvalidTag, match=r"'departmnt' is not a tag: write NAME=VALUE"):
        read_tags(["departmnt"])
    with pytest.raises(InvalidTag, match="'team=' is not a tag"):
        read_tags(["team="])
    with pytest.raises(InvalidTag, match="reserved"):
        read_tags(["__index=x"])
