"""Putting a document's text together piece by piece, so that the offsets of its blocks are right by construction."""

from collections.abc import Sequence
from itertools import zip_longest

from handlers.records import Block


class Assembly:
    """Grows a text, in Markdown, and its blocks; pieces are set apart by an empty line."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self.blocks: list[Block] = []

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def add(self, kind: str, text: str, *, level: int = 0, page: int | None = None) -> None:
        """Append a block; white space around it is dropped, and an empty one altogether."""
        text = text.strip("\n").rstrip() if kind == "code" else text.strip()
        if not text:
            return
        if self._length:
            self._append("\n\n")
        start = self._length
        self._append(text)
        self.blocks.append(Block(kind, start, self._length, level, page))

    def heading(self, text: str, level: int, *, page: int | None = None) -> None:
        text, level = " ".join(text.split()), min(max(level, 1), 6)
        if text:
            self.add("heading", f"{'#' * level} {text}", level=level, page=page)

    def code(self, text: str, language: str = "", *, page: int | None = None) -> None:
        if text.strip():
            fence = "`" * max(3, 1 + longest_run(text, "`"))
            self.add("code", f"{fence}{language}\n{text.strip(chr(10))}\n{fence}", page=page)

    def table(self, rows: Sequence[Sequence[str]], *, page: int | None = None) -> None:
        self.add("table", to_markdown_table(rows), page=page)

    def repeats(self, text: str) -> bool:
        """Whether the last block says just this."""
        return bool(self.blocks) and self._parts[-1] == text.strip()

    def _append(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)


def to_markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose first row is the header; short rows are filled up, empty columns and rows left out."""
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    columns = [column for column in zip_longest(*cells, fillvalue="") if any(column)]
    lines = [list(row) for row in zip(*columns, strict=True) if any(row)]
    if not lines:
        return ""
    lines.insert(1, ["---"] * len(columns))
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def longest_run(text: str, character: str) -> int:
    """How often `character` stands in a row, at most."""
    longest = run = 0
    for found in text:
        run = run + 1 if found == character else 0
        longest = max(longest, run)
    return longest
