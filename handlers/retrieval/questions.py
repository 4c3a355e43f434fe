"""Parses a typed question: words, "phrases", exact names, -words, word*, tag:value, AND, NOT."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field

from handlers.text import compounds

_PART = re.compile(
    r"(?P<no>(?<!\S)-(?=[^\W\d_]|[\"“]))?"
    r"(?:(?P<tag>(?<!\S)[^\W\d_][\w.-]*):(?=[^\s:/\\])(?:\"(?P<value>[^\"]*)\"|(?P<plain>[^\s\"]+))"
    r"|[\"“„](?P<phrase>[^\"“”]*)[\"”“]|(?P<word>[^\s\"“”„]+))"
)
_PREFIX = re.compile(r"[^\W_]{2,}\*")
_SHORT = 3
"""The most words of a question that is also searched as one phrase."""


@dataclass(frozen=True)
class TypedQuestion:
    """The parts of a question by how they were typed."""

    text: str
    """The question in plain words, without exclusions, tags and operators."""
    phrases: tuple[str, ...] = ()
    """Phrases to find word for word: quoted ones, or a short question as a whole."""
    compounds: tuple[str, ...] = ()
    """Names and numbers to be found as they are typed (see `handlers.compounds`)."""
    prefixes: tuple[str, ...] = ()
    none: tuple[str, ...] = ()
    """Words and phrases that must not occur."""
    tags: tuple[tuple[str, str], ...] = ()
    """Names and values of tags that a document must have."""


@dataclass
class _Parts:
    words: list[str] = field(default_factory=list[str])
    phrases: list[str] = field(default_factory=list[str])
    prefixes: list[str] = field(default_factory=list[str])
    none: list[str] = field(default_factory=list[str])
    tags: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


def read_typed(query: str, is_tag: Callable[[str], bool] = lambda name: False) -> TypedQuestion:
    """The parts of a question; a question with only exclusions is read as ordinary words.

    `name:value` is a tag if `is_tag(name)` is true, else ordinary words.
    """
    normal = " ".join(unicodedata.normalize("NFKC", query).split())
    parts = _parts_of(normal, is_tag)
    text = " ".join(parts.words)
    if not text and not parts.tags:
        return TypedQuestion(" ".join(parts.none))
    # With operators, quotes or tags, the remaining words are not searched as one phrase.
    whole = text if text == normal and len(text.split()) <= _SHORT else ""
    if len(parts.words) == 1 and not parts.phrases and not parts.prefixes:
        whole = text
    phrases = [*parts.phrases, whole] if whole and not compounds(whole) else parts.phrases
    return TypedQuestion(
        text,
        tuple(dict.fromkeys(phrases)),
        _typed_names(text),
        tuple(dict.fromkeys(parts.prefixes)),
        tuple(dict.fromkeys(parts.none)),
        tuple(parts.tags),
    )


def _parts_of(text: str, is_tag: Callable[[str], bool]) -> _Parts:
    parts = _Parts()
    shouted = text.isupper() and len(text.split()) > 2
    negated = False
    for match in _PART.finditer(text):
        word, phrase = match["word"], match["phrase"]
        if word in ("AND", "OR", "NOT") and not shouted:
            negated = word == "NOT"
            continue
        if match["no"] or negated:
            parts.none.append(phrase if phrase is not None else match.group().removeprefix("-"))
        elif match["tag"] and is_tag(match["tag"]):
            parts.tags.append((match["tag"], match["value"] or match["plain"] or ""))
        elif match["tag"] or word is None:
            if phrase is not None and phrase.strip():
                parts.phrases.append(phrase.strip())
            parts.words += (phrase if phrase is not None else match.group()).split()
        elif _PREFIX.fullmatch(word):
            parts.prefixes.append(word[:-1])
            parts.words.append(word[:-1])
        else:
            parts.words.append(word)
        negated = False
    return parts


def _typed_names(text: str) -> tuple[str, ...]:
    """The compounds, and the words that have digits and letters; of compounds inside others, the outer ones."""
    found = list(dict.fromkeys(compounds(text)))
    outer = [name for name in found if not any(name != other and name in other for other in found)]
    mixed = [word for word in re.findall(r"[^\W_]+", text.casefold()) if re.search(r"\d", word) and not word.isdigit()]
    return tuple(dict.fromkeys([*outer, *(word for word in mixed if not any(word in name for name in outer))]))
