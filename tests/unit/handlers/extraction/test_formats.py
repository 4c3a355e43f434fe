"""A small file of every format: the blocks that it becomes."""

import io
import json
import struct

import pytest

from handlers.extraction import WEB_PAGE, Extracted, RawFile, Unreadable, public_type
from handlers.extraction.registry import FORMATS, MIME_TYPES, format_of, mime_type_of, told_by_content
from tests.support.packages import make_epub, make_odf, make_ole


def read(name: str, data: bytes) -> Extracted:
    mime_type = told_by_content(data, str(mime_type_of(name)))
    return format_of(mime_type).read(RawFile(data, name, mime_type))


def blocks(name: str, data: bytes) -> list[tuple[str, str]]:
    found = read(name, data)
    return [(block.kind, found.text[block.start : block.end]) for block in found.blocks]


def make_xlsx() -> bytes:
    import datetime

    import xlsxwriter

    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer) as book:
        sheet = book.add_worksheet("Stock")
        sheet.write_row(0, 0, ["Stock by day"])
        sheet.write_row(1, 0, ["part", "count", "price", "since"])
        day = book.add_format({"num_format": "yyyy-mm-dd"})
        sheet.write_row(2, 0, ["valve", 12, 19.9])
        sheet.write_datetime(2, 3, datetime.datetime(2024, 3, 1), day)
        sheet.write_row(4, 0, ["city", "yes"])
        sheet.write_row(5, 0, ["Bonn", True])
        sheet.write_comment("B3", "counted twice")
        hidden = book.add_worksheet("Hidden")
        hidden.write(0, 0, "kept")
        hidden.hide()
    return buffer.getvalue()


def make_doc(text: str) -> bytes:
    words = text.encode("cp1252")
    header = bytearray(0x600)
    struct.pack_into("<HH", header, 0, 0xA5EC, 0x00C1)
    struct.pack_into("<H", header, 0x0A, 0x0200)
    struct.pack_into("<8i", header, 0x4C, len(text), 0, 0, 0, 0, 0, 0, 0)
    pieces = struct.pack("<II", 0, len(text)) + struct.pack("<HIH", 0, 0x40000000 | 0x600 * 2, 0)
    clx = b"\x02" + struct.pack("<I", len(pieces)) + pieces
    struct.pack_into("<II", header, 0x01A2, 0, len(clx))
    return make_ole({("WordDocument",): bytes(header) + words, ("1Table",): clx})


def make_ppt() -> bytes:
    def record(kind: int, body: bytes, flags: int = 0) -> bytes:
        return struct.pack("<HHI", flags, kind, len(body)) + body

    def text(kind: int, words: str) -> bytes:
        return record(3999, struct.pack("<I", kind)) + record(4000, words.encode("utf-16-le"))

    slides = record(1011, bytes(20)) + text(0, "First") + text(1, "Start here.\rGo on.")
    slides += record(1011, bytes(20)) + text(0, "Second")
    document = record(1000, record(4080, slides, 0x0F), 0x0F)
    slide = record(1006, text(4, "In a box"), 0x0F)
    notes = record(1008, record(1009, struct.pack("<II", 257, 0)) + text(2, "Say it slowly"), 0x0F)
    master = record(1008, record(1009, struct.pack("<II", 0, 0)) + text(2, "Click to edit"), 0x0F)
    return make_ole({("PowerPoint Document",): document + slide + notes + master})


def make_msg() -> bytes:
    def wide(words: str) -> bytes:
        return words.encode("utf-16-le")

    attached = "__attach_version1.0_#00000000"
    return make_ole(
        {
            ("__properties_version1.0",): bytes(32) + struct.pack("<IIQ", 0x00390040, 6, 133_537_824_000_000_000),
            ("__substg1.0_0037001F",): wide("Pumps"),
            ("__substg1.0_0C1A001F",): wide("Ann"),
            ("__substg1.0_0E04001F",): wide("Bob"),
            ("__substg1.0_1000001F",): wide("Close the valve."),
            (attached, "__substg1.0_3707001F"): wide("plan.txt"),
            (attached, "__substg1.0_37010102"): b"the plan",
        }
    )


ODT = """<text:h text:outline-level="1">Plan</text:h><text:p>Terms<text:tab/>&amp;<text:s text:c="2"/>limits
 go on<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>See the ledger.</text:p></text:note-body>
</text:note>.</text:p><text:list><text:list-item><text:p>North</text:p><text:list><text:list-item><text:p>Inner</text:p>
</text:list-item></text:list></text:list-item></text:list><table:table><table:table-row><table:table-cell><text:p>a</text:p>
</table:table-cell><table:table-cell><text:p>b</text:p></table:table-cell></table:table-row><table:table-row><table:table-cell>
<text:p>1</text:p></table:table-cell><table:table-cell><text:p>2</text:p></table:table-cell></table:table-row></table:table>
<text:p text:style-name="H">secret</text:p><text:p><draw:frame><draw:text-box><text:p>In a box</text:p></draw:text-box>
</draw:frame>Around it<office:annotation><dc:creator>Ann</dc:creator><text:p>Check this</text:p></office:annotation></text:p>"""
HIDDEN = '<style:style style:name="H"><style:text-properties text:display="none"/></style:style>'
ODP = """<draw:page><draw:frame presentation:class="title"><draw:text-box><text:p>First</text:p></draw:text-box></draw:frame>
<draw:frame><draw:text-box><text:p>Words</text:p></draw:text-box></draw:frame><presentation:notes><draw:frame><draw:text-box>
<text:p>Slowly</text:p></draw:text-box></draw:frame></presentation:notes></draw:page>"""
RTF = rb"""{\rtf1\ansi\ansicpg1250\uc1{\fonttbl{\f0 Arial;}{\f1\fcharset204 Arial;}}{\info{\title A plan}}
{\header Letterhead\par}\pard\outlinelevel0 Heading\par\pard P\'f8\'edli\'9a \u8364 ?20 {\f1\'cf\'f0\'e8\'e2\'e5\'f2}\tab
non\_break{\v hidden}{\footnote The note}\par
{\listtext\bullet\tab}North\par{\listtext\bullet\tab}South\par\pard\intbl a\cell b\cell\row\intbl 1\cell 2\cell\row\pard
{\field{\*\fldinst HYPERLINK "x"}{\fldrslt linked}} {\pict 0102}end\par}"""
EML = b"""From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\nTo: Ann <ann@example.org>\nSubject: Pumps\nDate: Mon, 1 Jan 2024 10:00:00 +0000
MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=B\n\n--B\nContent-Type: text/plain; charset=iso-8859-2
Content-Transfer-Encoding: quoted-printable\n\nP=F8=EDli=B9\n\n--B\nContent-Type: application/pdf; name="plan.pdf"
Content-Disposition: attachment; filename="plan.pdf"\nContent-Transfer-Encoding: base64\n\nJVBERi0=\n--B--\n"""
MBOX = b"From a@b Mon Jan  1 10:00:00 2024\nSubject: One\n\nFirst body\n>From here\n\nFrom c@d Tue Jan  2 10:00:00 2024\nSubject: Two\n\nSecond\n"
NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "source": ["# Title\n", "Words"]},
        {
            "cell_type": "code",
            "source": "print(1)",
            "outputs": [
                {"output_type": "stream", "text": ["1\n"]},
                {"data": {"text/html": "<table><tr><td>a</td><td>b</td></tr></table>"}},
            ],
        },
        {"cell_type": "raw", "source": "as it is"},
    ],
    "metadata": {"kernelspec": {"language": "python"}},
}
XML = """<!DOCTYPE r [<!ENTITY e "no">]><r kind="manual"><title>Pumps</title><part no="7"><name>valve</name></part>
<p>Close the <b>valve</b> first.</p></r>"""
TEX = r"""\documentclass{article}\title{On pumps}\begin{document}\section{Start}% not this
Caf\'e and na\"{\i}ve~words \emph{here} cost 5\,\% of $x_1$.\footnote{A note}

\begin{itemize}\item one\item two\end{itemize}
\begin{tabular}{ll}a & b\\ \hline 1 & 2\end{tabular}
\begin{equation}E = mc^2\end{equation}
\begin{verbatim}
x  = 1
\end{verbatim}
\end{document} not this"""
ORG = "#+TITLE: Plan\n* Start\nWords here\n- one\n  more\n- two\n** Code\n#+BEGIN_SRC sh\nls -l\n\npwd\n#+END_SRC\n| a | b |\n"
PYTHON = '''"""What it does."""
import os

# Adds one.
@cached
def add(a: int,
        b: int = 1) -> int:
    """Sum."""
    return a + b

class Pump:
    size = 1

    def start(self):
        pass
'''
JAVA = """package a;\n\n/** A pump. */\npublic class Pump {\n    int size;\n\n    public void start(int n) {\n        run();\n    }\n}\n"""

CASES: list[tuple[str, bytes, list[tuple[str, str]]]] = [
    (
        "a.xlsx",
        make_xlsx(),
        [
            ("heading", "## Stock"),
            ("paragraph", "Stock by day"),
            (
                "table",
                "| part | count | price | since |\n| --- | --- | --- | --- |\n| valve | 12 | 19.9 | 2024-03-01 |",
            ),
            ("table", "| city | yes |\n| --- | --- |\n| Bonn | TRUE |"),
            ("paragraph", "Comment (B3): counted twice"),
            ("heading", "## Hidden"),
            ("paragraph", "kept"),
        ],
    ),
    (
        "a.odt",
        make_odf(ODT, styles=HIDDEN),
        [
            ("heading", "# Plan"),
            ("paragraph", "Terms\t&  limits go on[1]."),
            ("paragraph", "[1] See the ledger."),
            ("list", "- North\n  - Inner"),
            ("table", "| a | b |\n| --- | --- |\n| 1 | 2 |"),
            ("paragraph", "Around it"),
            ("paragraph", "In a box"),
            ("paragraph", "Comment (Ann): Check this"),
            ("paragraph", "Letterhead"),
        ],
    ),
    (
        "a.odp",
        make_odf(ODP, kind="presentation"),
        [("heading", "## First"), ("paragraph", "Words"), ("paragraph", "Notes: Slowly"), ("paragraph", "Letterhead")],
    ),
    (
        "a.ods",
        make_odf(
            "<table:table table:name='T'><table:table-row><table:table-cell office:value-type='string'><text:p>a</text:p>"
            "</table:table-cell><table:table-cell office:value-type='float' office:value='2'><text:p>2</text:p>"
            "</table:table-cell></table:table-row></table:table>",
            kind="spreadsheet",
        ),
        [("heading", "## T"), ("table", "| a | 2 |\n| --- | --- |"), ("paragraph", "Letterhead")],
    ),
    (
        "a.rtf",
        RTF,
        [
            ("heading", "# Heading"),
            ("paragraph", "Příliš €20 Привет\tnon-break"),
            ("paragraph", "The note"),
            ("list", "- North\n- South"),
            ("table", "| a | b |\n| --- | --- |\n| 1 | 2 |"),
            ("paragraph", "linked end"),
            ("paragraph", "Letterhead"),
        ],
    ),
    (
        "a.epub",
        make_epub({"one": "<h1>One</h1><p>First</p>", "two": "<h2>Two</h2><ul><li>x</li></ul>"}),
        [("heading", "# One"), ("paragraph", "First"), ("heading", "## Two"), ("list", "- x")],
    ),
    (
        "a.eml",
        EML,
        [
            ("heading", "# Pumps"),
            (
                "paragraph",
                "From: Jürgen <j@example.org>\nTo: Ann <ann@example.org>\nDate: Mon, 01 Jan 2024 10:00:00 +0000",
            ),
            ("paragraph", "Příliš"),
            ("list", "Attachments:\n- plan.pdf"),
        ],
    ),
    (
        "a.mbox",
        MBOX,
        [("heading", "# One"), ("paragraph", "First body\nFrom here"), ("heading", "# Two"), ("paragraph", "Second")],
    ),
    (
        "a.msg",
        make_msg(),
        [
            ("heading", "# Pumps"),
            ("paragraph", "From: Ann\nTo: Bob\nDate: 2024-03-01T16:00:00Z"),
            ("paragraph", "Close the valve."),
            ("list", "Attachments:\n- plan.txt"),
        ],
    ),
    (
        "a.doc",
        make_doc("Größe\ra\x07b\x07\x071\x072\x07\x07\rGo to \x13HYPERLINK x\x14the page\x15.\r"),
        [
            ("paragraph", "Größe"),
            ("table", "| a | b |\n| --- | --- |\n| 1 | 2 |"),
            ("paragraph", "Go to the page."),
        ],
    ),
    (
        "a.ppt",
        make_ppt(),
        [
            ("heading", "## First"),
            ("paragraph", "Start here.\nGo on."),
            ("heading", "## Second"),
            ("paragraph", "In a box"),
            ("paragraph", "Notes: Say it slowly"),
        ],
    ),
    (
        "a.ipynb",
        json.dumps(NOTEBOOK).encode(),
        [
            ("heading", "# Title"),
            ("paragraph", "Words"),
            ("code", "```python\nprint(1)\n```"),
            ("code", "```\n1\n```"),
            ("table", "| a | b |\n| --- | --- |"),
            ("paragraph", "as it is"),
        ],
    ),
    (
        "a.xml",
        XML.encode(),
        [
            ("list", "r kind: manual"),
            ("heading", "# Pumps"),
            ("list", "part no: 7\nname: valve"),
            ("paragraph", "Close the valve first."),
        ],
    ),
    (
        "a.tex",
        TEX.encode(),
        [
            ("heading", "# On pumps"),
            ("heading", "## Start"),
            ("paragraph", "Café and naïve words here cost 5 % of $x_1$.A note"),
            ("list", "- one\n- two"),
            ("table", "| a | b |\n| --- | --- |\n| 1 | 2 |"),
            ("paragraph", "E = mc^2"),
            ("code", "```\nx  = 1\n```"),
        ],
    ),
    (
        "a.org",
        ORG.encode(),
        [
            ("paragraph", "#+TITLE: Plan"),
            ("heading", "* Start"),
            ("paragraph", "Words here"),
            ("list", "- one\n  more\n- two"),
            ("heading", "** Code"),
            ("code", "#+BEGIN_SRC sh\nls -l\n\npwd\n#+END_SRC"),
            ("table", "| a | b |"),
        ],
    ),
    ("a.yaml", b"a: 1\nb:\n  - c\n", [("code", "a: 1\nb:\n  - c")]),
    ("a.toml", b"[a]\nb = 1\n", [("code", "[a]\nb = 1")]),
    ("a.log", b"\x1b[31m12:00 started\x1b[0m\n12:01 failed\n", [("list", "12:00 started\n12:01 failed")]),
    (
        "a.py",
        PYTHON.encode(),
        [
            ("code", '"""What it does."""\nimport os'),
            ("heading", "# Adds one.\n@cached\ndef add(a: int,\n        b: int = 1) -> int:"),
            ("code", '    """Sum."""\n    return a + b'),
            ("heading", "class Pump:"),
            ("code", "    size = 1"),
            ("heading", "    def start(self):"),
            ("code", "        pass"),
        ],
    ),
    (
        "a.java",
        JAVA.encode(),
        [
            ("code", "package a;"),
            ("heading", "/** A pump. */\npublic class Pump {"),
            ("code", "    int size;"),
            ("heading", "    public void start(int n) {"),
            ("code", "        run();\n    }\n}"),
        ],
    ),
]


@pytest.mark.parametrize(("name", "data", "expected"), CASES, ids=[name for name, _, _ in CASES])
def test_blocks(name: str, data: bytes, expected: list[tuple[str, str]]):
    assert blocks(name, data) == expected


def test_titles_and_metadata():
    assert read("a.odt", make_odf(ODT)).title == "A plan"
    assert read("a.rtf", RTF).title == "A plan"
    book = read("a.epub", make_epub({"one": "<p>x</p>"}))
    assert (book.title, book.metadata) == ("A book", (("authors", "Ann"),))
    mail = read("a.eml", EML)
    assert mail.title == "Pumps"
    assert dict(mail.metadata)["created_at"] == "2024-01-01T10:00:00+00:00"


def test_attachments_are_files_of_their_own():
    (attached,) = read("a.eml", EML).attachments
    assert (attached.name, attached.data, attached.mime_type) == ("plan.pdf", b"%PDF-", "application/pdf")
    (attached,) = read("a.msg", make_msg()).attachments
    assert (attached.name, attached.data.rstrip(b"\0")) == ("plan.txt", b"the plan")


def test_a_mail_inside_a_mail_is_an_attachment():
    outer = b"Subject: Out\nContent-Type: multipart/mixed; boundary=B\n\n--B\nContent-Type: message/rfc822\n\nSubject: In/side\n\nInner\n--B--\n"
    (attached,) = read("a.eml", outer).attachments
    assert attached.name == "In_side.eml"
    assert ("paragraph", "Inner") in blocks(attached.name, attached.data)


def test_the_longer_body_of_a_mail_counts():
    html = "<p>" + "word " * 50 + "</p>"
    parts = f"--B\nContent-Type: text/plain\n\nSee online\n--B\nContent-Type: text/html; charset=undefined\n\n{html}\n--B--\n"
    data = f"Subject: S\nContent-Type: multipart/alternative; boundary=B\n\n{parts}".encode()
    assert read("a.eml", data).text.count("word") == 50


@pytest.mark.parametrize(
    ("name", "data", "mime_type"),
    [
        ("a.doc", RTF, "application/rtf"),
        ("a.doc", b"<html><body>x</body></html>", "text/html"),
        ("a.xls", make_xlsx(), MIME_TYPES[".xlsx"]),
        ("a.docx", make_doc("x"), "application/msword"),
        ("a.ppt", make_ppt(), MIME_TYPES[".ppt"]),
        ("a.txt", RTF, "text/plain"),
    ],
)
def test_a_wrong_suffix_among_office_formats_does_not_matter(name: str, data: bytes, mime_type: str):
    assert told_by_content(data, MIME_TYPES[name[1:]]) == mime_type


def test_every_format_has_suffixes_and_a_media_type_of_its_own():
    suffixes = [suffix for each in FORMATS for suffix in each.suffixes]
    assert len(suffixes) == len(set(suffixes)) == len(MIME_TYPES)
    assert len({each.mime_type for each in FORMATS}) == len(FORMATS)
    assert mime_type_of("A/B.PDF") == "application/pdf"
    assert mime_type_of("b.exe") is None


@pytest.mark.parametrize(
    ("name", "mime_type", "public"),
    [
        ("a/Scan.PNG", MIME_TYPES[".png"], "image/png"),
        ("a.webp", MIME_TYPES[".webp"], "image/webp"),
        ("https://example.com/a", WEB_PAGE, "text/html"),
        ("a.md", "text/markdown", "text/markdown"),
    ],
)
def test_a_media_type_is_shown_as_other_programs_know_it(name: str, mime_type: str, public: str):
    assert public_type(name, mime_type) == public


def test_a_sheet_with_one_word_in_its_last_cell_costs_nothing():
    import xlsxwriter

    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer) as book:
        sheet = book.add_worksheet("S")
        sheet.write(0, 0, "first")
        sheet.write(1_048_575, 16_383, 0.125, book.add_format({"num_format": "0.0%"}))
    assert read("a.xlsx", buffer.getvalue()).text == "## S\n\nfirst\n\n12.5%"


def test_entities_of_xml_are_not_expanded():
    bomb = '<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><r>&b; fine</r>'
    assert "aaaa" not in read("a.xml", bomb.encode()).text


@pytest.mark.parametrize(
    "name", ["a.eml", "a.mbox", "a.ipynb", "a.rtf", "a.msg", "a.doc", "a.ppt", "a.xls", "a.odt", "a.epub"]
)
def test_a_file_that_is_not_of_its_format_is_reported(name: str):
    with pytest.raises(Unreadable, match=r"^is (no|damaged)"):
        read(name, b"just words\n")
