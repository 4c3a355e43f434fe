"""Blocks of Markdown, with offsets into the text as it was written."""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from handlers.extraction.formats import Extracted
from handlers.records import Block

if TYPE_CHECKING:
    from markdown_it.token import Token

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_FRONT_MATTER_LINE = re.compile(r"^([A-Za-z][\w-]{0,40}):[ \t]*(\S.*?)[ \t]*$", re.MULTILINE)
_IMAGES_ONLY = re.compile(r"\s*(?:\[?!\[[^\]]*\](?:\([^)]*\)|\[[^\]]*\])(?:\](?:\([^)]*\)|\[[^\]]*\]))?\s*)+\Z")


def read_markdown(text: str) -> Extracted:
    """The text as it is, and its headings, paragraphs, lists, tables, code and images with a caption as blocks."""
    front = _FRONT_MATTER.match(text)
    metadata = tuple((key, value.strip("\"'")) for key, value in _FRONT_MATTER_LINE.findall(front[1])) if front else ()
    offset = front.end() if front else 0
    blocks = [
        Block(block.kind, block.start + offset, block.end + offset, block.level)
        for block in markdown_blocks(text[offset:])
    ]
    return Extracted(text, blocks, dict(metadata).get("title", ""), metadata)


def markdown_blocks(text: str) -> list[Block]:
    """The blocks of Markdown text in order; HTML, rules and link definitions belong to none."""
    # Not `splitlines`: these are the line ends that markdown-it counts.
    starts = [0, *(end.end() for end in re.finditer(r"\r\n?|\n", text)), len(text)]
    blocks: list[Block] = []
    for kind, level, first, last in _spans(parse(text)):
        start, end = _trim(text, starts[first], starts[min(last, len(starts) - 1)], keep_indent=kind == "code")
        if blocks:
            start = max(start, blocks[-1].end)
        if start >= end or (kind == "paragraph" and _IMAGES_ONLY.match(text, start, end) and "![]" in text[start:end]):
            continue
        if kind == "paragraph" and _IMAGES_ONLY.match(text, start, end):
            kind = "caption"
        blocks.append(Block(kind, start, end, level))
    return blocks


def parse(text: str) -> "Sequence[Token]":
    """The tokens of markdown-it, with tables."""
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table").parse(text)


def heading_text(line: str) -> str:
    """What a heading says, without the marks that make it one."""
    first = line.strip().split("\n", 1)[0]
    return re.sub(r"\s+#+\s*$", "", re.sub(r"^#{1,6}\s+", "", first)).strip().strip("*_").replace("`", "")


def _spans(tokens: "Iterable[Token]") -> list[tuple[str, int, int, int]]:
    """Kind, heading level, first line and line after the last one of every leaf; neighbours in one list are one."""
    spans: list[tuple[str, int, int, int]] = []
    depth, item_line, list_number = 0, None, 0
    merged_into = -1
    for token in tokens:
        match token.type:
            case "bullet_list_open" | "ordered_list_open":
                list_number += depth == 0
                depth += 1
            case "bullet_list_close" | "ordered_list_close":
                depth -= 1
            case "list_item_open":
                item_line = token.map[0] if token.map else None
            case "heading_open" | "paragraph_open" | "fence" | "code_block" | "table_open" if token.map:
                first, last = token.map
                kind, level = _KINDS[token.type], int(token.tag[1]) if token.type == "heading_open" else 0
                if depth and item_line is not None and kind == "paragraph":
                    first, item_line = min(item_line, first), None
                if depth and kind == "paragraph":
                    kind = "list"
                    if merged_into == list_number and spans[-1][0] == "list":
                        spans[-1] = ("list", 0, spans[-1][2], last)
                        continue
                    merged_into = list_number
                spans.append((kind, level, first, last))
            case _:
                pass
    return spans


_KINDS = {
    "heading_open": "heading",
    "paragraph_open": "paragraph",
    "fence": "code",
    "code_block": "code",
    "table_open": "table",
}


def _trim(text: str, start: int, end: int, *, keep_indent: bool) -> tuple[int, int]:
    while end > start and text[end - 1].isspace():
        end -= 1
    while start < end and text[start].isspace() and not (keep_indent and text[start] != "\n"):
        start += 1
    return start, end
