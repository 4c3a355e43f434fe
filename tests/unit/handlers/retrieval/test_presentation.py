"""Highlights and near duplicates."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.records import Hit
from handlers.retrieval import highlights
from handlers.retrieval.duplicates import collapse_duplicates
from handlers.retrieval.highlighting import highlight_matches
from handlers.text import terms

LONG = "The valve opens when the pressure in the second tank rises above the limit that the operator has set before. "
WORDS = "valve pressure tank limit operator pump sensor alarm signal level flow".split()


def hit(name: str, content: str) -> Hit:
    return Hit(name, f"doc-{name}", 1.0, content, "keyword")


def shown(hits: list[Hit]) -> dict[str, list[str]]:
    return {each.id: [chunk for chunk, _ in each.duplicates] for each in hits}


def test_copies_and_near_copies_are_shown_once_with_their_best() -> None:
    copies = [hit("a", LONG * 3), hit("b", "Another text."), hit("c", (LONG * 3).upper()), hit("d", LONG * 3 + "End.")]
    found = collapse_duplicates(copies)
    assert shown(found) == {"a": ["c", "d"], "b": []}
    assert found[0].duplicates[0] == ("c", "doc-c")
    assert shown(collapse_duplicates(copies, limit=1)) == {"a": ["c", "d"]}
    assert shown(collapse_duplicates(copies, similarity=1.0)) == {"a": ["c"], "b": [], "d": []}


def test_passages_that_differ_in_a_number_are_no_duplicates() -> None:
    assert (
        len(collapse_duplicates([hit("a", LONG * 5 + "Costs 10 euros."), hit("b", LONG * 5 + "Costs 12 euros.")])) == 2
    )


def test_a_rule_and_its_opposite_are_no_duplicates() -> None:
    rule = (
        "The warranty of the seller covers all parts of the pump that were made in the works of the seller in Ghent. "
    )
    for opposite in (rule.replace("covers", "does not cover"), rule.replace("covers", "doesn’t cover")):
        hits = [hit("a", rule * 3), hit("b", rule * 2 + opposite), hit("c", rule * 3)]
        assert shown(collapse_duplicates(hits, similarity=0.5)) == {"a": ["c"], "b": []}


def test_short_and_empty_passages_collapse_only_when_equal() -> None:
    hits = [hit("a", "Yes"), hit("b", "No pump"), hit("c", "yes."), hit("d", "…"), hit("e", "!"), hit("f", "…")]
    assert shown(collapse_duplicates(hits)) == {"a": ["c"], "b": [], "d": ["f"], "e": []}
    with pytest.raises(ValueError, match="similarity must be above 0 and at most 1, not 0"):
        collapse_duplicates([], similarity=0)


@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join), max_size=12), st.integers(1, 5))
def test_collapsing_loses_nothing_and_keeps_the_order(texts: list[str], limit: int) -> None:
    hits = [hit(str(place), text) for place, text in enumerate(texts)]
    whole = collapse_duplicates(hits)
    assert sorted(each.id for each in hits) == sorted(
        name for each in whole for name in (each.id, *(chunk for chunk, _ in each.duplicates))
    )
    assert [int(each.id) for each in whole] == sorted(int(each.id) for each in whole)
    assert all(int(chunk) > int(each.id) for each in whole for chunk, _ in each.duplicates)
    assert [each.id for each in collapse_duplicates(hits, limit=limit)] == [each.id for each in whole][:limit]


def test_highlights_are_the_questions_words_in_every_form() -> None:
    text = "The pumps were pumping. 水泵站 is near; Tàpies pumped."
    [found] = highlight_matches("pump 水泵", [hit("a", text)], ["Tàpies"])
    assert [text[start:end] for start, end in found.highlights] == ["pumps", "pumping", "水泵", "Tàpies", "pumped"]


@given(st.text(max_size=60), st.data())
def test_highlights_lie_in_the_text_apart_and_in_order(text: str, data: st.DataObject) -> None:
    wanted = set(data.draw(st.lists(st.sampled_from(terms(text) or ["x"]), max_size=5)))
    places = highlights(text, wanted)
    assert bool(places) == bool(wanted & set(terms(text)))
    flat = [place for pair in places for place in pair]
    assert flat == sorted(flat)
    assert all(0 <= start < end <= len(text) for start, end in places)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(places))
