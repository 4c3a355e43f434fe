"""PDF: whole words in the order of the page, and what people filled in."""

from collections.abc import Sequence

import pytest

from handlers.extraction import Extracted, RawFile, Unreadable, extract_images, extract_tables, extract_text
from handlers.extraction.readers.pdf import read_pdf
from handlers.sources import list_sources
from tests.support.documents import make_call, make_pdf


def read(data: bytes) -> Extracted:
    return read_pdf(RawFile(data))


def page(operators: str, annotations: Sequence[str] = ()) -> bytes:
    """One page that is drawn by these operators, in Helvetica as /F1."""
    data = make_pdf([f"\f{operators}"])
    if annotations:
        written = " ".join(f"<< /Type /Annot /Rect [0 0 10 10] {each} >>" for each in annotations)
        data = data.replace(b"/Type /Page ", f"/Type /Page /Annots [{written}] ".encode("latin-1"))
    return data


def at(x: float, y: float, text: str, size: int = 12) -> str:
    return f"BT /F1 {size} Tf {x} {y} Td ({text}) Tj ET "


def texts(data: bytes) -> list[tuple[str, str]]:
    found = read(data)
    return [(block.kind, found.text[block.start : block.end]) for block in found.blocks]


@pytest.mark.parametrize(
    ("operators", "expected"),
    [
        (" ".join(at(100 + 6.7 * n, 700, letter) for n, letter in enumerate("Pump")), [("paragraph", "Pump")]),
        (
            at(100, 700, "one") + at(100, 685, "two") + at(100, 600, "far"),
            [("paragraph", "one\ntwo"), ("paragraph", "far")],
        ),
        (
            at(72, 700, "Left") + at(72, 685, "goes on") + at(320, 700, "Right"),
            [("paragraph", "Left\ngoes on"), ("paragraph", "Right")],
        ),
        (
            at(100, 700, "Title", 20) + at(100, 670, "words " * 9),
            [("heading", "# Title"), ("paragraph", ("words " * 9).strip())],
        ),
        (at(100, 700, "- one") + at(100, 685, "- two"), [("list", "- one"), ("list", "- two")]),
        (at(100, 700, "a") + at(100, 690, "b"), [("paragraph", "a\nb")]),
        (at(100, 700, "outside") + at(-500, 700, "beyond"), [("paragraph", "outside")]),
    ],
)
def test_lines_and_paragraphs(operators: str, expected: list[tuple[str, str]]):
    assert texts(page(operators)) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["the depart-", "ment"], "the department"),
        (["Rhine-", "Westphalia"], "Rhine-Westphalia"),
        (["a well-known man is well-", "known"], "a well-known man is well-known"),
        (["pages 10-", "12"], "pages 10-12"),
    ],
)
def test_words_that_a_line_divides_are_whole(lines: list[str], expected: str):
    operators = " ".join(at(100, 700 - 14 * number, line) for number, line in enumerate(lines))
    assert read(page(operators)).text == expected


def test_form_values_and_comments_arrive():
    annotations = [
        "/Subtype /Widget /FT /Tx /T (name) /TU (Full name) /V (Ann Example)",
        "/Subtype /Widget /FT /Btn /T (box) /V /Off",
        "/Subtype /Text /Contents (Check this)",
        "/Subtype /FreeText /Contents (Typed on the page) /DA (/F1 12 Tf)",
        "/Subtype /Link /Contents (not shown)",
    ]
    assert texts(page(at(100, 700, "Form"), annotations))[1:] == [
        ("paragraph", "Full name: Ann Example"),
        ("paragraph", "Comment: Check this"),
        ("paragraph", "Typed on the page"),
    ]


def test_a_broken_page_is_this_document_s_reason():
    broken = make_pdf(["one", "two"]).replace(b"/Kids [5 0 R 7 0 R]", b"/Kids [5 0 R 77 0 R]")
    if broken == make_pdf(["one", "two"]):
        pytest.fail("the pages of the test's file are numbered in another way")
    with pytest.raises(Unreadable, match="is damaged: page 2 of 2 cannot be loaded"):
        read(broken)
    call, root = make_call({"broken.pdf": broken, "good.pdf": make_pdf(["fine"])})
    documents = extract_text(list_sources(root, call=call), call=call)["documents"]
    assert [document.name for document in documents] == ["good.pdf"]
    assert extract_tables(documents, call=call) == extract_images(documents, call=call) == ()


def test_one_document_that_breaks_later_costs_no_other():
    call, root = make_call(
        {"a.pdf": make_pdf(["one", "two"]), "b.pdf": make_pdf(["x\f" + "72 600 m 272 600 l S " * 4])}
    )
    documents = list(extract_text(list_sources(root, call=call), call=call)["documents"])
    call.services["storage"].write(documents[0].uri, b"%PDF-1.4 nothing")
    assert extract_tables(documents, call=call) == ()
    assert [failure.item for failure in call.failures] == ["a.pdf"]


def test_metadata():
    said = b"/Title (A plan) /Author (Ann) /CreationDate (D:20240301120000Z)"
    data = (
        make_pdf(["x"])
        .replace(b"/Root 1 0 R", b"/Root 1 0 R /Info 3 0 R")
        .replace(b"/Type /Font", b"/Type /Font " + said)
    )
    found = read(data)
    assert (found.title, dict(found.metadata)) == (
        "A plan",
        {"authors": "Ann", "created_at": "2024-03-01T12:00:00", "page_count": "1"},
    )
