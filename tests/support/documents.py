"""Small real files for tests, and handler calls over a memory storage of their own."""

import io
import uuid
from collections.abc import Mapping
from typing import Any

from flows.author import Call
from flows.state import Identity, Services
from flows.storage import Storage

PNG = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"
    b"\x00\x00\x00\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\x00\x05\x00\x01\xff\x89\x99=\x1d\x00\x00\x00\x00IEND\xaeB`\x82"
)


def make_call(files: Mapping[str, bytes] | None = None) -> tuple[Call, str]:
    """A call with storage, and the root in it that holds `files`."""
    root = f"memory://{uuid.uuid4().hex}"
    storage = Storage()
    for name, data in (files or {}).items():
        storage.write(f"{root}/in/{name}", data)
    services = Services({"storage": lambda: storage, "artifacts_url": lambda: f"{root}/artifacts"})
    return Call(identity=Identity(index="test", services=services)), f"{root}/in"


def make_docx() -> bytes:
    """A heading, two paragraphs, a list, a table and a picture with an alternative text."""
    import docx

    document = docx.Document()
    document.core_properties.title = "Quarterly report"
    document.add_heading("Sales", level=1)
    document.add_paragraph("Sales grew by a third in the second quarter.")
    for item in ("North", "South"):
        paragraph: Any = document.add_paragraph(item)._p
        numbering = paragraph.get_or_add_pPr().get_or_add_numPr()
        numbering.get_or_add_ilvl().val, numbering.get_or_add_numId().val = 0, 1
    document.add_heading("Numbers", level=2)
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip(
        (c for row in table.rows for c in row.cells), ("Region", "Units", "North", "42"), strict=True
    ):
        cell.text = text
    shape = document.add_picture(io.BytesIO(PNG))
    shape._inline.docPr.set("descr", "A map of the regions")
    document.add_paragraph("That is all.")
    return _saved(document)


def make_pptx() -> bytes:
    """Three slides, of which the second has a picture."""
    import pptx
    from pptx.util import Inches

    deck: Any = pptx.Presentation()
    deck.core_properties.title = "Plans"
    for number, (title, body) in enumerate([("First", "Start here."), ("Second", "Go on."), ("Third", "Stop.")], 1):
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = body
        if number == 2:
            picture = slide.shapes.add_picture(io.BytesIO(PNG), Inches(1), Inches(1))
            picture._element.nvPicPr.cNvPr.set("descr", "The second picture")
    return _saved(deck)


def make_pdf(pages: list[str]) -> bytes:
    """Pages of Helvetica; a page's text may contain drawing operators after a form feed."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids: list[str] = []
    for text in pages:
        words, _, drawing = text.partition("\f")
        lines = " T* ".join(f"({line}) Tj" for line in words.split("\n"))
        stream = f"BT /F1 12 Tf 14 TL 72 720 Td {lines} ET {drawing}".encode("latin-1")
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % len(objects)
        )
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>".encode()
    out, offsets = b"%PDF-1.4\n", list[int]()
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    trailer = b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (size, len(out))
    return out + b"xref\n0 %d\n0000000000 65535 f \n%s%s" % (size, table, trailer)


RULED_PAGE = (
    "Above the table\f"
    + " ".join(f"72 {y} m 272 {y} l S" for y in (600, 620, 640))
    + " "
    + " ".join(f"{x} 600 m {x} 640 l S" for x in (72, 172, 272))
    + " BT /F1 10 Tf 80 625 Td (Name) Tj 100 0 Td (Size) Tj -100 -20 Td (alpha) Tj 100 0 Td (17) Tj ET"
)


def _saved(document: object) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)  # type: ignore[attr-defined]
    return buffer.getvalue()
