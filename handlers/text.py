"""The terms of a text for search: folded words without stop words, stemmed; the same for documents and queries."""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Collection, Iterator
from functools import lru_cache
from itertools import chain
from typing import cast

from handlers.compounds import located_compounds
from handlers.languages import ENGLISH, script_language, stem, stop_words

# `\w` leaves out the vowel signs and points that belong to words of Hebrew, Arabic, Indic and South-East Asian scripts.
_LETTER = (
    "(?:[^\\W_]|[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0711\u0730-\u074a\u07a6-\u07b0\u0900-\u0963"
    "\u0980-\u0dff\u0e31-\u0e4e\u0eb1-\u0ece\u0f35-\u0f39\u0f71-\u0f84\u0f90-\u0fbc\u102b-\u103e\u135d-\u135f\u17b4-\u17d3])"
)
# Joiners and soft hyphens occur inside words, and people leave them out when they search.
_INVISIBLE = "\u00ad\u200c\u200d\u2060"
_WORD = re.compile(f"{_LETTER}+(?:['’{_INVISIBLE}]{_LETTER}+)*")
_LONGEST_KEPT = 40
_ASCII_WORD = re.compile("[A-Za-z0-9]+(?:'[A-Za-z0-9]+)*")
# Scripts without spaces, and Korean, whose particles are attached to words: indexed by pairs of neighbouring
# characters.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U0003ffff]+"
)
# Many writers leave these out: Hebrew and Arabic points, the stretching of Arabic words, and invisible characters.
_OPTIONAL = re.compile(
    f"[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u0652\u0670{_INVISIBLE}]+"
)
_CONTRACTED = re.compile("'(?:s|re|ve|ll|d|m)$")
STOP_WORDS = stop_words(ENGLISH)
_DIGIT = re.compile(r"\d")


def terms(text: str, language: str = ENGLISH) -> list[str]:
    """The terms of a text in their order, repetitions included; words in the Latin script are stemmed as `language`.

    A stop word in capitals counts as a name (`US`, `WHO`, `IT`) and stays a term, in capitals, unless all words around
    it are in capitals too.
    """
    normal = unicodedata.normalize("NFKC", text)
    # Most words have the same terms everywhere, so they are cached, except very long words and scripts without spaces,
    # which rarely recur.
    found: list[tuple[str, ...] | None] = [None]
    if normal.isascii() or not _UNSPACED.search(normal):
        words = (_ASCII_WORD if normal.isascii() else _WORD).findall(normal)
        found = [_alone(word, language) if len(word) <= _LONGEST_KEPT else None for word in words]
    if None in found:
        return [term for term, _, _ in _tokens(normal, language)]
    return list(chain.from_iterable(cast("list[tuple[str, ...]]", found)))


def compounds(text: str) -> list[str]:
    """The compounds of a text in their order, repetitions included, case-folded."""
    return [name for name, _, _ in located_compounds(unicodedata.normalize("NFKC", text))]


def contains(text: str, phrase: str) -> bool:
    """Whether a text has a phrase word for word, ignoring case, compatibility forms and white space."""
    pattern = _phrase(phrase)
    return pattern is not None and pattern.search(_flat(text)) is not None


@lru_cache(maxsize=200)
def _phrase(phrase: str) -> re.Pattern[str] | None:
    flat = _flat(phrase).strip()
    before = r"(?<!\w)" if re.match(r"\w", flat) and not _UNSPACED.match(flat) else ""
    after = r"(?!\w)" if re.search(r"\w$", flat) and not _UNSPACED.match(flat[-1]) else ""
    # A number does not match inside another number: 45 is not in 0.45.
    before += r"(?<!\d[.,])" if flat[:1].isdecimal() else ""
    after += r"(?![.,]\d)" if flat[-1:].isdecimal() else ""
    return re.compile(f"{before}{re.escape(flat)}{after}") if flat else None


def _flat(text: str) -> str:
    return " ".join(_folded(unicodedata.normalize("NFKC", text)).split())


@lru_cache(maxsize=50_000)
def _alone(word: str, language: str) -> tuple[str, ...] | None:
    """The terms of a word in any context; None if they depend on the words around it."""
    found = tuple(term for term, _, _ in _of_word(word, 0, len(word), language))
    return None if any(map(str.isupper, found)) else found


def located_terms(text: str, languages: Collection[str] = (ENGLISH,)) -> list[tuple[str, int, int]]:
    """The terms of a text in these languages and its compounds, each with its range `text[start:end]`.

    They are in the order of the text; ranges may overlap.
    """
    whole = unicodedata.is_normalized("NFKC", text)
    normal, starts, origins = (text, [], []) if whole else _normalised(text)
    tokens = {token for language in languages for token in _tokens(normal, language)}
    tokens.update(located_compounds(normal))
    ordered = sorted(tokens, key=lambda token: (token[1:], token[0]))
    if whole:
        return ordered
    found: list[tuple[str, int, int]] = []
    for term, start, end in ordered:
        first, last = bisect_right(starts, start) - 1, bisect_right(starts, end - 1) - 1
        found.append((term, origins[first], origins[last + 1]))
    return found


def _normalised(text: str) -> tuple[str, list[int], list[int]]:
    """`text` in compatibility form, and the starts of each cluster of characters that change together, in that form and
    in `text`; the latter list has the end as one more entry.
    """
    parts: list[str] = []
    starts: list[int] = []
    origins: list[int] = []
    length = begin = 0
    while begin < len(text):
        end = begin + 1
        # A character that composes with the one before belongs to it: accents, vowel signs, parts of Korean syllables.
        while end < len(text) and not text[end].isascii() and _joins(text[begin:end], text[end]):
            end += 1
        part = unicodedata.normalize("NFKC", text[begin:end])
        parts.append(part)
        starts.append(length)
        origins.append(begin)
        length += len(part)
        begin = end
    return "".join(parts), starts, [*origins, len(text)]


def _joins(before: str, character: str) -> bool:
    # A halfwidth voicing mark combines in its compatibility form only.
    if unicodedata.combining(unicodedata.normalize("NFKC", character)[0]):
        return True
    # Only few characters compose without being marks, and with the last one or two before them.
    last = before[-2:]
    apart = unicodedata.normalize("NFKC", last) + unicodedata.normalize("NFKC", character)
    return unicodedata.normalize("NFKC", last + character) != apart


def _tokens(normal: str, language: str) -> Iterator[tuple[str, int, int]]:
    for match in _WORD.finditer(normal):
        yield from _of_word(normal, *match.span(), language)


def _of_word(normal: str, start: int, end: int, language: str) -> Iterator[tuple[str, int, int]]:
    if not normal[start:end].isascii():
        for run in _UNSPACED.finditer(normal, start, end):
            yield from _spaced(normal, start, run.start(), language)
            yield from _pairs(run.group(), run.start())
            start = run.end()
    yield from _spaced(normal, start, end, language)


def _spaced(normal: str, start: int, end: int, language: str) -> Iterator[tuple[str, int, int]]:
    written = normal[start:end]
    word = _folded(written)
    if not word or word.endswith("n't"):
        return
    language = script_language(word[0]) or language
    word = _CONTRACTED.sub("", word)
    if word in stop_words(language):
        if written.isupper() and len(written) > 1 and not _shouted(normal, start, end):
            yield written, start, end
    elif word:
        yield _stem(written, word, language), start, end
        if "'" in word:
            # It attaches articles and endings (l'avion, İstanbul'da), so the longer parts are separate terms too.
            for part in word.split("'"):
                if len(part) > 2 and part not in stop_words(language):
                    yield _stem(part, part, language), start, end


def _stem(written: str, word: str, language: str) -> str:
    if _DIGIT.search(word):
        return word
    if language == "turkish":
        # The stemmer recognises endings by the dots of their letters, which folding removes.
        lowered = written.replace("I", "ı").replace("İ", "i").casefold()
        return _folded(stem(_CONTRACTED.sub("", lowered.replace("’", "'")), language))
    return stem(word, language)


def _folded(word: str) -> str:
    word = word.casefold()
    if word.isascii():
        return word
    # Turkish has four letters i, which other languages fold differently; map all of them to one letter.
    return _OPTIONAL.sub("", word).replace("’", "'").replace("i\u0307", "i").replace("ı", "i")


def _shouted(text: str, start: int, end: int) -> bool:
    """Whether all words around are in capitals, as in a heading; false if there are only one or two words."""
    before = text[max(0, start - 40) : start].rpartition("\n")[2]
    after = text[end : end + 40].partition("\n")[0]
    around = before + after
    return not any(character.islower() for character in around) and len(around.split()) > 1


def _pairs(run: str, at: int) -> Iterator[tuple[str, int, int]]:
    if len(run) == 1:
        yield run, at, at + 1
    for i in range(len(run) - 1):
        yield run[i : i + 2], at + i, at + i + 2
