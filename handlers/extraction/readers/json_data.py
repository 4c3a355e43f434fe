"""JSON and JSON Lines, indented for reading; numbers and duplicate keys are kept as written."""

import json
import re
from collections.abc import Iterator
from typing import Any

from handlers.extraction.assembly import printable
from handlers.extraction.formats import Extracted, Unreadable
from handlers.records import Block

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")
_LONGEST_LINE = 2_000


def read_json(text: str) -> Extracted:
    """JSON as one indented block of code; escaped characters are decoded."""
    try:
        value = _parse(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and (lines := _as_lines(text)) is not None:
            return lines
        raise Unreadable(f"is not valid JSON, line {error.lineno} column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise Unreadable("is JSON that is nested too deeply") from error
    stripped = text.strip()
    is_laid_out = "\n" in stripped and max(map(len, stripped.split("\n"))) <= _LONGEST_LINE
    laid_out = _STRING.sub(_unescaped, stripped) if is_laid_out else "".join(_lay_out(stripped))
    title = ""
    if isinstance(value, dict):
        named = (value[key] for key in ("title", "name") if isinstance(value.get(key), str))
        title = printable(" ".join(next(named, "").split()))
    return Extracted(laid_out, _whole(laid_out), title if len(title) <= 200 else "")


def read_json_lines(text: str) -> Extracted:
    """JSON Lines (one value per line) as one block of code."""
    for number, line in enumerate(text.split("\n"), 1):
        try:
            if line.strip():
                _parse(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise Unreadable(f"is not valid JSON lines, line {number}: {error}") from error
    written = _STRING.sub(_unescaped, text.strip())
    return Extracted(written, _whole(written))


def _parse(text: str) -> Any:
    # Numbers stay strings: Python refuses those of more than 4,300 digits, and rounds others.
    return json.loads(text, parse_int=str, parse_float=str)


def _as_lines(text: str) -> Extracted | None:
    try:
        return read_json_lines(text)
    except Unreadable:
        return None


def _lay_out(text: str) -> Iterator[str]:
    depth = 0
    tokens = [found[0] for found in _TOKEN.finditer(text)]
    for before, token, after in zip(["", *tokens], tokens, [*tokens[1:], ""], strict=False):
        match token:
            case "{" | "[":
                depth += after not in ("}", "]")
                yield token if after in ("}", "]") else f"{token}\n{'  ' * depth}"
            case "}" | "]":
                depth -= before not in ("{", "[")
                yield token if before in ("{", "[") else f"\n{'  ' * depth}{token}"
            case ",":
                yield f",\n{'  ' * depth}"
            case ":":
                yield ": "
            case _:
                yield _unescape(token) if token.startswith('"') else token


def _unescaped(found: re.Match[str]) -> str:
    return _unescape(found[0])


def _unescape(literal: str) -> str:
    """A string for reading: `\n` becomes a line break, and half a surrogate pair becomes U+FFFD."""
    if "\\" not in literal:
        return literal
    value = _SURROGATE.sub("\ufffd", json.loads(literal, strict=False))
    written = json.dumps(value, ensure_ascii=False)
    return re.sub(r"(?<!\\)((?:\\\\)*)\\([ntrf])", lambda escape: escape[1] + _BREAKS[escape[2]], written)


_BREAKS = {"n": "\n", "t": "\t", "r": "\n", "f": "\n"}


def _whole(text: str) -> list[Block]:
    return [Block("code", 0, len(text))] if text else []
