"""Logs, in which each line is independent, and settings (YAML, TOML, INI and properties)."""

import re

from handlers.extraction.formats import Extracted
from handlers.records import Block

_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_ESCAPED = re.compile(r"\[[0-9;]{1,12}m")
_LONGEST_BLOCK = 20_000


def read_log(text: str) -> Extracted:
    """The lines unchanged except for colour codes; cut only between lines."""
    text = _ESCAPED.sub("", _ANSI.sub("", text))
    return Extracted(text, _blocks(text, "list", [0]))


def read_settings(text: str) -> Extracted:
    """The text unchanged; it is cut where an entry of the outermost level begins."""
    starts = [found.start() for found in re.finditer(r"(?m)^(?=[^\s#;\]})-])", text)]
    return Extracted(text, _blocks(text, "code", starts))


def _blocks(text: str, kind: str, starts: list[int]) -> list[Block]:
    """The fewest blocks, each beginning at one of `starts`, that do not exceed the longest block."""
    blocks: list[Block] = []
    begin = 0
    bounds = [*starts, len(text)]
    for at, after in zip(bounds, [*bounds[1:], len(text)], strict=True):
        if at > begin and after - begin > _LONGEST_BLOCK:
            blocks += _block(text, kind, begin, at)
            begin = at
    return blocks + _block(text, kind, begin, len(text))


def _block(text: str, kind: str, start: int, end: int) -> list[Block]:
    while end > start and text[end - 1].isspace():
        end -= 1
    while start < end and text[start] == "\n":
        start += 1
    return [Block(kind, start, end)] if text[start:end].strip() else []
