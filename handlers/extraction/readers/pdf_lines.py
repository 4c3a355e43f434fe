"""The lines of a PDF's page: PDFium's characters, put together where letters were placed one by one."""

from collections.abc import Iterator
from ctypes import byref, c_double
from dataclasses import dataclass
from typing import Any

_LINE_END = "\x02"
"""PDFium's mark of a hyphen at the end of a line."""
_LIGATURES = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"})
# TeX's fonts have ligatures where others have control characters, and some files do not say what those are.
_TEX_LIGATURES = {11: "ff", 12: "fi", 13: "fl", 14: "ffi", 15: "ffl"}
_HYPHENS = "-\u00ad\u2010"
_SAME_LINE = 0.35
"""How far apart, in font sizes, letters may stand above each other on one line."""
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
    left, right, bottom, top = c_double(), c_double(), c_double(), c_double()
    run: list[_Letter] = []
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
        # Small caps and the like change the size, and some files scale all letters: their height says more.
        size = raw.FPDFText_GetFontSize(handle, at)
        x, y = c_double(), c_double()
        raw.FPDFText_GetCharOrigin(handle, at, byref(x), byref(y))
        if not (shown[0] - 1 <= right.value and left.value <= shown[2] + 1):
            continue
        if not (shown[1] - 1 <= top.value and bottom.value <= shown[3] + 1):
            continue
        run.append(_Letter(_TEX_LIGATURES.get(code) or chr(code), left.value, right.value, y.value, size))
        if chr(code) == _LINE_END:
            yield run
            run = []
    if run:
        yield run
    textpage.close()


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
