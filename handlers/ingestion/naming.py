"""Rules that find entities in a text: few and conservative, for ingestion and questions alike."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from handlers.text import STOP_WORDS


class EntityMention(NamedTuple):
    """The name of an entity in its canonical spelling, and its kind."""

    name: str
    kind: str


@dataclass(frozen=True)
class Usage:
    """How one document spells its words; this separates names from words that are capitalised only in titles."""

    common: frozenset[str] = frozenset()
    """Words that it also writes in lower case."""
    proper: frozenset[str] = frozenset()
    """Words that it capitalises inside sentences, at least twice, and never writes in lower case."""


_CODE = re.compile(r"^(`{3,}|~{3,}).*?(?:^\1[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[([^\]]*)\]\(")
_ITEM = re.compile(r"\s*(?:[-*+•>#|]|\d+[.)]\s|$)")
_SENTENCE = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[A-ZÀ-ÖØ-Þ0-9])|[\t|]|\s[–—-]{1,3}\s")
_WRAPPED = 50
"""A line of at least this many characters is assumed to continue on the next line."""
_LOWER = re.compile(r"(?<![\w/.@\\-])[a-zß-öø-ÿ][a-zß-öø-ÿ'’-]+(?![\w/@\\])")
_INSIDE = re.compile(r"(?<=[a-z,;] )[A-ZÀ-ÖØ-Þ][a-zß-öø-ÿ]{2,}(?![\w/@\\-])")

_MONTH = "January|February|March|April|May|June|July|August|September|October|November|December"
_WORD = r"[A-ZÀ-ÖØ-Þ](?:[\w'’-]*\w)?"
_MONEY_UNIT = r"(?: ?(?:thousand|million|billion|trillion)\b)?"
_SUFFIX = (
    "Inc|Incorporated|Corporation|Corp|Ltd|Limited|LLC|GmbH|AG|Foundation|University|Institute|Group|Committee|"
    "Consortium|Association|Society|Laboratory|Laboratories|Agency|Ministry|Council|Commission"
)
_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("URL", re.compile(r"\bhttps?://[^\s<>()\"'`\\\]|]*[^\s<>()\"'`\\\]|.,;:!?*_]")),
    ("EMAIL", re.compile(r"\b[\w.+-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}\b")),
    (
        "IDENTIFIER",
        re.compile(
            r"\b(?:CVE-\d{4}-\d{4,}|CWE-\d+|arXiv:\d{4}\.\d{4,5}|10\.\d{4,9}/[\w.()/:;-]*\w"
            r"|(?:RFC|PEP|BCP|STD|IEEE|ISO(?:/IEC)?|ISBN)[ -]?\d[\d.-]*(?<=\d))(?!\w)"
        ),
    ),
    (
        "DATE",
        re.compile(
            rf"\b(?:\d{{1,2}} (?:{_MONTH}),? \d{{4}}|(?:{_MONTH}) (?:\d{{1,2}}, ?)?\d{{4}}|\d{{4}}-[01]\d-[0-3]\d)\b"
        ),
    ),
    ("MONEY", re.compile(rf"(?:[$€£¥]|\b(?:USD|EUR|GBP|CHF) ?)\d[\d,]*(?:\.\d+)?{_MONEY_UNIT}")),
    (
        "ORG",
        re.compile(
            rf"\b(?:{_WORD} ){{1,4}}(?:{_SUFFIX})\b|\b(?:University|Institute|Ministry) of (?:{_WORD} ?){{1,3}}\b"
        ),
    ),
    ("NAME", re.compile(rf"\b{_WORD}(?: (?:(?:of|the|de|van|von|for) )?{_WORD})+\b")),
    ("NAME", re.compile(r"\b(?:[A-Z][a-z]+[A-Z]\w*|[A-Z]{2,}[a-z]{2,}\w*)\b")),
    ("ACRONYM", re.compile(r"\b[A-Z][A-Z0-9]{1,7}(?:/[A-Z][A-Z0-9]{1,7})?(?=s?\b)")),
    ("NAME", re.compile(rf"\b{_WORD}\b")),
)
_DIGIT = re.compile(r"\d")
_EXPLAINED_ACRONYM = re.compile(r"((?:[\w'’-]+[ ]){1,8})\(([A-Z][A-Z0-9]{1,7})s?\)")
_PREFIX = re.compile(r"(RFC|PEP|BCP|STD|IEEE|ISO(?:/IEC)?|ISBN)[ -]?")
_OPENERS = frozenset(
    "see also note however although since many several use using given unlike like despite every another one two "
    "three first second last next today even still thus hence please let chapter section figure table part".split()
)
_WORDS_IN_NAME = 6


def usage_in(found: Iterable[str]) -> Usage:
    """The usage of words in a document, given as segments."""
    common: set[str] = set()
    inside: Counter[str] = Counter()
    for segment in found:
        common.update(_LOWER.findall(segment))
        inside.update(_INSIDE.findall(segment))
    if "the" not in common:  # not English: other languages capitalise other words
        inside.clear()
    proper = {word for word, times in inside.items() if times > 1 and word.lower() not in common | STOP_WORDS}
    return Usage(frozenset(common), frozenset(proper - set(_MONTH.split("|"))))


def segments(text: str) -> Iterator[str]:
    """The sentences, titles, list items and table cells of a text, on one line each, without blocks of code."""
    paragraph = ""
    for line in _LINK.sub(r"\1 (", _CODE.sub("\n", text)).split("\n"):
        if _ITEM.match(line):
            yield from _sentences(paragraph)
            paragraph = line
        else:
            paragraph = f"{paragraph} {line}"
        if len(line) < _WRAPPED:
            yield from _sentences(paragraph)
            paragraph = ""
    yield from _sentences(paragraph)


def _sentences(paragraph: str) -> Iterator[str]:
    for sentence in _SENTENCE.split(paragraph):
        cleaned = " ".join(sentence.replace("**", " ").replace("’", "'").split()).lstrip("#>*+•- ")
        if cleaned:
            yield cleaned


def mentions(segment: str, usage: Usage) -> list[EntityMention]:
    """The mentions in one segment, in their order."""
    words = segment.split()
    shouted = len(words) > 3 and sum(word.isupper() for word in words) * 2 > len(words)
    taken: list[tuple[int, int]] = []
    found: list[tuple[int, EntityMention]] = []
    numbers = _DIGIT.search(segment) is not None
    for kind, pattern in _PATTERNS:
        # Check first for a character that every match contains; most segments lack it, and this is faster.
        if kind in ("IDENTIFIER", "DATE", "MONEY") and not numbers:
            continue
        if (kind == "URL" and "://" not in segment) or (kind == "EMAIL" and "@" not in segment):
            continue
        if shouted and kind in ("ORG", "NAME", "ACRONYM"):
            continue
        for match in pattern.finditer(segment):
            start, end = match.span()
            if any(start < other_end and end > other_start for other_start, other_end in taken):
                continue
            name = _canonical_name(match.group(), kind, usage, first=start == 0, words=len(words))
            if name:
                taken.append((start, end))
                found.append((start, EntityMention(name, kind)))
    return [mention for _, mention in sorted(found)]


def _canonical_name(text: str, kind: str, usage: Usage, *, first: bool, words: int) -> str:
    """The canonical spelling, or empty if it is not a name; `words` is the length of the segment."""
    match kind:
        case "IDENTIFIER":
            return _PREFIX.sub(r"\1 ", text)
        case "EMAIL":
            return text.lower()
        case "ACRONYM":
            # Two capitals alone in a cell are a code of that table; a long word in capitals is mostly emphasis.
            return "" if (len(text) == 2 and words < 4) or (len(text) > 4 and text.lower() in usage.common) else text
        case "ORG":
            name = canonical(text, first=first)
            return name if " " in name else ""
        case "NAME":
            name = canonical(text, first=first)
            parts = name.split()
            if len(parts) > _WORDS_IN_NAME or not any(re.search("[a-z]", part) for part in parts):
                return ""
            if len(parts) == 1:
                mixed = re.search(r"[a-z][A-Z]|[A-Z]{2}[a-z]{2}", name) and name.lower() not in usage.common
                return name if mixed or name in usage.proper else ""
            unusual = [part for part in parts if part.lower() not in usage.common | STOP_WORDS]
            return name if unusual else ""
        case _:
            return text


def canonical(name: str, *, first: bool = False) -> str:
    """The canonical spelling of a name: single spaces, no leading article, no possessive; `first`: it begins its
    sentence.

    Every sentence begins with a capital, so a common word there is not part of the name.
    """
    words = name.replace("’", "'").split()
    while words and (words[0].casefold() in STOP_WORDS or (first and words[0].casefold() in _OPENERS)):
        words = words[1:]
    if words:
        words[-1] = words[-1].removesuffix("'s").removesuffix("'")
    return " ".join(words).rstrip(".,;:")


def acronyms_in(segment: str) -> dict[str, str]:
    """The acronyms that a segment explains, as in `write-ahead log (WAL)`, with the term that each stands for."""
    if "(" not in segment:
        return {}
    found = {short: _expansion(long, short) for long, short in _EXPLAINED_ACRONYM.findall(segment)}
    return {short: long for short, long in found.items() if long}


def _expansion(long: str, short: str) -> str:
    """The end of `long` whose initials, with or without those of small words, spell `short`; empty if none does."""
    words = long.split()
    for start in range(len(words) - 1, -1, -1):
        if words[start].casefold() in STOP_WORDS:
            continue
        parts = [part for word in words[start:] for part in word.split("-") if part]
        every = "".join(part[0] for part in parts)
        main = "".join(part[0] for part in parts if part.casefold() not in STOP_WORDS)
        if short in (every.upper(), main.upper()) and len(parts) > 1:
            return " ".join(words[start:])
    return ""


def mentions_and_meanings(segment: str, usage: Usage) -> list[EntityMention]:
    """The mentions of a segment, and the acronyms and terms that it explains."""
    meanings = acronyms_in(segment)
    found = mentions(segment, usage)
    known = {mention.name for mention in found}
    shorts = [EntityMention(short, "ACRONYM") for short in meanings if short not in known]
    return [*found, *shorts, *(EntityMention(long, "TERM") for long in meanings.values() if long not in known)]
