"""Blocks of plain text, CSV and JSON."""

import csv
import io
import json
import re
from itertools import islice

from handlers.extraction.assembly import Assembly
from handlers.extraction.formats import Extracted, Unreadable
from handlers.records import Block

_MAX_ROWS = 200_000
_UNDERLINE = re.compile(r"([=\-~^\"'*+#`:.<>_])\1{2,}\s*\Z")
_BULLET = re.compile(r"\s*(?:[-*+•‣◦·]|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)])\s+\S")
_PARAGRAPH = re.compile(r"[^\n]*\S[^\n]*(?:\n[^\n]*\S[^\n]*)*")


def read_text(text: str) -> Extracted:
    """Paragraphs are what empty lines set apart; underlined lines are headings, indented ones after `::` are code."""
    blocks: list[Block] = []
    levels: dict[str, int] = {}
    for found in _PARAGRAPH.finditer(text):
        start, end = found.span()
        paragraph = found[0]
        lines = paragraph.split("\n")
        if len(lines) > 2 and _UNDERLINE.match(lines[0]) and lines[2] == lines[0] and lines[1].strip():
            heading, mark = "\n".join(lines[:3]), "overlined " + lines[0][0]
        elif len(lines) > 1 and (under := _UNDERLINE.match(lines[1])) and len(lines[1]) >= len(lines[0].rstrip()) - 1:
            heading, mark = "\n".join(lines[:2]), under[1]
        else:
            heading, mark = "", ""
        if heading:
            level = levels.setdefault(mark, min(len(levels) + 1, 6))
            blocks.append(Block("heading", start, start + len(heading), level))
            start += len(heading) + 1
            paragraph = text[start:end]
        if paragraph.strip() and start < end:
            blocks.append(Block(_kind(paragraph, text, blocks), start, end))
    return Extracted(text, blocks)


def _kind(paragraph: str, text: str, blocks: list[Block]) -> str:
    lines = paragraph.split("\n")
    indented = all(line.startswith(("    ", "\t", "  ")) for line in lines)
    if indented and blocks and blocks[-1].kind in ("paragraph", "list", "code"):
        before = blocks[-1]
        if before.kind == "code" or text[before.start : before.end].endswith("::"):
            return "code"
    return "list" if _BULLET.match(paragraph) and len(paragraph) > 2 else "paragraph"


def read_csv(text: str, *, delimiter: str | None = None) -> Extracted:
    """The rows as one Markdown table, the first one as its header."""
    lines = text.strip("\n")
    rows = csv.reader(io.StringIO(lines), delimiter=delimiter or _delimiter(lines))
    try:
        found = list(islice(rows, _MAX_ROWS + 1))
    except csv.Error as error:
        raise Unreadable(f"is no valid CSV, line {rows.line_num}: {error}") from error
    if len(found) > _MAX_ROWS:
        raise Unreadable(f"has more than {_MAX_ROWS} rows; split it")
    assembly = Assembly()
    assembly.table(found)
    return Extracted(assembly.text, assembly.blocks, metadata=(("rows", str(max(len(found) - 1, 0))),))


def _delimiter(text: str) -> str:
    # `csv.Sniffer` takes letters for delimiters; only these occur in practice.
    lines = [line for line in text[:20_000].split("\n")[:20] if line]
    counts = {mark: [line.count(mark) for line in lines] for mark in ",;\t|"}
    return max(counts, key=lambda mark: (min(counts[mark], default=0) > 0, sum(counts[mark])))


def read_json(text: str) -> Extracted:
    """JSON as one block of code, laid out in lines."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise Unreadable(f"is no valid JSON, line {error.lineno} column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise Unreadable("is JSON that is nested too deeply") from error
    laid_out = text.strip() if "\n" in text.strip() else json.dumps(value, ensure_ascii=False, indent=2)
    title = (
        next((str(value[key]) for key in ("title", "name") if value.get(key)), "") if isinstance(value, dict) else ""
    )
    return Extracted(laid_out, _whole(laid_out), title if len(title) <= 200 else "")


def read_json_lines(text: str) -> Extracted:
    """One JSON value a line, all lines as one block of code."""
    for number, line in enumerate(text.split("\n"), 1):
        try:
            if line.strip():
                json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise Unreadable(f"is no valid JSON lines, line {number}: {error}") from error
    return Extracted(text.strip(), _whole(text.strip()))


def _whole(text: str) -> list[Block]:
    return [Block("code", 0, len(text))] if text else []
