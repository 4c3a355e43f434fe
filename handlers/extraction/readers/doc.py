"""DOC, Word's format from 1997 to 2003: the text by its piece table, with tables, footnotes and comments.

Source: [MS-DOC], sections 2.4.1 (retrieving text), 2.5.1 (Fib), 2.9.38 (Clx).
"""

import re
import struct

from handlers.extraction.assembly import Assembly
from handlers.extraction.formats import Extracted, RawFile, Unreadable
from handlers.extraction.readers.ole import open_ole, properties_of, stream

_WORD_97 = 0x00C1
_CODE_PAGES = {0x0411: "cp932", 0x0404: "cp950", 0x0804: "cp936", 0x0412: "cp949"}
_STORIES = ("", "Footnotes", "Headers and footers", "", "Comments", "Endnotes", "", "")
"""The parts of the document, in the order of the character counts in the header; macros and text boxes have no name."""
_FIELD = re.compile(r"\x13[^\x13\x14\x15]*\x14?([^\x13\x14\x15]*)\x15")
_OBJECTS = re.compile(r"[\x01\x02\x03\x04\x05\x08]")


def read_doc(file: RawFile) -> Extracted:
    """Paragraphs and tables of the body, then footnotes, headers, comments and text boxes; structure is not kept."""
    with open_ole(file.data, "DOC") as container:
        document = stream(container, "WordDocument")
        if len(document) < 0x1AA:
            raise Unreadable("is damaged or no DOC file: the document is missing in it")
        flags = struct.unpack_from("<H", document, 0x0A)[0]
        if struct.unpack_from("<H", document, 2)[0] < _WORD_97:
            raise Unreadable("was made by Word 95 or older; save it as DOCX")
        if flags & 0x0100:
            raise Unreadable("is protected by a password; save it without one")
        table = stream(container, "1Table" if flags & 0x0200 else "0Table")
        properties = properties_of(container)
    try:
        text = _text(document, table)
        counts = struct.unpack_from("<8i", document, 0x4C)
    except (struct.error, IndexError, ValueError) as error:
        raise Unreadable("is damaged: its text cannot be found in it") from error
    assembly = Assembly()
    at = 0
    for name, count in zip(_STORIES, counts, strict=True):
        story = _clean(text[at : at + max(0, count)])
        at += max(0, count)
        if any(map(str.isalnum, story)):
            if name:
                assembly.heading(name, 1)
            _write(story, assembly, file)
    title = properties.pop("title", "")
    return Extracted(assembly.text, assembly.blocks, title, tuple(properties.items()))


def _text(document: bytes, table: bytes) -> str:
    start, size = struct.unpack_from("<II", document, 0x01A2)
    clx = table[start : start + size]
    at = 0
    while clx[at] == 1:  # formatting of pieces
        at += 3 + struct.unpack_from("<H", clx, at + 1)[0]
    if clx[at] != 2:
        raise ValueError("no table of pieces")
    length = struct.unpack_from("<I", clx, at + 1)[0]
    pieces = clx[at + 5 : at + 5 + length]
    count = (length - 4) // 12
    positions = struct.unpack_from(f"<{count + 1}I", pieces)
    code_page = _CODE_PAGES.get(struct.unpack_from("<H", document, 6)[0], "cp1252")
    parts: list[str] = []
    for number in range(count):
        offset = struct.unpack_from("<I", pieces, 4 * (count + 1) + 8 * number + 2)[0]
        characters = positions[number + 1] - positions[number]
        if offset & 0x40000000:
            begin = (offset & 0x3FFFFFFF) // 2
            parts.append(document[begin : begin + characters].decode(code_page, "replace"))
        else:
            parts.append(document[offset : offset + 2 * characters].decode("utf-16-le", "replace"))
    return "".join(parts)


def _clean(text: str) -> str:
    """Replace fields by their results, and remove the marks of pictures and notes."""
    while (shown := _FIELD.sub(r"\1", text)) != text:
        text = shown
    text = _OBJECTS.sub("", text).replace("\x1e", "-").replace("\x1f", "").replace("\x0b", "\n").replace("\xa0", " ")
    return re.sub(r"[\x13\x14\x15]", "", text)


def _write(story: str, assembly: Assembly, file: RawFile) -> None:
    rows: list[list[str]] = []
    for paragraph in re.split(r"[\r\x0c\x0e]", story):
        file.check_time()
        if "\x07" in paragraph:
            # Each cell ends with a mark and each row with one more, so an empty cell closes a row.
            rows += [row.split("\x07") for row in paragraph.split("\x07\x07")]
            continue
        if rows:
            assembly.table(rows)
            rows = []
        assembly.add("paragraph", paragraph)
    if rows:
        assembly.table(rows)
