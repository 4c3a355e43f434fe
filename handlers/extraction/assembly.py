"""Assembles a document's text piece by piece, so that the offsets of its blocks are correct by construction."""

import re
from collections.abc import Sequence
from itertools import zip_longest

from handlers.records import Block

_BULLETS = "\uf0b7\uf0a7\uf0d8\uf0fc\uf076\uf0e0\uf0a8\uf06e\uf071\u25aa\uf02d"
_UNPRINTABLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ue000-\uf8ff\ufeff\ufffe\uffff\ud800-\udfff]")
_NOT_PLAIN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ue000-\uf8ff\ufeff\ufffe\uffff\ud800-\udfff]")
_TRANSLATED = {
    **dict.fromkeys(map(ord, _BULLETS), "•"),
    **dict.fromkeys(map(ord, "\x0b\x0c\x85\u2028\u2029"), "\n"),
}


class Assembly:
    """Collects a Markdown text and its blocks; an empty line separates the pieces."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self.blocks: list[Block] = []

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def add(self, kind: str, text: str, *, level: int = 0, page: int | None = None) -> None:
        """Append a block without surrounding white space; an empty block is ignored."""
        text = printable(text)
        text = text.strip("\n").rstrip() if kind == "code" else text.strip()
        if not text:
            return
        if self._length:
            self._append("\n\n")
        start = self._length
        self._append(text)
        self.blocks.append(Block(kind, start, self._length, level, page))

    def heading(self, text: str, level: int, *, page: int | None = None) -> None:
        text, level = " ".join(printable(text).split()), min(max(level, 1), 6)
        if text:
            self.add("heading", f"{'#' * level} {text}", level=level, page=page)

    def code(self, text: str, language: str = "", *, page: int | None = None) -> None:
        if text.strip():
            fence = "`" * max(3, 1 + longest_run(text, "`"))
            self.add("code", f"{fence}{language}\n{text.strip(chr(10))}\n{fence}", page=page)

    def table(self, rows: Sequence[Sequence[str]], *, page: int | None = None) -> None:
        self.add("table", to_markdown_table(rows), page=page)

    def append(self, text: str, blocks: Sequence[Block], *, below: int = 0, page: int | None = None) -> None:
        """Append a text with its blocks; its headings are moved down by `below` levels."""
        for block in blocks:
            piece = text[block.start : block.end]
            if block.kind == "heading" and below and piece.startswith("#"):
                self.heading(piece.lstrip("#"), block.level + below, page=block.page or page)
            else:
                self.add(block.kind, piece, level=block.level, page=block.page or page)

    def repeats(self, text: str) -> bool:
        """Whether the last block has exactly this text."""
        return bool(self.blocks) and self._parts[-1] == text.strip()

    def _append(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)


def printable(text: str) -> str:
    """The text without control and private-use characters; those that mean a line break or a bullet are replaced."""
    if not _NOT_PLAIN.search(text):
        return text
    return _UNPRINTABLE.sub("", text.translate(_TRANSLATED))


def to_markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose first row is the header; short rows are padded, empty columns and rows are left out."""
    cells = [[" ".join(printable(cell).split()).replace("|", "\\|") for cell in row] for row in rows]
    columns = [column for column in zip_longest(*cells, fillvalue="") if any(column)]
    lines = [list(row) for row in zip(*columns, strict=True) if any(row)]
    if not lines:
        return ""
    lines.insert(1, ["---"] * len(columns))
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def longest_run(text: str, character: str) -> int:
    """The length of the longest run of `character`."""
    longest = run = 0
    for found in text:
        run = run + 1 if found == character else 0
        longest = max(longest, run)
    return longest
