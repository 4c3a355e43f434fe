"""RTF: paragraphs, headings and tables, in the code pages of its fonts. Hidden text is left out.

Source: Rich Text Format Specification 1.9.1.
"""

import re
from dataclasses import dataclass, field, replace

from handlers.extraction.assembly import Assembly
from handlers.extraction.decoding import known_encoding
from handlers.extraction.formats import Extracted, RawFile, Unreadable

_TOKEN = re.compile(
    rb"\\([a-zA-Z]{1,32})(-?\d{1,10})? ?|\\'([0-9a-fA-F]{2})|\\([^a-zA-Z])|([{}])|[\r\n]+|([^\\{}\r\n]+)"
)
_SKIPPED = frozenset(
    "colortbl filetbl stylesheet revtbl rsidtbl generator pict object objdata themedata "
    "colorschememapping datastore latentstyles listtable listoverridetable xmlnstbl mmathPr fldinst "
    "bkmkstart bkmkend nonshppict pntxta pntxtb pgptbl wgrffmtfilter panose falt fontemb passwordhash "
    "private background ftnsep ftnsepc aftnsep aftnsepc formfield datafield sp sn sv company operator "
    "doccomm vern id annotationdate atnid atnref atntime atnparent htmltag pnseclvl shprslt do".split()
)
_AROUND = ("header", "headerl", "headerr", "headerf", "footer", "footerl", "footerr", "footerf")
_AFTER = {"footnote": "", "annotation": "Comment: "}
_INFO = {"title": "title", "author": "authors", "subject": "subject", "keywords": "keywords"}
_CHARACTERS = {
    "tab": "\t",
    "line": "\n",
    "emdash": "—",
    "endash": "–",
    "emspace": " ",
    "enspace": " ",
    "bullet": "•",
    "lquote": "‘",
    "rquote": "’",
    "ldblquote": "“",
    "rdblquote": "”",
    "softline": "\n",
}
_CHARSETS = {128: "cp932", 129: "cp949", 130: "johab", 134: "gbk", 136: "big5", 161: "cp1253", 162: "cp1254"} | {
    163: "cp1258",
    177: "cp1255",
    178: "cp1256",
    186: "cp1257",
    204: "cp1251",
    222: "cp874",
    238: "cp1250",
    77: "mac-roman",
}
_DEEPEST = 5_000


@dataclass
class _State:
    """The state that a group inherits and that is discarded at its end."""

    destination: str = ""
    font: int = 0
    skipped: int = 1
    hidden: bool = False
    in_table: bool = False


@dataclass
class _Paragraph:
    text: list[str] = field(default_factory=list[str])
    level: int = 0
    mark: str = ""


def read_rtf(file: RawFile) -> Extracted:
    """The body, with footnotes and comments after their paragraph, and headers and footers once at the end."""
    if not file.data.lstrip().startswith(b"{\\rtf"):
        raise Unreadable("is not an RTF file, despite its name")
    reader = _Reader(file)
    reader.read()
    return reader.extracted()


class _Reader:
    def __init__(self, file: RawFile) -> None:
        self._file = file
        self._assembly = Assembly()
        self._state = _State()
        self._groups: list[_State] = []
        self._code_page = "cp1252"
        self._fonts: dict[int, str] = {}
        self._pending = bytearray()
        self._ignored = 0  # how many characters after \u are its replacement in programs without Unicode
        self._destinations: dict[str, list[str]] = {}
        self._after: list[str] = []
        self._around: dict[str, None] = {}
        self._headings: dict[int, int] = {}
        self._paragraph = _Paragraph()
        self._cells: list[str] = []
        self._rows: list[list[str]] = []
        self._items: list[str] = []
        self._starts_group = False
        self._high = ""

    def read(self) -> None:
        data = self._file.data
        for number, token in enumerate(_TOKEN.finditer(data)):
            if number % 1000 == 0:
                self._file.check_time()
            word, value, character, symbol, brace, text = token.groups()
            if word is not None:
                self._flush()
                name = word.decode("ascii")
                if name == "bin" and value:
                    continue  # its bytes belong to a picture, which is skipped
                self._control(name, int(value) if value else None)
                self._starts_group = False
            elif character is not None:
                self._byte(bytes.fromhex(character.decode("ascii")))
            elif symbol is not None:
                self._symbol(symbol)
            elif brace == b"{":
                self._flush()
                if len(self._groups) > _DEEPEST:
                    raise Unreadable("is nested too deeply to be read")
                self._groups.append(self._state)
                self._state = replace(self._state)
                self._starts_group = True
            elif brace == b"}":
                self._flush()
                self._close()
            elif text is not None:
                self._byte(text)
                self._starts_group = False
        self._flush()

    def extracted(self) -> Extracted:
        self._end_paragraph()
        self._end_table()
        self._end_items()
        for text in self._around:
            self._assembly.add("paragraph", text)
        info = {key: " ".join("".join(self._destinations.get(name, [])).split()) for name, key in _INFO.items()}
        title = info.pop("title")
        metadata = tuple((key, value) for key, value in info.items() if value)
        return Extracted(self._assembly.text, self._assembly.blocks, title, metadata)

    def _control(self, word: str, value: int | None) -> None:
        state = self._state
        if word in _SKIPPED:
            state.destination = "skip"
        elif word in ("fonttbl", *_AROUND, *_AFTER, *_INFO) and self._starts_group and state.destination != "skip":
            state.destination = word
            self._destinations[word] = []
        elif word in ("pntext", "listtext") and state.destination == "":
            state.destination = "mark"
            self._destinations["mark"] = []
        elif state.destination == "skip":
            return
        match word:
            case "ansicpg" if value:
                self._code_page = known_encoding(f"cp{value}") or self._code_page
            case "mac":
                self._code_page = "mac-roman"
            case "f" if value is not None:
                state.font = value
            case "fcharset" if value is not None and state.destination == "fonttbl":
                if encoding := _CHARSETS.get(value):
                    self._fonts[state.font] = encoding
            case "cpg" if value and state.destination == "fonttbl":
                self._fonts[state.font] = known_encoding(f"cp{value}") or self._code_page
            case "uc" if value is not None:
                state.skipped = max(0, value)
            case "u" if value is not None:
                self._unicode(value & 0xFFFF)
            case "v":
                state.hidden = value != 0
            case "plain":
                state.hidden = False
            case "deleted":
                state.hidden = True
            case "outlinelevel" if value is not None:
                self._paragraph.level = value + 1 if 0 <= value < 9 else 0
            case "pard":
                self._paragraph.level, state.in_table = 0, False
            case "intbl":
                state.in_table = True
            case "par" | "sect" | "page":
                self._add("\n" if state.destination else "")
                if not state.destination:
                    self._end_paragraph()
            case "cell" | "nestcell":
                if not state.destination:
                    self._cells.append(self._taken())
            case "row" | "nestrow":
                if not state.destination and self._cells:
                    self._rows.append(self._cells)
                    self._cells = []
            case _ if word in _CHARACTERS:
                self._add(_CHARACTERS[word])
            case _:
                pass

    def _symbol(self, symbol: bytes) -> None:
        if symbol not in (b"\\", b"{", b"}"):
            self._flush()
        match symbol:
            case b"*":
                # An ignorable destination, which is read only if it is known.
                self._state.destination = self._state.destination or "optional"
            case b"~":
                self._add(" ")
            case b"_":
                self._add("-")
            case b"\\" | b"{" | b"}":
                self._byte(symbol)
            case b"\n" | b"\r":
                if not self._state.destination:
                    self._end_paragraph()
            case _:
                pass

    def _byte(self, data: bytes) -> None:
        if self._ignored:
            dropped = min(self._ignored, len(data))
            self._ignored -= dropped
            data = data[dropped:]
        self._pending += data

    def _flush(self) -> None:
        if self._pending:
            encoding = self._fonts.get(self._state.font, self._code_page)
            data, self._pending = bytes(self._pending), bytearray()
            self._add(data.decode(encoding, "replace"))

    def _unicode(self, code: int) -> None:
        self._ignored = self._state.skipped
        if 0xD800 <= code < 0xDC00:
            self._high = chr(code)
        elif self._high and 0xDC00 <= code < 0xE000:
            pair = (self._high + chr(code)).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
            self._high = ""
            self._add(pair)
        else:
            self._add(chr(code))

    def _add(self, text: str) -> None:
        state = self._state
        if state.hidden or not text or state.destination in ("skip", "fonttbl", "optional"):
            return
        (self._destinations[state.destination] if state.destination else self._paragraph.text).append(text)

    def _close(self) -> None:
        if not self._groups:
            return
        ended, self._state = self._state, self._groups.pop()
        self._ignored = 0
        name = ended.destination
        if name == self._state.destination or name not in self._destinations:
            return
        text = "".join(self._destinations[name]).strip()
        if name == "mark":
            self._paragraph.mark = text
        elif name in _AFTER and text:
            self._after.append(_AFTER[name] + " ".join(text.split()))
        elif name in _AROUND and any(map(str.isalpha, text)):
            self._around.setdefault(text)

    def _taken(self) -> str:
        text, self._paragraph = "".join(self._paragraph.text).strip(), _Paragraph()
        return text

    def _end_paragraph(self) -> None:
        if self._state.in_table:
            self._paragraph.text.append("\n")
            return
        level, mark = self._paragraph.level, self._paragraph.mark
        text = self._taken()
        self._paragraph.level = level  # it is valid until \pard
        self._end_table()
        if text and mark:
            written = mark if mark[:1].isalnum() or mark[:1] == "(" else "-"
            self._items.append(f"{written} " + text.replace("\n", "\n  "))
        elif text:
            self._end_items()
            if level:
                self._assembly.heading(text, level)
            else:
                self._assembly.add("paragraph", text)
        if self._after:
            self._end_items()
            for each in self._after:
                self._assembly.add("paragraph", each)
            self._after.clear()

    def _end_table(self) -> None:
        if self._cells:
            self._rows.append(self._cells)
            self._cells = []
        if self._rows:
            self._end_items()
            self._assembly.table(self._rows)
            self._rows = []

    def _end_items(self) -> None:
        if self._items:
            self._assembly.add("list", "\n".join(self._items))
            self._items = []
