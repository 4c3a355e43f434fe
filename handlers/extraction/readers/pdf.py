"""PDF: headings, paragraphs and lists page by page, then what fills its forms and stands in its annotations."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from handlers.extraction.assembly import Assembly
from handlers.extraction.formats import Extracted, RawFile
from handlers.extraction.pdfium import open_page, open_pdf
from handlers.extraction.readers.pdf_annotations import notes_of
from handlers.extraction.readers.pdf_lines import Line, lines_of

_BULLET = re.compile(r"\s*(?:[-–•‣◦▪●○■□➢✓*·\uf0b7\uf0a7]|\(?\d{1,2}[.)]|\(?[a-z][.)])\s+\S")
_HEADING_RATIO = 1.15
_LONGEST_HEADING = 200
_LETTERS_OF_SCAN = 20
"""A page number or a stamp may stand on a scan."""
_SHARE_OF_SCAN = 0.2
_LEAST_SHARE = 0.01
_DATES = {"CreationDate": "created_at", "ModDate": "modified_at"}
_PROPERTIES = {"Author": "authors", "Subject": "subject", "Keywords": "keywords"}


def read_pdf(file: RawFile) -> Extracted:
    """A block for each paragraph with its page; headers and footers stay where they stand."""
    pages: list[list[Line]] = []
    notes: list[list[str]] = []
    scanned: list[int] = []
    with open_pdf(file.data) as pdf:
        for number in range(len(pdf)):
            file.check_time()
            page = open_page(pdf, number)
            pages.append(lines_of(page))
            notes.append(notes_of(pdf, page))
            if _is_scan(page, pages[-1]):
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
    """Whether a page shows a picture and no text, or one that fills a good part of it, and next to no text."""
    from pypdfium2 import raw

    letters = sum(sum(map(str.isalnum, line.text)) for line in lines)
    if letters > _LETTERS_OF_SCAN:
        return False
    width, height = page.get_size()
    for image in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=4):
        left, bottom, right, top = image.get_bounds()
        share = _SHARE_OF_SCAN if letters else _LEAST_SHARE
        if (right - left) * (top - bottom) > share * width * height:
            return True
    return False


def _vocabulary(pages: Sequence[Sequence[Line]]) -> Counter[str]:
    """How often each word stands in the middle of a line, hyphens inside words included."""
    words: Counter[str] = Counter()
    for lines in pages:
        for line in lines:
            words.update(line.text.lower().split()[1:-1])
    return words


def _heading_levels(pages: Sequence[Sequence[Line]]) -> dict[float, int]:
    """The level of each font size that is clearly larger than the one that most letters have."""
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
    if abs(step) < 0.5 * size:  # cells of a row, or what a wide gap parts
        return True
    usual = paragraph[0].bottom - paragraph[1].bottom if len(paragraph) > 1 else 1.45 * size
    return 0 < step <= max(min(usual * 1.25, 2.2 * size), 1.3 * size) and line.left < last.right


def _joined(lines: Sequence[Line], words: Counter[str]) -> str:
    """The lines of a paragraph as one; a word that a line's end divides is whole again."""
    text = lines[0].text
    for last, line in pairwise(lines):
        if last.hyphenated and text.endswith("-"):
            before, after = text[:-1].rpartition(" ")[2].lower(), line.text.partition(" ")[0].lower()
            keeps = f"{before}-{after}" in words and f"{before}{after}" not in words
            text = (text if keeps or not after[:1].isalpha() or line.text[:1].isupper() else text[:-1]) + line.text
        elif abs(last.bottom - line.bottom) < 0.5 * max(last.size, line.size):
            text += "\t" + line.text
        else:
            text += "\n" + line.text
    return text


def _date(value: str) -> str:
    found = re.match(r"D:(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?", value)
    if not found:
        return value
    year, month, day, hour, minute, second = (part or "" for part in found.groups())
    date = "-".join(filter(None, (year, month, day)))
    return f"{date}T{hour}:{minute}:{second or '00'}" if hour and minute else date
