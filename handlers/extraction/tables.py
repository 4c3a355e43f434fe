"""`extract_tables`: tables of all formats as Markdown; in PDF, tables are found by their ruling lines."""

import io
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from flows.author import Call, handler
from handlers.extraction.artifacts import FoundArtifact, collect, read_again
from handlers.extraction.assembly import to_markdown_table
from handlers.extraction.formats import PDF
from handlers.extraction.parsing import parsed
from handlers.extraction.pdfium import open_page, open_pdf
from handlers.records import Artifact, Document

logger = logging.getLogger(__name__)


@handler(writes="tables", effects=())
def extract_tables(
    documents: Sequence[Document], *, max_pages: int = 200, seconds_per_document: float = 20.0, call: Call
) -> tuple[Artifact, ...]:
    """The tables of all documents as Markdown, in order.

    In PDF, only pages with ruling lines are searched: the first `max_pages` of them, for at most `seconds_per_document`
    seconds of CPU time. Tables that were left out are logged.
    """

    def find(document: Document) -> Iterator[FoundArtifact]:
        if document.mime_type != PDF:
            yield from tables_of_blocks(document)
        else:
            data = read_again(document, call)
            found = parsed(call, tables_of_pdf, data, max_pages, seconds_per_document)
            if found.remark:
                logger.warning("%s: %s", document.name, found.remark)
            for table, page in found.tables:
                yield FoundArtifact(table, page=page)

    return collect(documents, "table", find, call)


def tables_of_blocks(document: Document) -> Iterator[FoundArtifact]:
    """The tables that are already part of the text."""
    for block in document.blocks:
        if block.kind == "table":
            yield FoundArtifact(document.text[block.start : block.end], page=block.page)


class _Ruling(NamedTuple):
    horizontal: int
    vertical: int
    boxes: int


class PdfTables(NamedTuple):
    """The tables of a PDF with their pages, and the omissions for the log."""

    tables: list[tuple[str, int]]
    remark: str = ""


def tables_of_pdf(data: bytes, max_pages: int, seconds: float) -> PdfTables:
    """The tables between ruling lines, as Markdown.

    pdfminer fails with many kinds of errors on files that PDFium can read. Their text, including the text in tables,
    has been read by then, so such a file only has no tables.
    """
    import pdfplumber
    from pdfminer.pdfexceptions import PDFException

    started = time.thread_time()
    found: list[tuple[str, int]] = []
    candidates = _ruled_pages(data)
    if not candidates:
        return PdfTables(found)
    try:
        with pdfplumber.open(io.BytesIO(data)) as pdf:
            for done, number in enumerate(candidates):
                if done >= max_pages or time.thread_time() - started > seconds:
                    return PdfTables(found, f"searched {done} of {len(candidates)} pages for tables")
                page = pdf.pages[number]
                for rows in page.extract_tables():
                    if table := _as_table(rows):
                        found.append((table, number + 1))
                page.close()  # frees the objects that pdfplumber keeps for every letter
    except (PDFException, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        return PdfTables(found, f"its tables cannot be read ({type(error).__name__}: {error})")
    return PdfTables(found)


def _ruled_pages(data: bytes) -> list[int]:
    """Numbers, from 0, of the pages that have lines in both directions, or boxes.

    PDFium counts a page's lines in a millisecond; pdfplumber takes a tenth of a second to look at it. Guessing tables
    without vertical lines from how words are aligned was tried: it took ordinary paragraphs for tables.
    """
    with open_pdf(data) as pdf:
        rulings = [_ruling(pdf, number) for number in range(len(pdf))]
    return [
        number
        for number, found in enumerate(rulings)
        if (found.horizontal >= 2 and found.vertical >= 2) or found.boxes >= 4
    ]


def _ruling(pdf: Any, number: int) -> _Ruling:
    from pypdfium2 import raw

    horizontal = vertical = boxes = 0
    page = open_page(pdf, number)
    for path in page.get_objects(filter=[raw.FPDF_PAGEOBJ_PATH], max_depth=4):
        left, bottom, right, top = path.get_bounds()
        width, height = right - left, top - bottom
        horizontal += width > 20 and height < 3
        vertical += height > 8 and width < 3
        boxes += width > 20 and height > 8
    page.close()
    return _Ruling(horizontal, vertical, boxes)


def _as_table(rows: Sequence[Sequence[str | None]]) -> str:
    """The table as Markdown; empty if it is only a frame around text."""
    table = to_markdown_table([[cell or "" for cell in row] for row in rows])
    lines = table.split("\n")
    filled = sum(bool((cell or "").strip()) for row in rows for cell in row)
    return table if len(lines) >= 3 and lines[1].count("---") >= 2 and filled >= 4 else ""
