"""PPT, PowerPoint's format from 1997 to 2003: the texts of slides and notes, in the order of the file.

Source: [MS-PPT], sections 2.3.1 (RecordHeader), 2.9.41 to 2.9.44 (text atoms).
"""

import struct
from collections.abc import Iterator

from handlers.extraction.assembly import Assembly
from handlers.extraction.formats import Extracted, RawFile, Unreadable
from handlers.extraction.readers.ole import open_ole, properties_of, stream

_DOCUMENT, _SLIDE, _NOTES, _MASTER, _LIST = 1000, 1006, 1008, 1016, 4080
_PERSIST, _TEXT_HEADER, _CHARACTERS, _BYTES, _STRING = 1011, 3999, 4000, 4008, 4026
_TITLES = (0, 6)
_DEEPEST = 50
_ENCRYPTED = 12052
_NOTES_ATOM = 1009


def read_ppt(file: RawFile) -> Extracted:
    """A heading for each slide with a title. The page of a block is its slide's number, if the file has it.

    The texts of boxes and notes follow those of the outlines, since the file stores them separately.
    """
    with open_ole(file.data, "PPT") as container:
        data = stream(container, "PowerPoint Document")
        properties = properties_of(container)
    if not data:
        raise Unreadable("is damaged or no PPT file: the presentation is missing in it")
    assembly = Assembly()
    number = 0
    seen: set[tuple[int, str]] = set()
    for kind, place, text in _texts(data, 0, len(data), _DOCUMENT, 0):
        file.check_time()
        if kind == _ENCRYPTED:
            raise Unreadable("is protected by a password; save it without one")
        if kind == _PERSIST:
            number += 1
            continue
        key = (number if place == _LIST else place, text)
        if text.strip() in ("", "*") or key in seen:
            continue
        seen.add(key)
        page = number or None if place == _LIST else None
        if kind in _TITLES and place != _NOTES:
            assembly.heading(text, 2, page=page)
        else:
            shown = text.replace("\r", "\n")
            assembly.add("paragraph", f"Notes: {shown}" if place == _NOTES else shown, page=page)
    title = properties.pop("title", "")
    return Extracted(assembly.text, assembly.blocks, title, tuple(properties.items()))


def _texts(data: bytes, start: int, end: int, place: int, depth: int) -> Iterator[tuple[int, int, str]]:
    """Yield the kind of text, its container, and the text; also the begins of slides."""
    at, kind = start, -1
    while at + 8 <= end:
        flags, record, length = struct.unpack_from("<HHI", data, at)
        body, after = at + 8, min(end, at + 8 + length)
        if record == _ENCRYPTED:
            yield _ENCRYPTED, place, ""
        elif record == _MASTER or (record == _NOTES and _is_of_no_slide(data[body:after])):
            pass  # masters contain only prompts such as "click to edit"
        elif record == _PERSIST and place == _LIST:
            yield _PERSIST, _LIST, ""
        elif record == _TEXT_HEADER and after - body >= 4:
            kind = struct.unpack_from("<I", data, body)[0]
        elif record == _CHARACTERS:
            yield kind, place, data[body:after].decode("utf-16-le", "replace").replace("\x0b", "\n")
        elif record == _BYTES:
            yield kind, place, data[body:after].decode("latin-1").replace("\x0b", "\n")
        elif flags & 0x0F == 0x0F and depth < _DEEPEST:
            inner = record if record in (_SLIDE, _NOTES) else place
            if record == _LIST:
                # The lists of slides, masters and notes differ in their instance number.
                inner = _LIST if flags >> 4 == 0 else _MASTER
            if inner != _MASTER:
                yield from _texts(data, body, after, inner, depth + 1)
        at = body + length


def _is_of_no_slide(notes: bytes) -> bool:
    """Whether these are the notes of the master, whose first record names no slide."""
    return (
        len(notes) >= 12
        and struct.unpack_from("<H", notes, 2)[0] == _NOTES_ATOM
        and notes[8:12] in (bytes(4), b"\0\0\0\x80")
    )
