"""The lines of a PDF page, assembled from PDFium's characters, even if letters were placed one by one."""

import unicodedata
from collections.abc import Iterable, Iterator
from ctypes import byref, c_double, c_int, create_string_buffer
from dataclasses import dataclass, replace
from math import atan2, hypot, pi
from typing import Any, NamedTuple

_LINE_END = "\x02"
"""PDFium's mark of a hyphen at the end of a line."""
_LIGATURES = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"})
_LONGEST_FONT_NAME = 200
# TeX's fonts have ligatures at the codes of control characters, and some files lack the mapping.
_TEX_LIGATURES = {11: "ff", 12: "fi", 13: "fl", 14: "ffi", 15: "ffl"}
_WIDTH_OF_FFI, _WIDTH_OF_FI = 0.68, 0.4
_HYPHENS = "-\u00ad\u2010"
_SAME_LINE = 0.35
"""The largest vertical distance, in font sizes, between letters of one line."""
_OTHER_LINE = 0.6
_WORD_GAP = 0.2
_RAISED = 0.2
_SMALL = 0.8
_LARGEST_GAP = 1.5
_DIRECTIONS = {"L": "right", "R": "left", "AL": "left"}
_UNKNOWN = ord(" ")
"""Replaces a letter that cannot be decoded, so that the rest of its word is not joined to another word."""
_ODD_SIZE = 1000.0


@dataclass
class Line:
    """Text on one baseline; positions in points, from the left and from below."""

    text: str
    left: float
    right: float
    bottom: float
    size: float
    hyphenated: bool = False


@dataclass(frozen=True)
class _Letter:
    text: str
    left: float
    right: float
    bottom: float
    size: float


class PageText(NamedTuple):
    """The lines of a page, and how many of its letters cannot be decoded."""

    lines: list[Line]
    unknown: int


def text_of(page: Any) -> PageText:
    """The lines of a page in the order in which the file draws them."""
    textpage = page.get_textpage()
    unknown = _unknown_letters(textpage)
    found = PageText(_lines(_runs(page, textpage, unknown)), len(unknown))
    textpage.close()
    return found


def _lines(runs: Iterable[list[_Letter]]) -> list[Line]:
    lines: list[Line] = []
    for run in runs:
        line = _line(run)
        if line is None:
            continue
        last = lines[-1] if lines else None
        if last is not None and _goes_on(last, line):
            spaced = line.left - last.right > _WORD_GAP * max(last.size, line.size)
            last.text += (" " if spaced else "") + line.text
            last.right, last.hyphenated = line.right, line.hyphenated
        else:
            lines.append(line)
    return lines


def _runs(page: Any, textpage: Any, unknown: set[int]) -> Iterator[list[_Letter]]:
    """The letters between two breaks found by PDFium, without letters outside the visible part of the page."""
    from pypdfium2 import raw

    shown = page.get_bbox()
    handle = textpage.raw
    left, right, bottom, top, x, y = (c_double() for _ in range(6))
    matrix = raw.FS_MATRIX()
    run: list[_Letter] = []
    quarters = 0
    for at in range(textpage.count_chars()):
        code = _UNKNOWN if at in unknown else raw.FPDFText_GetUnicode(handle, at)
        if code in (10, 13) and raw.FPDFText_IsGenerated(handle, at):
            if run:
                yield run
                run = []
            continue
        if code in (0xFFFE, 0xFFFF):
            continue
        raw.FPDFText_GetCharBox(handle, at, byref(left), byref(right), byref(bottom), byref(top))
        raw.FPDFText_GetCharOrigin(handle, at, byref(x), byref(y))
        if not (shown[0] - 1 <= right.value and left.value <= shown[2] + 1):
            continue
        if not (shown[1] - 1 <= top.value and bottom.value <= shown[3] + 1):
            continue
        # Some files have fonts of size 1 and put the actual size into the matrix.
        raw.FPDFText_GetMatrix(handle, at, matrix)
        size = raw.FPDFText_GetFontSize(handle, at) * hypot(matrix.c, matrix.d)
        if not run:
            quarters = round(atan2(matrix.b, matrix.a) / (pi / 2)) % 4
        begin, end, base = _turned(quarters, (left.value, bottom.value, right.value, top.value), x.value, y.value)
        text = _TEX_LIGATURES.get(code) or chr(code)
        if not code:
            text = _ligature((end - begin) / max(size, 0.1), before=raw.FPDFText_GetUnicode(handle, at + 1))
            if not text:
                continue
        letter = _Letter(text, begin, end, base, size)
        if run and _is_apart(run[-1], letter):
            yield run
            run = []
        elif run and _is_mark_before(run[-1], letter):
            run.append(replace(letter, text=" "))
        run.append(letter)
        if chr(code) == _LINE_END:
            yield run
            run = []
    if run:
        yield run


def _ligature(width: float, *, before: int) -> str:
    """The most likely meaning of a letter without a code before `before`: TeX's fonts may number ligatures from 0.

    `width` is in font sizes. Nothing else in the file distinguishes `ffi` from `ffl`, or `fi`, `fl` and `ff`.
    """
    if not ord("a") <= before <= ord("z") or width > 1:
        return ""
    return "ffi" if width > _WIDTH_OF_FFI else "fi" if width > _WIDTH_OF_FI else ""


def _unknown_letters(textpage: Any) -> set[int]:
    """The positions of letters that the file does not map to characters.

    For these, PDFium returns the glyph's number in its font. With one-byte numbers that is mostly the ASCII letter;
    with larger numbers it may be any letter of any script.
    """
    from pypdfium2 import raw

    by_font: dict[bytes, dict[int, int]] = {}
    name, flags = create_string_buffer(_LONGEST_FONT_NAME), c_int()
    for at in range(textpage.count_chars()):
        if raw.FPDFText_HasUnicodeMapError(textpage.raw, at) == 1:
            raw.FPDFText_GetFontInfo(textpage.raw, at, name, _LONGEST_FONT_NAME, byref(flags))
            by_font.setdefault(name.value, {})[at] = raw.FPDFText_GetUnicode(textpage.raw, at)
    return {at for codes in by_font.values() if max(codes.values()) > 0xFF for at in codes}


def _is_apart(last: _Letter, letter: _Letter) -> bool:
    """Whether PDFium has joined words from different lines, or far apart on one line."""
    if last.text.isspace() or letter.text.isspace():
        return False
    size = max(last.size, letter.size, 1.0)
    return abs(letter.bottom - last.bottom) > _OTHER_LINE * size or letter.left - last.right > _LARGEST_GAP * size


def _is_mark_before(last: _Letter, letter: _Letter) -> bool:
    """Whether `last` is a footnote mark (a small superscript digit) and `letter` begins the note."""
    raised = last.bottom - letter.bottom > _RAISED * letter.size and last.size < _SMALL * letter.size
    return raised and last.text.isdigit() and letter.text.isalpha()


def _turned(quarters: int, box: tuple[float, float, float, float], x: float, y: float) -> tuple[float, float, float]:
    """Start and end of a letter along its line, and the height of the line, with the page's rotation removed."""
    left, bottom, right, top = box
    match quarters:
        case 1:
            return bottom, top, -x
        case 2:
            return -right, -left, -y
        case 3:
            return -top, -bottom, x
        case _:
            return left, right, y


def _line(letters: list[_Letter]) -> Line | None:
    text = _with_gaps_between_directions("".join(letter.text for letter in letters))
    text = text.replace(_LINE_END, "-").translate(_LIGATURES).strip()
    hyphenated = len(text) > 1 and text[-1] in _HYPHENS and text[-2].isalnum()
    seen = [letter for letter in letters if not letter.text.isspace()]
    if not seen:
        return None
    sizes = sorted(letter.size for letter in seen)
    return Line(
        f"{text[:-1]}-" if hyphenated else text,
        min(letter.left for letter in seen),
        max(letter.right for letter in seen),
        seen[0].bottom,
        min(sizes[len(sizes) // 2], _ODD_SIZE),
        hyphenated,
    )


def _with_gaps_between_directions(text: str) -> str:
    """The text with a space where Arabic or Hebrew letters touch others: `لغةPython` are two words."""
    if text.isascii():
        return text
    found: list[str] = []
    before = ""
    for letter in text:
        direction = _DIRECTIONS.get(unicodedata.bidirectional(letter), "")
        if direction and before and direction != before:
            found.append(" ")
        found.append(letter)
        before = direction
    return "".join(found)


def _goes_on(last: Line, line: Line) -> bool:
    size = max(last.size, line.size, 1.0)
    gap = line.left - last.right
    return abs(line.bottom - last.bottom) < _SAME_LINE * size and -0.3 * size < gap < _LARGEST_GAP * size
