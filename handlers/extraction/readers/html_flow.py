"""The flow of a page: collects words into paragraphs and list items, and collapses white space as browsers do."""

import re

from handlers.extraction.assembly import Assembly
from handlers.extraction.labels import described, is_direction

_SPACE = re.compile(r"[ \t\n\r\f]+")


class Flow:
    """Receives words and the begins and ends of blocks, and writes blocks into an assembly."""

    def __init__(self, assembly: Assembly, *, below: int = 0, page: int | None = None) -> None:
        self.assembly = assembly
        self._below = below
        self._page = page
        self._words: list[str] = []
        self._only_images = True
        self._lists: list[tuple[bool, int]] = []
        self._item: str | None = None
        self._items: list[str] = []

    def text(self, text: str) -> None:
        """Add words as written in the source."""
        if text:
            self._words.append(_SPACE.sub(" ", text))
            self._only_images = self._only_images and text.isspace()

    def line_break(self) -> None:
        self._words.append("\n")

    def image(self, description: str) -> None:
        words = " ".join(described(description).split())
        if words and not is_direction(words):
            self._words.append(f" {words} ")

    def inline_code(self, text: str) -> None:
        words = " ".join(text.split())
        if words and "`" not in words:
            before, after = " " * text[0].isspace(), " " * text[-1].isspace()
            self._words.append(f"{before}`{words}`{after}")
            self._only_images = False
        else:
            self.text(text)

    def superscript(self) -> None:
        """The following words are superscript; a number there does not belong to the word before."""
        self._words.append("\ue000")

    def end_block(self, kind: str = "paragraph") -> None:
        """End the current block, or the current line of the open item."""
        text = self._take()
        if not text:
            return
        if self._lists:
            self._add_line(text)
        elif not self.assembly.repeats(text):
            is_caption = kind == "caption" or self._images
            self.assembly.add("caption" if is_caption else kind, text, page=self._page)

    def end_heading(self, level: int) -> None:
        text = self._take()
        self._end_items()
        self.assembly.heading(text, level + self._below, page=self._page)

    def code(self, text: str, language: str) -> None:
        self._end_items()
        self.assembly.code(text, language, page=self._page)

    def table(self, rows: list[list[str]]) -> None:
        self._end_items()
        self.assembly.table(rows, page=self._page)

    def open_list(self, *, ordered: bool, start: str | None) -> None:
        number = int(start) if start and re.fullmatch(r"-?\d{1,6}", start.strip()) else 1
        self._lists.append((ordered, number))

    def close_list(self) -> None:
        self.end_block()
        self._item = None
        if self._lists:
            self._lists.pop()
        if not self._lists:
            self._end_items()

    def open_item(self, *, value: str | None, continues: bool) -> None:
        """Begin an item; one that `continues` (a definition) belongs to the item before and has no mark of its own."""
        if not self._lists:
            self._lists.append((False, 1))  # an item outside of a list, as in invalid pages
        ordered, number = self._lists[-1]
        if value and re.fullmatch(r"\d{1,6}", value.strip()):
            number = int(value)
        self._item = "  " if continues else f"{number}. " if ordered else "- "
        self._lists[-1] = (ordered, number + 1)

    def end(self) -> None:
        """Write out everything collected so far."""
        self.end_block()
        self._lists.clear()
        self._end_items()

    def _take(self) -> str:
        text = "".join(self._words)
        self._images = self._only_images and bool(text.strip())
        self._words.clear()
        self._only_images = True
        text = re.sub(r"(?<=\w)\ue000(?=\d)", "^", text).replace("\ue000", "").replace("\xa0", " ")
        text = re.sub(r" *\n *", "\n", re.sub(r" {2,}", " ", text))
        return re.sub(r"\n{2,}", "\n", text).strip()

    def _add_line(self, text: str) -> None:
        indent = "  " * (len(self._lists) - 1)
        mark = self._item if self._item is not None else "  "
        inner = indent + " " * len(mark)
        self._items.append(indent + mark + text.replace("\n", "\n" + inner))
        self._item = None

    def _end_items(self) -> None:
        if self._items:
            self.assembly.add("list", "\n".join(self._items), page=self._page)
            self._items.clear()
