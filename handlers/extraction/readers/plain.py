"""Plain text: paragraphs, underlined headings, lists, and code after `::`."""

import re

from handlers.extraction.formats import Extracted
from handlers.records import Block

_UNDERLINE = re.compile(r"([=\-~^\"'*+#`:.<>_])\1{2,}\s*\Z")
_BULLET = re.compile(r"\s*(?:[-*+•‣◦·]|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)])\s+\S")
_PARAGRAPH = re.compile(r"[^\n]*\S[^\n]*(?:\n[^\n]*\S[^\n]*)*")


def read_text(text: str) -> Extracted:
    """Empty lines separate paragraphs; underlined lines are headings, indented lines after `::` are code."""
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
