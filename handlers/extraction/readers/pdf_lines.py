"""The lines of a PDF's page: PDFium's characters, put together where letters were placed one by one."""

from collections.abc import Iterator
from ctypes import byref, c_double
from dataclasses import dataclass
from math import atan2, hypot, pi
from typing import Any

_LINE_END = "\x02"
"""PDFium's mark of a hyphen at the end of a line."""
_LIGATURES = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"})
# TeX's fonts have ligatures where others have control characters, and some files do not say what those are.
_TEX_LIGATURES = {11: "ff", 12: "fi", 13: "fl", 14: "ffi", 15: "ffl"}
_HYPHENS = "-\u00ad\u2010"
_SAME_LINE = 0.35
"""How far apart, in font sizes, letters may stand above each other on one line."""
_OTHER_LINE = 0.6
_WORD_GAP = 0.2
_LARGEST_GAP = 1.5
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


def lines_of(page: Any) -> list[Line]:
    """The lines of a page in the order in which the file draws them."""
    lines: list[Line] = []
    for run in _runs(page):
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


def _runs(page: Any) -> Iterator[list[_Letter]]:
    """The letters between two breaks that PDFium finds; those outside of the page's visible part are left out."""
    from pypdfium2 import raw

    textpage = page.get_textpage()
    shown = page.get_bbox()
    handle = textpage.raw
    left, right, bottom, top, x, y = (c_double() for _ in range(6))
    matrix = raw.FS_MATRIX()
    run: list[_Letter] = []
    quarters = 0
    for at in range(textpage.count_chars()):
        code = raw.FPDFText_GetUnicode(handle, at)
        if code in (10, 13) and raw.FPDFText_IsGenerated(handle, at):
            if run:
                yield run
                run = []
            continue
        if not code or code in (0xFFFE, 0xFFFF):
            continue
        raw.FPDFText_GetCharBox(handle, at, byref(left), byref(right), byref(bottom), byref(top))
        raw.FPDFText_GetCharOrigin(handle, at, byref(x), byref(y))
        if not (shown[0] - 1 <= right.value and left.value <= shown[2] + 1):
            continue
        if not (shown[1] - 1 <= top.value and bottom.value <= shown[3] + 1):
            continue
        # Some files have fonts of size 1, and all the size in the matrix.
        raw.FPDFText_GetMatrix(handle, at, matrix)
        size = raw.FPDFText_GetFontSize(handle, at) * hypot(matrix.c, matrix.d)
        if not run:
            quarters = round(atan2(matrix.b, matrix.a) / (pi / 2)) % 4
        begin, end, base = _turned(quarters, (left.value, bottom.value, right.value, top.value), x.value, y.value)
        letter = _Letter(_TEX_LIGATURES.get(code) or chr(code), begin, end, base, size)
        if run and _is_apart(run[-1], letter):
            yield run
            run = []
        run.append(letter)
        if chr(code) == _LINE_END:
            yield run
            run = []
    if run:
        yield run
    textpage.close()


def _is_apart(last: _Letter, letter: _Letter) -> bool:
    """Whether PDFium has joined what stands on two lines, or far apart on one."""
    if last.text.isspace() or letter.text.isspace():
        return False
    size = max(last.size, letter.size, 1.0)
    return abs(letter.bottom - last.bottom) > _OTHER_LINE * size or letter.left - last.right > _LARGEST_GAP * size


def _turned(quarters: int, box: tuple[float, float, float, float], x: float, y: float) -> tuple[float, float, float]:
    """Where a letter begins and ends along its line, and how high the line stands, as if it were not turned."""
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
    text = "".join(letter.text for letter in letters)
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


def _goes_on(last: Line, line: Line) -> bool:
    size = max(last.size, line.size, 1.0)
    gap = line.left - last.right
    return abs(line.bottom - last.bottom) < _SAME_LINE * size and -0.3 * size < gap < _LARGEST_GAP * size
