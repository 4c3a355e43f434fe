"""DOCX and PPTX: everything that people wrote arrives, where it belongs, and once."""

import io
from typing import Any

import pytest

from handlers.extraction.formats import Extracted, RawFile, Unreadable
from handlers.extraction.readers.docx import read_docx
from handlers.extraction.readers.pptx import read_pptx
from tests.support.packages import make_zip

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
NAMES = (
    f'{W} xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships" '
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" xmlns:wps="urn:wps" xmlns:v="urn:v" '
    'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math" xmlns:wp="urn:wp" xmlns:c="urn:c"'
)
TYPE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
NUMBERING = """<w:abstractNum w:abstractNumId="0">
<w:lvl w:ilvl="0"><w:start w:val="1"/><w:numFmt w:val="decimal"/><w:lvlText w:val="%1."/></w:lvl>
<w:lvl w:ilvl="1"><w:start w:val="1"/><w:numFmt w:val="lowerLetter"/><w:lvlText w:val="%1%2)"/></w:lvl></w:abstractNum>
<w:abstractNum w:abstractNumId="1"><w:lvl w:ilvl="0"><w:numFmt w:val="bullet"/><w:lvlText w:val="&#xf0b7;"/></w:lvl></w:abstractNum>
<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num><w:num w:numId="2"><w:abstractNumId w:val="1"/></w:num>"""
STYLES = """<w:style w:styleId="T"><w:name w:val="Title"/></w:style>
<w:style w:styleId="H1"><w:name w:val="heading 1"/></w:style>
<w:style w:styleId="Mine"><w:basedOn w:val="H1"/><w:name w:val="Own"/></w:style>
<w:style w:styleId="List"><w:name w:val="L"/><w:pPr><w:numPr><w:numId w:val="2"/></w:numPr></w:pPr></w:style>"""
NOTES = """<w:footnote w:id="-1" w:type="separator"><w:p><w:r><w:t>no</w:t></w:r></w:p></w:footnote>
<w:footnote w:id="0"><w:p><w:r><w:footnoteRef/><w:t> The first note</w:t></w:r></w:p></w:footnote>"""
COMMENTS = '<w:comment w:id="5" w:author="Ann"><w:p><w:r><w:t>Check this</w:t></w:r></w:p></w:comment>'
CHART = """<c:chartSpace xmlns:c="urn:c" xmlns:a="urn:a"><c:chart><c:title><a:p><a:r><a:t>Sales</a:t></a:r></a:p></c:title>
<c:ser><c:tx><c:strRef><c:strCache><c:pt idx="0"><c:v>2023</c:v></c:pt></c:strCache></c:strRef></c:tx>
<c:cat><c:strRef><c:strCache><c:pt idx="0"><c:v>North</c:v></c:pt><c:pt idx="1"><c:v>South</c:v></c:pt></c:strCache></c:strRef></c:cat>
<c:val><c:numRef><c:numCache><c:pt idx="0"><c:v>4.2999999999999998</c:v></c:pt><c:pt idx="1"><c:v>7</c:v></c:pt></c:numCache></c:numRef></c:val>
</c:ser></c:chart></c:chartSpace>"""


def relations(**targets: str) -> str:
    each = "".join(
        f'<Relationship Id="{kind}" Type="{TYPE}{kind}" Target="{target}"/>' for kind, target in targets.items()
    )
    return f'<Relationships xmlns="{PACKAGE}">{each}</Relationships>'


def docx(body: str) -> Extracted:
    parts = {
        "_rels/.rels": relations(officeDocument="word/document.xml"),
        "word/document.xml": f"<w:document {NAMES}><w:body>{body}</w:body></w:document>",
        "word/_rels/document.xml.rels": relations(
            styles="styles.xml",
            numbering="numbering.xml",
            footnotes="footnotes.xml",
            comments="comments.xml",
            header="header1.xml",
            chart="charts/chart1.xml",
        ),
        "word/styles.xml": f"<w:styles {W}>{STYLES}</w:styles>",
        "word/numbering.xml": f"<w:numbering {W}>{NUMBERING}</w:numbering>",
        "word/footnotes.xml": f"<w:footnotes {W}>{NOTES}</w:footnotes>",
        "word/comments.xml": f"<w:comments {W}>{COMMENTS}</w:comments>",
        "word/header1.xml": f"<w:hdr {W}><w:p><w:r><w:t>Letterhead</w:t></w:r></w:p></w:hdr>",
        "word/charts/chart1.xml": CHART,
    }
    return read_docx(RawFile(make_zip(parts)))


def p(runs: str, properties: str = "") -> str:
    return f"<w:p><w:pPr>{properties}</w:pPr>{runs}</w:p>"


def r(text: str, properties: str = "") -> str:
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{text}</w:t></w:r>'


def item(text: str, number: int, level: int = 0) -> str:
    return p(r(text), f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{number}"/></w:numPr>')


def cell(text: str, properties: str = "") -> str:
    return f"<w:tc><w:tcPr>{properties}</w:tcPr>{p(r(text))}</w:tc>"


SPAN = '<w:gridSpan w:val="2"/>'
BOX = "<w:txbxContent>" + p(r("In the box")) + "</w:txbxContent>"
DOCX_CASES: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "runs are joined": (p(r("Hel") + r("lo, ") + r("AT&amp;T")), [("paragraph", "Hello, AT&T")]),
    "tabs, breaks and hyphens": (
        p(
            "<w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:noBreakHyphen/><w:t>c</w:t><w:br/><w:t>d</w:t><w:softHyphen/><w:t>e</w:t></w:r>"
        ),
        [("paragraph", "a\tb-c\nde")],
    ),
    "hidden and deleted text": (
        p(
            r("seen")
            + r(" hidden", "<w:vanish/>")
            + r(" shown", '<w:vanish w:val="0"/>')
            + "<w:del>"
            + r("gone")
            + "</w:del><w:ins>"
            + r(" new")
            + "</w:ins>"
        ),
        [("paragraph", "seen shown new")],
    ),
    "field codes": (p("<w:r><w:instrText>PAGE</w:instrText></w:r>" + r("7")), [("paragraph", "7")]),
    "headings by style": (
        p(r("A"), '<w:pStyle w:val="T"/>')
        + p(r("B"), '<w:pStyle w:val="Mine"/>')
        + p(r("C"), '<w:outlineLvl w:val="2"/>'),
        [("heading", "# A"), ("heading", "# B"), ("heading", "### C")],
    ),
    "lists are counted": (
        item("a", 1)
        + item("b", 1, 1)
        + item("c", 1, 1)
        + item("d", 1)
        + p(r("x"))
        + item("e", 1)
        + p(r("f"), '<w:pStyle w:val="List"/>'),
        [("list", "1. a\n  1a) b\n  1b) c\n2. d"), ("paragraph", "x"), ("list", "3. e\n- f")],
    ),
    "notes and comments follow their paragraph": (
        p(
            r("Claim")
            + '<w:r><w:footnoteReference w:id="0"/></w:r>'
            + r(".")
            + '<w:r><w:commentReference w:id="5"/></w:r>'
        )
        + p(r("Next")),
        [
            ("paragraph", "Claim[1]."),
            ("paragraph", "[1] The first note"),
            ("paragraph", "Comment (Ann): Check this"),
            ("paragraph", "Next"),
        ],
    ),
    "text boxes once": (
        p(
            r("Anchor")
            + f"<w:r><mc:AlternateContent><mc:Choice><wps:txbx>{BOX}</wps:txbx></mc:Choice>"
            + f"<mc:Fallback><v:textbox>{BOX}</v:textbox></mc:Fallback></mc:AlternateContent></w:r>"
            + r(" text")
        ),
        [("paragraph", "Anchor text"), ("paragraph", "In the box")],
    ),
    "content controls": (
        f"<w:sdt><w:sdtPr/><w:sdtContent>{p(r('Inside'))}</w:sdtContent></w:sdt>",
        [("paragraph", "Inside")],
    ),
    "tables": (
        f"<w:tbl><w:tr>{cell('a', SPAN)}{cell('b')}</w:tr><w:tr>{cell('1')}{cell('2')}{cell('3')}</w:tr></w:tbl>",
        [("table", "| a |  | b |\n| --- | --- | --- |\n| 1 | 2 | 3 |")],
    ),
    "a frame": (f"<w:tbl><w:tr>{cell('note')}</w:tr></w:tbl>", [("paragraph", "note")]),
    "raised numbers": (
        p(
            r("m")
            + r("2", '<w:vertAlign w:val="superscript"/>')
            + r(" 1")
            + r("st", '<w:vertAlign w:val="superscript"/>')
        ),
        [("paragraph", "m^2 1st")],
    ),
    "formulas": (
        p(
            "<m:oMath><m:r><m:t>x=</m:t></m:r><m:f><m:num><m:r><m:t>a</m:t></m:r></m:num><m:den><m:r><m:t>b</m:t></m:r></m:den></m:f></m:oMath>"
        ),
        [("paragraph", "x= (a)/(b)")],
    ),
    "pictures and charts": (
        p(r("See") + '<w:r><wp:docPr descr="A map"/><c:chart r:id="chart"/></w:r>'),
        [
            ("paragraph", "See"),
            ("caption", "A map"),
            ("caption", "Sales"),
            ("table", "|  | 2023 |\n| --- | --- |\n| North | 4.3 |\n| South | 7 |"),
        ],
    ),
}


@pytest.mark.parametrize("name", DOCX_CASES)
def test_docx(name: str):
    body, expected = DOCX_CASES[name]
    found = docx(body)
    blocks = [(block.kind, found.text[block.start : block.end]) for block in found.blocks]
    assert blocks == [*expected, ("paragraph", "Letterhead")]


def deck() -> bytes:
    import pptx
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE
    from pptx.util import Inches

    made: Any = pptx.Presentation()
    slide = made.slides.add_slide(made.slide_layouts[1])
    slide.shapes.title.text = "First"
    paragraph = slide.placeholders[1].text_frame.paragraphs[0]
    for run in ("Hel", "lo wor", "ld"):
        paragraph.add_run().text = run
    inner = slide.placeholders[1].text_frame.add_paragraph()
    inner.text, inner.level = "inner", 1
    slide.notes_slide.notes_text_frame.text = "Speak slowly"
    group = slide.shapes.add_group_shape()
    group.shapes.add_textbox(0, 0, Inches(1), Inches(1)).text_frame.text = "Grouped\vline"
    slide = made.slides.add_slide(made.slide_layouts[6])
    data = CategoryChartData()
    data.categories = ["North", "South"]
    data.add_series("2023", (4.3, 7))
    slide.shapes.add_chart(XL_CHART_TYPE.BAR_CLUSTERED, 0, 0, Inches(3), Inches(3), data)
    table = slide.shapes.add_table(2, 2, 0, 0, Inches(2), Inches(1)).table
    for number, text in enumerate("abcd"):
        table.cell(number // 2, number % 2).text = text
    buffer = io.BytesIO()
    made.save(buffer)
    return buffer.getvalue()


def test_pptx():
    found = read_pptx(RawFile(deck()))
    assert [(block.kind, found.text[block.start : block.end], block.page) for block in found.blocks] == [
        ("heading", "## First", 1),
        ("list", "- Hello world\n  - inner", 1),
        ("paragraph", "Grouped\nline", 1),
        ("paragraph", "Notes: Speak slowly", 1),
        ("table", "|  | 2023 |\n| --- | --- |\n| North | 4.3 |\n| South | 7 |", 2),
        ("table", "| a | b |\n| --- | --- |\n| c | d |", 2),
    ]


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"x.txt": "x"}, "is damaged or no DOCX file: its main part is missing"),
        ({"_rels/.rels": relations(officeDocument="w/d.xml")}, "its main part is missing"),
        ({"_rels/.rels": "<a", "w/d.xml": "x"}, r"_rels/\.rels is not valid XML"),
        ({"_rels/.rels": relations(officeDocument="w/d.xml"), "w/d.xml": "<a>"}, r"w/d\.xml is not valid XML"),
    ],
)
def test_the_reason_names_what_is_wrong(parts: dict[str, str], reason: str):
    with pytest.raises(Unreadable, match=reason):
        read_docx(RawFile(make_zip(parts)))


def test_a_part_with_a_flipped_byte_is_named():
    packed = make_zip({"_rels/.rels": relations(officeDocument="ppt/p.xml"), "ppt/p.xml": "<p>words</p>"})
    deck = bytearray(packed)
    deck[packed.index(b"ppt/p.xml") + len("ppt/p.xml") + 2] ^= 1
    with pytest.raises(Unreadable, match=r"is damaged: ppt/p\.xml in it cannot be unpacked; get a whole copy of it"):
        read_pptx(RawFile(bytes(deck)))


def test_a_picture_that_is_missing_costs_no_words():
    from handlers.extraction.pictures import LostPicture, pictures_of_docx

    body = '<w:p><w:r><a:blip xmlns:a="urn:a" r:embed="image"/></w:r></w:p>'
    parts = {
        "_rels/.rels": relations(officeDocument="word/document2.xml"),
        "word/document2.xml": f"<w:document {NAMES}><w:body>{body}{p(r('words'))}</w:body></w:document>",
        "word/_rels/document2.xml.rels": relations(image="media/gone.png"),
    }
    assert list(pictures_of_docx(make_zip(parts))) == [LostPicture("is missing in the file (word/media/gone.png)")]
    assert read_docx(RawFile(make_zip(parts))).text == "words"
