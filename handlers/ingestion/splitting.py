"""Cuts ranges of a text to a number of tokens: by lines, sentences, separators or characters."""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias, cast

Count: TypeAlias = Callable[[str], int]
"""Returns the number of tokens of a text."""


class Span(NamedTuple):
    """The range `text[start:end]`."""

    start: int
    end: int


# WordPiece counts a word of hundreds of letters as one unknown token, so a megabyte could count as small.
_CHARACTERS_PER_TOKEN = 12
_SENTENCE_END = re.compile(
    r"(?:[.!?…]+[\"'”’»)\]]*(?=\s+(?:[^\sa-z]|$))|[。！？｡]+[”’」』）]*|[؟۔।॥።]+(?=\s|$))|\n\s*\n"
)
_LONG_WORD = 100_000
_WORD = re.compile(r"\S+")
_SPACE = re.compile(r"\s+")
_ODD_SPACE = re.compile(r"[^\S \t\n\r]")
_LINE = re.compile(r"[^\n]*\n?")


def bounded(count: Count, size: int) -> Count:
    """The count of tokens, but at least the number that a text of that length usually has.

    A text that exceeds `size` by its length alone is not tokenized, since the tokenizer needs a hundred times its size.
    """

    def counted(text: str) -> int:
        least = -(-len(text) // _CHARACTERS_PER_TOKEN)
        return least if least > size else max(count(text), least)

    return counted


def split_prose(text: str, span: Span, size: int, count: Count) -> list[Span]:
    """Ranges of at most `size` tokens, cut where `semchunk` finds the strongest separators."""
    if count(text[span.start : span.end]) <= size:
        return _stripped(text, [span])
    if len(parts := _without_long_words(text, span, size)) > 1:
        return [piece for part in parts for piece in split_prose(text, part, size, count)]
    from semchunk.semchunk import chunk

    # Not memoised, because semchunk's cache is global and never emptied.
    _, offsets = chunk(text[span.start : span.end], size, count, memoize=False, offsets=True)
    found = [
        Span(span.start + int(start), span.start + int(end)) for start, end in cast("list[tuple[int, int]]", offsets)
    ]
    return _stripped(text, [piece for one in found for piece in _fit(text, one, size, count)])


def _without_long_words(text: str, span: Span, size: int) -> list[Span]:
    """The same range in parts, so that no part has a long word, which `semchunk` would turn into a list of letters."""
    if span.end - span.start < _LONG_WORD:
        return [span]
    parts, start = list[Span](), span.start
    for word in _WORD.finditer(text, span.start, span.end):
        if word.end() - word.start() >= _LONG_WORD:
            cuts = [*range(word.start(), word.end(), size * _CHARACTERS_PER_TOKEN), word.end()]
            parts += [Span(start, word.start()), *map(Span, cuts, cuts[1:])]
            start = word.end()
    return [part for part in (*parts, Span(start, span.end)) if part.start < part.end]


def split_lines(text: str, span: Span, size: int, count: Count) -> list[Span]:
    """Ranges of at most `size` tokens, made of whole lines as far as lines fit."""
    lines = (Span(*line.span()) for line in _LINE.finditer(text, span.start, span.end) if line[0].strip())
    return _pack(text, lines, size, count)


def split_at_sentences(text: str, span: Span, size: int, count: Count) -> list[Span]:
    """One range for every sentence; one that is longer than `size` tokens is split as prose."""
    pieces = [piece for sentence in sentences(text, span) for piece in split_prose(text, sentence, size, count)]
    return _stripped(text, pieces)


def sentences(text: str, span: Span) -> list[Span]:
    """The sentences of a range without the white space between them; scripts without spaces are supported."""
    found: list[Span] = []
    start = span.start
    for end in _SENTENCE_END.finditer(text, span.start, span.end):
        found.append(Span(start, end.end()))
        start = end.end()
    return _stripped(text, [*found, Span(start, span.end)])


def tail(text: str, span: Span, size: int, count: Count) -> int:
    """The start of the longest ending of a range with at most `size` tokens, at a sentence start if possible.

    `span.end` if none fits. Never `span.start`: an overlap is a part of the text before, not all of it.
    """
    if size < 1:
        return span.end
    limit = max(span.start + 1, span.end - size * _CHARACTERS_PER_TOKEN)
    starts = [sentence.start for sentence in sentences(text, Span(span.start, span.end)) if sentence.start >= limit]
    for start in starts:
        if count(text[start : span.end]) <= size:
            return start
    words = [found.end() for found in _SPACE.finditer(text, limit, span.end) if found.end() < span.end]

    def fits(start: int) -> bool:
        return count(text[start : span.end]) <= size

    if not _ODD_SPACE.search(text, limit, span.end):
        # The count grows with every word, so a binary search finds the longest ending.
        at = bisect_left(words, True, key=fits)
        return words[at] if at < len(words) else span.end
    return next((start for start in words if fits(start)), span.end)


def _pack(text: str, pieces: Iterator[Span], size: int, count: Count) -> list[Span]:
    packed: list[Span] = []
    for piece in pieces:
        if packed and count(text[packed[-1].start : piece.end]) <= size:
            packed[-1] = Span(packed[-1].start, piece.end)
        elif count(text[piece.start : piece.end]) <= size:
            packed.append(piece)
        else:
            packed.extend(split_prose(text, piece, size, count))
    return _stripped(text, packed, keep_indent=True)


def _fit(text: str, span: Span, size: int, count: Count) -> Iterator[Span]:
    """The range itself if it fits, else the longest pieces that fit, cut between characters."""
    start, end = span
    while start < end:
        if count(text[start:end]) <= size:
            yield Span(start, end)
            return
        low, high = 1, min(end - start, size * _CHARACTERS_PER_TOKEN)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if count(text[start : start + middle]) <= size else (low, middle - 1)
        yield Span(start, start + low)
        start += low


def _stripped(text: str, spans: list[Span], *, keep_indent: bool = False) -> list[Span]:
    kept: list[Span] = []
    for start, end in spans:
        while end > start and text[end - 1].isspace():
            end -= 1
        first = start
        while start < end and text[start].isspace():
            start += 1
        # The indent of a first line belongs to it: in code it means something.
        if keep_indent and start < end:
            start = max(first, text.rfind("\n", 0, start) + 1)
        if start < end:
            kept.append(Span(start, end))
    return kept
