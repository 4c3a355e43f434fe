"""Markdown: blocks with offsets into the text as written; only HTML blocks are converted to Markdown."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from handlers.extraction.assembly import Assembly
from handlers.extraction.formats import Extracted, RawFile
from handlers.extraction.readers.html import write_fragment
from handlers.records import Block

if TYPE_CHECKING:
    from markdown_it.token import Token

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_FRONT_MATTER_LINE = re.compile(r"^([A-Za-z][\w-]{0,40}):[ \t]*(\S.*?)[ \t]*$", re.MULTILINE)
_FOOTNOTE = re.compile(r"^ {0,3}\[\^[^\]\n]+\]:[ \t]*\S[^\n]*", re.MULTILINE)
_IMAGES_ONLY = re.compile(r"\s*(?:\[?!\[[^\]]*\](?:\([^)]*\)|\[[^\]]*\])(?:\](?:\([^)]*\)|\[[^\]]*\]))?\s*)+\Z")


def read_markdown(text: str) -> Extracted:
    """The text, and its front matter, headings, paragraphs, lists, tables, code and images with a caption as blocks."""
    front = _FRONT_MATTER.match(text)
    metadata = tuple((key, value.strip("\"'")) for key, value in _FRONT_MATTER_LINE.findall(front[1])) if front else ()
    offset = front.end() if front else 0
    body = _without_html(text[offset:])
    text = text[:offset] + body
    blocks: list[Block] = []
    if front and front[1].strip():
        blocks.append(Block("paragraph", *_trim(text, *front.span(1), keep_indent=False)))
    blocks += [
        Block(block.kind, block.start + offset, block.end + offset, block.level) for block in markdown_blocks(body)
    ]
    return Extracted(text, blocks, dict(metadata).get("title", ""), metadata)


def markdown_blocks(text: str) -> list[Block]:
    """The blocks of Markdown text in order; comments, horizontal rules and link definitions belong to no block."""
    starts = _line_starts(text)
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
    return list(_with_gaps(text, blocks))


def _line_starts(text: str) -> list[int]:
    # Not `splitlines`, because markdown-it counts only these line ends.
    return [0, *(end.end() for end in re.finditer(r"\r\n?|\n", text)), len(text)]


def _with_gaps(text: str, blocks: Sequence[Block]) -> Iterator[Block]:
    """The blocks plus any text between them, since footnotes look like link definitions."""
    position = 0
    for block in (*blocks, Block("end", len(text), len(text))):
        for gap in _FOOTNOTE.finditer(text, position, block.start):
            yield Block("paragraph", *gap.span())
        if block.kind != "end":
            yield block
        position = block.end


def _without_html(text: str) -> str:
    """The text with its blocks of HTML as Markdown; those without text, such as comments, stay."""
    if "<" not in text:
        return text
    starts = _line_starts(text)
    parts: list[str] = []
    position = 0
    for token in parse(text):
        if token.type != "html_block" or token.map is None or token.level:
            continue
        start, end = starts[token.map[0]], starts[min(token.map[1], len(starts) - 1)]
        written = Assembly()
        write_fragment(text[start:end], written, RawFile(b""))
        if start >= position and written.text:
            parts += [text[position:start], written.text, "\n\n" if end < len(text) else ""]
            position = end
    return "".join((*parts, text[position:]))


def parse(text: str) -> "Sequence[Token]":
    """The tokens of markdown-it, with tables."""
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table").parse(text)


def heading_text(line: str) -> str:
    """The text of a heading, without its marks."""
    first = line.strip().split("\n", 1)[0]
    return re.sub(r"\s+#+\s*$", "", re.sub(r"^#{1,6}\s+", "", first)).strip().strip("*_").replace("`", "")


def _spans(tokens: "Iterable[Token]") -> list[tuple[str, int, int, int]]:
    """Kind, heading level, first and end line (exclusive) of every leaf; neighbouring items of a list are joined."""
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
            case "html_block" if not (token.map and _says_something(token.content)):
                pass
            case "heading_open" | "paragraph_open" | "fence" | "code_block" | "table_open" | "html_block" if token.map:
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
    "html_block": "paragraph",
}


def _says_something(html: str) -> bool:
    return any(map(str.isalnum, re.sub(r"<!--.*?(?:-->|\Z)|<[^>]*>?", "", html, flags=re.DOTALL)))


def _trim(text: str, start: int, end: int, *, keep_indent: bool) -> tuple[int, int]:
    while end > start and text[end - 1].isspace():
        end -= 1
    while start < end and text[start].isspace() and not (keep_indent and text[start] != "\n"):
        start += 1
    return start, end
