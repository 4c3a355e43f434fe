"""PDF: whole words in the order of the page, and filled-in form fields."""

from collections.abc import Sequence

import pytest

from handlers.extraction import (
    Extracted,
    RawFile,
    Unreadable,
    extract_images,
    extract_tables,
    extract_text,
    to_document,
)
from handlers.extraction.readers.pdf import read_pdf
from handlers.records import SourceFile
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


def with_objects(data: bytes, *objects: bytes, **changes: bytes) -> bytes:
    """A file with further objects, numbered from 90, and with these changes; without its table, PDFium looks for them."""
    for old, new in changes.items():
        data = data.replace(b"/" + old.encode(), new)
    found = b"".join(b"%d 0 obj\n%s\nendobj\n" % (90 + number, each) for number, each in enumerate(objects))
    return data.replace(b"xref\n", found + b"gone\n", 1)


def stream(content: bytes, *entries: bytes) -> bytes:
    return b"<< %s /Length %d >>\nstream\n%s\nendstream" % (b" ".join(entries), len(content), content)


def of_two_bytes(letters: dict[int, str]) -> tuple[bytes, ...]:
    """A font, number 90, that has a number of two bytes for each letter, and maps these numbers to letters."""
    lines = b"".join(
        b"<%04X> <%s>\n" % (code, text.encode("utf-16-be").hex().encode()) for code, text in letters.items()
    )
    cmap = b"begincmap 1 begincodespacerange <0000> <FFFF> endcodespacerange %d beginbfchar\n%sendbfchar endcmap"
    return (
        b"<< /Type /Font /Subtype /Type0 /BaseFont /Odd /Encoding /Identity-H /DescendantFonts [91 0 R] /ToUnicode 92 0 R >>",
        b"<< /Type /Font /Subtype /CIDFontType2 /BaseFont /Odd /DW 600 /FontDescriptor 93 0 R"
        b" /CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> >>",
        stream(cmap % (len(letters), lines)),
        b"<< /Type /FontDescriptor /FontName /Odd /Flags 4 /ItalicAngle 0 /Ascent 800 /Descent -200 /CapHeight 700"
        b" /StemV 80 /FontBBox [0 0 1000 1000] >>",
    )


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
        (["carbon in free air is no carbon-", "free air"], "carbon in free air is no carbon-free air"),
        (["work a place, a workplace, a work-", "place"], "work a place, a workplace, a workplace"),
        (["a con is a text, con-", "text too"], "a con is a text, context too"),
        (['a "carbon-free", a carbon-', "free, one"], 'a "carbon-free", a carbon-free, one'),
    ],
)
def test_words_that_a_line_divides_are_whole(lines: list[str], expected: str):
    operators = " ".join(at(100, 700 - 14 * number, line) for number, line in enumerate(lines))
    assert read(page(operators)).text == expected


def test_letters_without_a_meaning_are_left_out_rather_than_guessed():
    font = of_two_bytes(dict(enumerate("abcdef", 0x61)))
    written = page("BT /F2 12 Tf 100 700 Td <0061006200630064BB3E00650066> Tj ET")
    found = read(with_objects(written, *font, F1=b"/F2 90 0 R /F1"))
    assert (found.text, dict(found.metadata)["unknown_letters"], found.scanned_pages) == ("abcd ef", "1", ())


def test_a_page_of_letters_without_a_meaning_is_one_to_recognise():
    data = with_objects(
        page("BT /F2 12 Tf 100 700 Td <BB3EBB3FBB40> Tj ET"), *of_two_bytes({1: "x"}), F1=b"/F2 90 0 R /F1"
    )
    assert read(data).scanned_pages == (1,)
    with pytest.raises(Unreadable, match="has fonts that do not map their glyphs to letters; to have its words"):
        to_document(SourceFile("memory://odd.pdf", "odd.pdf", len(data)), data)


def test_letters_of_two_directions_are_not_one_word():
    font = of_two_bytes({1: "ل", 2: "غ", 3: "ة", 4: "R"})
    written = page("BT /F2 12 Tf 100 700 Td <0004000300020001> Tj ET")
    assert sorted(read(with_objects(written, *font, F1=b"/F2 90 0 R /F1")).text.split()) == ["R", "لغة"]


def test_the_mark_of_a_footnote_is_no_part_of_its_first_word():
    assert read(page(at(100, 704, "1", 6) + at(103.6, 700, "The note"))).text == "1 The note"
    assert read(page(at(100, 700, "1") + at(106.7, 700, "st"))).text == "1st"


def test_ligatures_without_a_number_are_kept():
    names = b"/g0 " + b" ".join(b"/%c" % code for code in range(ord("a"), ord("z") + 1))
    font = b"<< /Type /Font /Subtype /Type3 /FontBBox [0 0 800 700] /FontMatrix [.001 0 0 .001 0 0] /FirstChar 0 /LastChar 122"
    font += b" /Encoding << /Differences [0 /g0 97 %s] >> /CharProcs << %s >>" % (
        names[4:],
        b" ".join(b"%s 91 0 R" % name for name in names.split()),
    )
    font += b" /Widths [%s] >>" % b" ".join([b"800"] * 123)
    drawn = stream(b"800 0 0 0 800 700 d1 0 0 800 700 re f")
    written = page("BT /F2 12 Tf 100 700 Td <6469> Tj <00> Tj <63756C74> Tj ET")
    assert read(with_objects(written, font, drawn, F1=b"/F2 90 0 R /F1")).text == "difficult"


def test_captions_of_buttons_arrive():
    button = "/Subtype /Widget /FT /Btn /Rect [300 600 400 620] /AP << /N 90 0 R >>"
    drawn = stream(b"BT /F1 12 Tf 2 4 Td (Next page) Tj ET", b"/Type /XObject /Subtype /Form /BBox [0 0 100 20]")
    drawn = drawn.replace(b"/Type", b"/Resources << /Font << /F1 3 0 R >> >> /Type", 1)
    hidden = button.replace("/Subtype", "/F 2 /Subtype").replace("[300 600 400 620]", "[300 500 400 520]")
    found = texts(with_objects(page(at(100, 700, "Words"), [button, hidden]), drawn))
    assert found == [("paragraph", "Words"), ("paragraph", "Next page")]


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
