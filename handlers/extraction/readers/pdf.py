"""PDF: per page headings, paragraphs and lists, then form values and annotations."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from handlers.extraction.assembly import Assembly
from handlers.extraction.formats import Extracted, RawFile
from handlers.extraction.pdfium import open_page, open_pdf
from handlers.extraction.readers.pdf_annotations import draw_buttons, notes_of
from handlers.extraction.readers.pdf_lines import Line, text_of

_BULLET = re.compile(r"\s*(?:[-–•‣◦▪●○■□➢✓*·\uf0b7\uf0a7]|\(?\d{1,2}[.)]|\(?[a-z][.)])\s+\S")
_HEADING_RATIO = 1.15
_LONGEST_HEADING = 200
_LETTERS_OF_SCAN = 20
"""The most letters on a scanned page, which may have a page number or a stamp."""
_SHARE_OF_SCAN = 0.2
_LEAST_SHARE = 0.01
_EDGES = re.compile(r"^\W+|\W+$")
"""The punctuation around a word: brackets, quotes, full stops."""
_LEAST_PART = 4
"""The fewest letters of a word part; shorter words are part of others by chance (`con-text`)."""
_DATES = {"CreationDate": "created_at", "ModDate": "modified_at"}
_PROPERTIES = {"Author": "authors", "Subject": "subject", "Keywords": "keywords"}


def read_pdf(file: RawFile) -> Extracted:
    """A block for each paragraph with its page; headers and footers stay in place."""
    pages: list[list[Line]] = []
    notes: list[list[str]] = []
    scanned: list[int] = []
    unknown_letters = 0
    with open_pdf(file.data) as pdf:
        for number in range(len(pdf)):
            file.check_time()
            page = open_page(pdf, number)
            notes.append(notes_of(page))
            if draw_buttons(page):
                page.close()
                page = open_page(pdf, number)
            lines, unknown = text_of(page)
            pages.append(lines)
            unknown_letters += unknown
            if unknown > _letters(lines) or _is_scan(page, lines):
                scanned.append(number + 1)
            page.close()
        properties: dict[str, str] = pdf.get_metadata_dict(skip_empty=True)
    assembly = Assembly()
    words = _vocabulary(pages)
    levels = _heading_levels(pages)
    for number, lines in enumerate(pages, 1):
        for paragraph in _paragraphs(lines, levels):
            text = _joined(paragraph, words)
            level = levels.get(round(paragraph[0].size, 1), 0)
            if level and len(text) <= _LONGEST_HEADING and any(map(str.isalpha, text)):
                assembly.heading(text, level, page=number)
            else:
                assembly.add("list" if _BULLET.match(text) else "paragraph", text, page=number)
        for note in notes[number - 1]:
            assembly.add("paragraph", note, page=number)
    metadata = [(key, properties[name]) for name, key in _PROPERTIES.items() if properties.get(name, "").strip()]
    metadata += [(key, _date(properties[name])) for name, key in _DATES.items() if properties.get(name)]
    metadata.append(("page_count", str(len(pages))))
    if unknown_letters:
        metadata.append(("unknown_letters", str(unknown_letters)))
    title = " ".join(properties.get("Title", "").split())
    return Extracted(
        assembly.text,
        assembly.blocks,
        "" if title == "untitled" else title,
        tuple(metadata),
        scanned_pages=tuple(scanned),
        page_count=len(pages),
    )


def _is_scan(page: Any, lines: Sequence[Line]) -> bool:
    """Whether a page shows a picture and no text, or a large picture and hardly any text."""
    from pypdfium2 import raw

    letters = _letters(lines)
    if letters > _LETTERS_OF_SCAN:
        return False
    width, height = page.get_size()
    for image in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=4):
        left, bottom, right, top = image.get_bounds()
        share = _SHARE_OF_SCAN if letters else _LEAST_SHARE
        if (right - left) * (top - bottom) > share * width * height:
            return True
    return False


def _letters(lines: Sequence[Line]) -> int:
    return sum(sum(map(str.isalnum, line.text)) for line in lines)


def _vocabulary(pages: Sequence[Sequence[Line]]) -> Counter[str]:
    """How often each word occurs in the lines, with hyphens and in parts, without the halves of divided words."""
    words: Counter[str] = Counter()
    for lines in pages:
        for at, line in enumerate(lines):
            first = 1 if at and lines[at - 1].hyphenated else 0
            whole = line.text.lower().split()[first : -1 if line.hyphenated else None]
            words.update(_EDGES.sub("", word) for word in whole)
            words.update(part for word in whole if "-" in word for part in _EDGES.sub("", word).split("-"))
    return words


def _heading_levels(pages: Sequence[Sequence[Line]]) -> dict[float, int]:
    """The heading level of each font size that is clearly larger than the most common one."""
    letters: Counter[float] = Counter()
    for lines in pages:
        for line in lines:
            letters[round(line.size, 1)] += len(line.text)
    if not letters:
        return {}
    body = letters.most_common(1)[0][0]
    larger = sorted((size for size in letters if size >= body * _HEADING_RATIO), reverse=True)
    return {size: min(rank, 6) for rank, size in enumerate(larger, 1)}


def _paragraphs(lines: Sequence[Line], levels: dict[float, int]) -> list[list[Line]]:
    paragraphs: list[list[Line]] = []
    for line in lines:
        if paragraphs and _belongs(paragraphs[-1], line, levels):
            paragraphs[-1].append(line)
        else:
            paragraphs.append([line])
    return paragraphs


def _belongs(paragraph: Sequence[Line], line: Line, levels: dict[float, int]) -> bool:
    last = paragraph[-1]
    if levels.get(round(last.size, 1), 0) != levels.get(round(line.size, 1), 0):
        return False
    if abs(last.size - line.size) > 0.25 * max(last.size, line.size) or _BULLET.match(line.text):
        return False
    size = max(last.size, line.size)
    step = last.bottom - line.bottom
    if abs(step) < 0.5 * size:  # cells of a row, or text separated by a wide gap
        return True
    usual = paragraph[0].bottom - paragraph[1].bottom if len(paragraph) > 1 else 1.45 * size
    return 0 < step <= max(min(usual * 1.25, 2.2 * size), 1.3 * size) and line.left < last.right


def _joined(lines: Sequence[Line], words: Counter[str]) -> str:
    """The lines of a paragraph as one text; words divided at a line's end are rejoined."""
    text = lines[0].text
    for last, line in pairwise(lines):
        if last.hyphenated and text.endswith("-"):
            keeps = line.text[:1].isupper() or _keeps_hyphen(text, line.text, words)
            text = (text if keeps else text[:-1]) + line.text
        elif abs(last.bottom - line.bottom) < 0.5 * max(last.size, line.size):
            text += "\t" + line.text
        else:
            text += "\n" + line.text
    return text


def _keeps_hyphen(before: str, after: str, words: Counter[str]) -> bool:
    """Whether the hyphen between two lines belongs to the word, as in `carbon-free`.

    It does if the document has the hyphenated word elsewhere, or if the parts are words of the document and the joined
    word is not.
    """
    first = _EDGES.sub("", before[:-1].rsplit(None, 1)[-1].lower())
    second = _EDGES.sub("", after.split(None, 1)[0].lower())
    if not second[:1].isalpha():
        return True
    if f"{first}{second}" in words:
        return False
    parts = (first.rpartition("-")[2], second.partition("-")[0])
    return f"{first}-{second}" in words or all(len(part) >= _LEAST_PART and part in words for part in parts)


def _date(value: str) -> str:
    found = re.match(r"D:(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?", value)
    if not found:
        return value
    year, month, day, hour, minute, second = (part or "" for part in found.groups())
    date = "-".join(filter(None, (year, month, day)))
    return f"{date}T{hour}:{minute}:{second or '00'}" if hour and minute else date
