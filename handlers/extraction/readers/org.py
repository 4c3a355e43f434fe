"""Org mode: headlines, paragraphs, lists, tables and blocks of code; the text stays as written."""

import re

from handlers.extraction.formats import Extracted
from handlers.records import Block

_KEYWORD = re.compile(r"(?mi)^#\+(title|author|date|description|keywords):[ \t]*(\S.*?)[ \t]*$")
_HEADLINE = re.compile(r"(\*+)[ \t]+\S")
_BEGIN = re.compile(r"[ \t]*#\+begin_(\w+)", re.IGNORECASE)
_ITEM = re.compile(r"[ \t]*(?:[-+]|\d+[.)])[ \t]|[ \t]+\*[ \t]")
_KEYS = {"author": "authors", "date": "created_at", "description": "description", "keywords": "keywords"}


def read_org(text: str) -> Extracted:
    """The text with its blocks; options such as `#+title:` also become metadata."""
    blocks: list[Block] = []
    lines = [(found.start(), found.end()) for found in re.finditer(r"[^\n]+", text)]
    at = 0
    while at < len(lines):
        start, end = lines[at]
        line = text[start:end]
        if headline := _HEADLINE.match(line):
            blocks.append(Block("heading", start, end, min(len(headline[1]), 6)))
            at += 1
            continue
        last = at
        if begin := _BEGIN.match(line):
            closing = f"#+end_{begin[1].lower()}"
            while last + 1 < len(lines) and not text[slice(*lines[last])].strip().lower().startswith(closing):
                last += 1
            kind = "code" if begin[1].lower() in ("src", "example", "export") else "paragraph"
        else:
            kind = _kind(line)
            while (
                last + 1 < len(lines)
                and lines[last + 1][0] == lines[last][1] + 1
                and _goes_on(text, lines[last + 1], kind)
            ):
                last += 1
        if line.strip() and kind:
            blocks.append(Block(kind, start, lines[last][1]))
        at = last + 1
    found = {key.lower(): value for key, value in _KEYWORD.findall(text)}
    metadata = tuple((_KEYS[key], value) for key, value in found.items() if key in _KEYS)
    return Extracted(
        text, [each for each in blocks if text[each.start : each.end].strip()], found.get("title", ""), metadata
    )


def _kind(line: str) -> str:
    if not line.strip():
        return ""
    if line.lstrip().startswith("|"):
        return "table"
    return "list" if _ITEM.match(line) else "paragraph"


def _goes_on(text: str, line: tuple[int, int], kind: str) -> bool:
    words = text[slice(*line)]
    if not words.strip() or _HEADLINE.match(words) or _BEGIN.match(words):
        return False
    found = _kind(words)
    return found == kind or (kind == "list" and words[:1].isspace())
