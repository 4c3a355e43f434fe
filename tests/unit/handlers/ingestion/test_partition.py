import re
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.errors import FatalError
from handlers.extraction.readers.markdown import read_markdown
from handlers.ingestion.partition import partition_document, partition_text
from handlers.ingestion.splitting import Span, bounded, sentences, split_prose, tail
from handlers.models import count_tokens
from handlers.records import Document
from tests.support.documents import make_call

WORDS = "the quick brown fox jumps over a lazy dog while seven wizards brew potions in old towers"
PARAGRAPHS = st.one_of(
    st.lists(st.sampled_from(WORDS.split()), min_size=1, max_size=60).map(
        lambda words: " ".join(words).capitalize() + "."
    ),
    st.sampled_from(
        ["# A", "## B b", "### C", "####### not", "```\nx = 1\n\ny = 2\n```", "- a\n- b\n  - c", "x" * 700]
    ),
    st.integers(2, 30).map(lambda n: "| k | v |\n|---|---|\n" + "\n".join(f"| key {i} | value |" for i in range(n))),
    st.text("日本語の文章です。長い！", min_size=1, max_size=200),
    st.text("مرحبا بالعالم هذا نص؟ ", min_size=1, max_size=200),
    st.text(max_size=60),
)
TEXTS = st.lists(PARAGRAPHS, min_size=1, max_size=8).map("\n\n".join)


def document_of(text: str) -> Document:
    return Document("d", "d.md", "memory://d", "D", "text/markdown", text, "0", tuple(read_markdown(text).blocks))


def pieces(text: str, **options) -> list[str]:
    return [chunk.text for chunk in partition_document(document_of(text), count_tokens, **options)]


@given(TEXTS, st.sampled_from([(8, 0), (20, 5), (60, 30)]), st.sampled_from(["tokens", "sentences"]))
def test_passages_are_exact_small_and_complete(text: str, sizes: tuple[int, int], by):
    document = document_of(text)
    chunks = partition_document(document, count_tokens, max_tokens=sizes[0], overlap_tokens=sizes[1], by=by)
    covered = set[int]()
    for position, chunk in enumerate(chunks):
        assert chunk.text == text[chunk.start : chunk.end]
        assert chunk.tokens == count_tokens(chunk.text) <= sizes[0]
        assert chunk.position == position
        covered.update(range(chunk.start, chunk.end))
    assert len({chunk.id for chunk in chunks}) == len(chunks)
    assert [chunk.end for chunk in chunks] == sorted(chunk.end for chunk in chunks)
    missing = "".join(text[i] for block in document.blocks for i in range(block.start, block.end) if i not in covered)
    assert not missing.strip()


def test_a_heading_stays_with_its_text_and_names_the_place():
    sentence = "One two three four five six seven eight nine ten. "
    text = f"# A\n\n{sentence * 4}\n\n## B\n\n{sentence * 4}\n\n## C\n\n{sentence * 9}"
    chunks = partition_document(document_of(text), count_tokens, max_tokens=60, overlap_tokens=12)
    assert [chunk.heading for chunk in chunks] == ["A", "A > B", *["A > C"] * 3]
    assert [chunk.text.split()[0] for chunk in chunks][:3] == ["#", "##", "##"]
    assert all(count_tokens(chunk.text) > 20 for chunk in chunks[:3])


def test_short_sections_are_joined_with_the_next():
    assert pieces("# A\n\nshort.\n\n## B\n\nalso short.", max_tokens=60) == ["# A\n\nshort.\n\n## B\n\nalso short."]


def test_tables_and_code_are_whole_or_cut_between_lines():
    rows = [f"| {number} | some words here |" for number in range(12)]
    small = "| a | b |\n|---|---|\n| 1 | 2 |"
    text = f"{small}\n\ntext between\n\n" + "\n".join(["| a | b |", "|---|---|", *rows])
    found = pieces(text, max_tokens=40, overlap_tokens=10)
    assert any(small in piece for piece in found)
    lines = [line for piece in found for line in piece.split("\n")]
    assert [line for line in lines if line in rows] == rows


def test_code_keeps_its_indent():
    code = "\n".join(f"    line_{number} = call({number})" for number in range(20))
    found = pieces(f"```\n{code}\n```", max_tokens=40, overlap_tokens=0)
    assert len(found) > 2
    assert all(piece.startswith("    line_") for piece in found[1:-1])


def test_prose_overlaps_at_sentences_inside_a_section():
    text = " ".join(f"Sentence number {number} says a little." for number in range(30))
    found = pieces(text, max_tokens=50, overlap_tokens=20)
    for before, after in pairwise(found):
        shared = next(n for n in range(len(after), -1, -1) if before.endswith(after[:n]))
        assert after.startswith("Sentence number")
        assert 5 <= count_tokens(after[:shared]) <= 20
    assert len(set(pieces(text, max_tokens=50, overlap_tokens=0))) < len(found) + 1


def test_sentences_are_never_cut_when_they_fit():
    text = "Dr. No ran. He fell! Did he rise? 「はい。」彼は言った。 هل نام؟ نعم. " * 6
    found = pieces(text, max_tokens=30, overlap_tokens=0, by="sentences")
    assert all(piece[-1] in ".!?。」؟" for piece in found)


def test_editing_a_paragraph_leaves_the_ids_of_other_sections_alone():
    sections = [f"## S{n}\n\n" + f"Section {n} tells about topic {n} at some length. " * 6 for n in range(6)]
    before = {chunk.id for chunk in partition_document(document_of("\n\n".join(sections)), count_tokens, max_tokens=80)}
    sections[2] = sections[2].replace("topic 2 at", "a wholly new matter at")
    after = {chunk.id for chunk in partition_document(document_of("\n\n".join(sections)), count_tokens, max_tokens=80)}
    changed = sum(
        "Section 2" in c.text
        for c in partition_document(document_of("\n\n".join(sections)), count_tokens, max_tokens=80)
    )
    assert len(after - before) == changed < len(after) / 2


def test_the_handler_goes_over_documents_in_order():
    call, _ = make_call()
    chunks = partition_text([document_of("one"), document_of("two")], call=call)
    assert [chunk.text for chunk in chunks] == ["one", "two"]
    assert (call.done, call.total) == (2, 2)


@pytest.mark.parametrize("options", [{"max_tokens": 4}, {"overlap_tokens": 200}, {"overlap_tokens": -1}])
def test_sizes_that_make_no_sense_are_refused(options):
    call, _ = make_call()
    with pytest.raises(FatalError, match=next(iter(options))):
        partition_text([], call=call, **options)


@given(
    st.lists(st.sampled_from(["storm", "unbelievably", "数据库", "x.", " ", "\n", "\x0c", "\u3000"]), max_size=60).map(
        "".join
    )
)
def test_the_overlap_is_the_longest_ending_that_fits(text: str) -> None:
    count = bounded(count_tokens, 7)
    start = tail(text, Span(0, len(text)), 7, count)
    assert start == len(text) or count(text[start:]) <= 7
    if start not in {each.start for each in sentences(text, Span(0, len(text)))}:
        words = [match.end() for match in re.finditer(r"\s+", text) if match.end() < start]
        assert all(count(text[word:]) > 7 for word in words)


@pytest.mark.parametrize("text", ["x" * 300_000, "word " * 60_000, "a,b\n" * 60_000, "数" * 200_000])
def test_a_large_text_is_never_counted_as_a_whole(text: str) -> None:
    """Counting takes a hundred times the memory of a text."""
    longest = 0

    def count(piece: str) -> int:
        nonlocal longest
        longest = max(longest, len(piece))
        return count_tokens(piece)

    chunks = partition_document(document_of(text), count)
    assert longest <= 220 * 12
    assert sum(len(chunk.text) for chunk in chunks) > len(text) * 0.7


def test_a_word_of_any_length_is_split_in_little_memory():
    text = f"Before it. {'x' * 120_000} {'ab/' * 35_000} After it."
    count = bounded(lambda text: len(text.split()) + text.count("/"), 50)
    tracemalloc.start()
    pieces = split_prose(text, Span(0, len(text)), 50, count)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "".join(text[start:end] for start, end in pieces).replace(" ", "") == text.replace(" ", "")
    assert max(count(text[start:end]) for start, end in pieces) <= 50
    assert most < 10 * len(text)
