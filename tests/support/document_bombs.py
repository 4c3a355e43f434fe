"""Small files that harm careless readers: they nest, repeat, unpack, loop or multiply without end.

Each function takes a share of the full size: 1 for `bench.bombs`, a hundredth for a quick test.
"""

import base64
import bz2
import gzip
import io
import json
import lzma
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping

from tests.support.documents import make_docx, make_pdf

Bomb = Callable[[float], bytes]
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
SLIDE = "http://schemas.openxmlformats.org/presentationml/2006/main"
DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/main"
MB = 1_000_000


def times(text: str, count: float, end: str = "") -> Bomb:
    """One text repeated many times, followed by an end text repeated as often."""
    return lambda share: (text * int(count * share) + end * int(count * share)).encode()


def zipped(parts: Mapping[str, bytes]) -> bytes:
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return stored.getvalue()


def with_parts(package: bytes, parts: Mapping[str, bytes]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        return zipped({name: archive.read(name) for name in archive.namelist()} | dict(parts))


def docx_of(body: str, before: str = "") -> bytes:
    document = f'<?xml version="1.0"?>{before}<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>'
    return with_parts(make_docx(), {"word/document.xml": document.encode()})


def xlsx_of(sheet: str, strings: str = "") -> bytes:
    import xlsxwriter

    stored = io.BytesIO()
    with xlsxwriter.Workbook(stored) as book:
        book.add_worksheet().write(0, 0, "text")
    parts = {"xl/worksheets/sheet1.xml": f'<worksheet xmlns="{SHEET}">{sheet}</worksheet>'.encode()}
    if strings:
        parts["xl/sharedStrings.xml"] = f'<sst xmlns="{SHEET}">{strings}</sst>'.encode()
    return with_parts(stored.getvalue(), parts)


def pptx_of(shapes: str) -> bytes:
    import pptx

    deck = pptx.Presentation()
    deck.slides.add_slide(deck.slide_layouts[6])
    stored = io.BytesIO()
    deck.save(stored)
    tree = f'<p:sld xmlns:p="{SLIDE}" xmlns:a="{DRAWING}"><p:cSld><p:spTree>{shapes}</p:spTree></p:cSld></p:sld>'
    return with_parts(stored.getvalue(), {"ppt/slides/slide1.xml": tree.encode()})


def odf_of(kind: str, body: str) -> bytes:
    names = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "text", "table")
    )
    content = f"<office:document-content {names}><office:body>{body}</office:body></office:document-content>"
    return zipped({"mimetype": f"application/vnd.oasis.opendocument.{kind}".encode(), "content.xml": content.encode()})


def epub_of(chapters: int, text: str) -> bytes:
    spine = '<itemref idref="c"/>' * chapters
    return zipped(
        {
            "mimetype": b"application/epub+zip",
            "META-INF/container.xml": b'<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            b'<rootfile full-path="a.opf" media-type="application/oebps-package+xml"/></rootfiles></container>',
            "a.opf": f'<package xmlns="http://www.idpf.org/2007/opf"><manifest><item id="c" href="c.xhtml" '
            f'media-type="application/xhtml+xml"/></manifest><spine>{spine}</spine></package>'.encode(),
            "c.xhtml": f'<html xmlns="http://www.w3.org/1999/xhtml"><body><p>{text}</p></body></html>'.encode(),
        }
    )


def laughs(levels: int, width: int, element: str = "r", inside: str = "&l{};") -> str:
    """Entities of entities of entities."""
    lines = [f'<!ENTITY l{n} "{f"&l{n - 1};" * width}">' for n in range(1, levels)]
    return f'<!DOCTYPE {element} [<!ENTITY l0 "lol">{"".join(lines)}]>'


def pdf_of(*objects: bytes, root: int = 1) -> bytes:
    """A PDF of these objects, numbered from 1."""
    found = b"".join(b"%d 0 obj\n%s\nendobj\n" % (number, each) for number, each in enumerate(objects, 1))
    return b"%%PDF-1.7\n%strailer << /Size %d /Root %d 0 R >>\n%%%%EOF" % (found, len(objects) + 1, root)


def pdf_stream(content: bytes, entries: bytes = b"") -> bytes:
    return b"<< %s /Length %d >>\nstream\n%s\nendstream" % (entries, len(content), content)


CATALOG = b"<< /Type /Catalog /Pages 2 0 R >>"
PAGES = b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"


def pdf_page(contents: bytes, resources: bytes = b"/Font << /F1 5 0 R >>", *more: bytes, packed: bool = False) -> bytes:
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << %s >> >>" % resources
    drawn = pdf_stream(contents, b"/Filter /FlateDecode" if packed else b"")
    return pdf_of(CATALOG, PAGES, page, drawn, FONT, *more)


def form_that_draws_itself() -> bytes:
    """A form that draws itself twice: endless text, and endless recursion in a parser."""
    form = pdf_stream(
        b"/X Do /X Do", b"/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X 6 0 R >> >>"
    )
    return pdf_page(b"/X Do", b"/Font << /F1 5 0 R >> /XObject << /X 6 0 R >>", form)


def nested_forms(share: float) -> bytes:
    """Ten forms, each of which draws the next ten times: 10^10 texts."""
    depth = max(3, int(10 * share))
    forms = [
        pdf_stream(
            b"/X Do " * 10 if n < depth - 1 else b"BT /F1 9 Tf (boom) Tj ET",
            b"/Type /XObject /Subtype /Form /BBox [0 0 600 700] /Resources << /Font << /F1 5 0 R >> /XObject << /X %d 0 R >> >>"
            % (n + 7),
        )
        for n in range(depth)
    ]
    return pdf_page(b"/X Do " * 10, b"/XObject << /X 6 0 R >>", *forms)


def zeros(size: int, packer: Callable[[], object]) -> bytes:
    """Compressed zeros, made without ever holding all of them in memory."""
    packing, block = packer(), bytes(MB)
    parts = [packing.compress(block) for _ in range(max(1, size // MB))]  # type: ignore[attr-defined]
    return b"".join((*parts, packing.flush()))  # type: ignore[attr-defined]


def zip_of_zeros(share: float) -> bytes:
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("zeros.txt", "w") as member:
        for _ in range(max(60, int(1000 * share))):
            member.write(bytes(MB))
    return stored.getvalue()


def overlapping_zip(share: float) -> bytes:
    """Thousands of names for one piece of packed data."""
    data = zipped({"a.txt": b"words " * 50_000})
    at = data.index(b"PK\1\2")
    entry, end = data[at : data.index(b"PK\5\6")], data[data.index(b"PK\5\6") :]
    count = max(100, int(9_000 * share))
    entries = b"".join(
        entry[:28] + struct.pack("<H", 9) + entry[30:46] + b"a%04d.txt" % n + entry[46 + 5 :] for n in range(count)
    )
    counted = struct.pack("<4sHHHHII", b"PK\5\6", 0, 0, count, count, len(entries), at) + end[20:]
    return data[:at] + entries + counted


def nested_zip(share: float) -> bytes:
    data = b"innermost words"
    for level in range(max(5, int(50 * share))):
        data = zipped({f"{level}.zip" if level else "a.txt": data, "b.zip": data[:0] or b"PK"})
    return data


def quine_like_mail(share: float) -> bytes:
    """Mails in mails in mails."""
    data = b"Subject: innermost\r\n\r\nwords\r\n"
    for _ in range(max(5, int(300 * share))):
        data = b"Subject: outer\r\nContent-Type: message/rfc822\r\n\r\n" + data
    return data


def nested_multiparts(share: float) -> bytes:
    depth = max(20, int(10_000 * share))
    opened = b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n) for n in range(depth))
    return b"Subject: deep\r\nMIME-Version: 1.0\r\n" + opened + b"Content-Type: text/plain\r\n\r\nwords\r\n"


def many_parts(share: float) -> bytes:
    part = b"--b\r\nContent-Disposition: attachment; filename=a.txt\r\n\r\nwords\r\n"
    return b'Subject: many\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n' + part * int(200_000 * share)


def sparse_tar(share: float) -> bytes:
    """A file whose declared size is a terabyte, with no data in the archive."""
    info = tarfile.TarInfo("sparse.txt")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 0
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"%011o\0%011o\0" % (1 << 32, 0)
    header[483:495] = b"%011o\0" % (1 << 32)
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:512]))
    return bytes(header) + bytes(1024)


def long_name_tar(share: float) -> bytes:
    stored = io.BytesIO()
    with tarfile.open(fileobj=stored, mode="w", format=tarfile.GNU_FORMAT) as archive:
        info = tarfile.TarInfo("n" * int(20 * MB * share) + ".txt")
        info.size = 5
        archive.addfile(info, io.BytesIO(b"words"))
    return gzip.compress(stored.getvalue())


def many_members_tar(share: float) -> bytes:
    header = tarfile.TarInfo("same.txt").tobuf()
    return gzip.compress(header * int(200_000 * share) + bytes(1024))


def xz_with_large_window(share: float) -> bytes:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1536 << 20}]
    small = [{"id": lzma.FILTER_LZMA2, "preset": 0}]
    data = bytearray(lzma.compress(b"words", lzma.FORMAT_XZ, lzma.CHECK_NONE, filters=small))
    del filters
    data[16] = 37  # the size of the window: 3 GB; then the header's checksum
    size = (data[12] + 1) * 4
    data[12 + size - 4 : 12 + size] = struct.pack("<I", zlib.crc32(bytes(data[12 : 12 + size - 4])))
    return bytes(data)


def png_of(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(MB))) + chunk(b"IEND", b"")


def looping_tiff(share: float) -> bytes:
    """Pictures one after the other, the last of which is followed by the first."""
    count = max(10, int(50_000 * share))
    found = b"II*\0\x08\0\0\0"
    for number in range(count):
        tags = [(256, 8), (257, 8), (258, 1), (259, 1), (262, 0), (273, 8), (278, 8), (279, 8)]
        following = 8 if number == count - 1 else len(found) + 2 + 12 * len(tags) + 4
        found += struct.pack("<H", len(tags))
        found += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags) + struct.pack("<I", following)
    return found


def looping_ole(name: str) -> Bomb:
    """An old Office container whose sector table is a loop."""

    def make(share: float) -> bytes:
        head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + bytes(6)
        head += struct.pack("<IIIIIIIII", 0, 0xFFFFFF, 1, 0, 4096, 1, 0xFFFFFF, 1, 0xFFFFFF)
        table = struct.pack("<128I", *([0] * 128))
        entry = name.encode("utf-16-le").ljust(64, b"\0") + struct.pack("<HBB", 2 * len(name) + 2, 5, 1)
        entry += struct.pack("<III", 0, 0, 0) + bytes(36) + struct.pack("<IQ", 0, 1 << 31)
        return head + struct.pack("<109I", *([0] * 109)) + table + entry * 4 * max(1, int(1000 * share))

    return make


def notebook(share: float) -> bytes:
    cell = {"cell_type": "code", "source": ["x\n"] * 5, "outputs": [{"output_type": "stream", "text": ["y\n"] * 20}]}
    return json.dumps({"nbformat": 4, "metadata": {}, "cells": [cell] * int(60_000 * share)}).encode()


def wide_csv(share: float) -> bytes:
    columns = int(200_000 * share)
    return ",".join(f"c{n}" for n in range(columns)).encode() + (b"\n" + b"1," * columns) * 20


def xlsx_of_one_string(share: float) -> bytes:
    """A text of 30,000 letters in 200,000 cells."""
    rows = "".join(f'<row r="{n}"><c r="A{n}" t="s"><v>0</v></c></row>' for n in range(1, int(200_000 * share) + 1))
    return xlsx_of(f"<sheetData>{rows}</sheetData>", f"<si><t>{'word ' * 6_000}</t></si>")


def invalid_letters(share: float) -> bytes:
    return random.Random(1).randbytes(int(5 * MB * share)).replace(b"\0", b"\1")


def repeated_cells(share: float) -> bytes:
    cell = '<table:table-cell table:number-columns-repeated="16384"><text:p>x</text:p></table:table-cell>'
    row = f'<table:table-row table:number-rows-repeated="1048576">{cell}</table:table-row>'
    return odf_of(
        "spreadsheet", f'<office:spreadsheet><table:table table:name="a">{row}</table:table></office:spreadsheet>'
    )


def pdf_of_an_image(share: float) -> bytes:
    image = pdf_stream(
        zeros(int(400 * MB * share), lambda: zlib.compressobj()),
        b"/Type /XObject /Subtype /Image /Width 60000 /Height 60000 /ColorSpace /DeviceRGB /BitsPerComponent 8"
        b" /Filter /FlateDecode",
    )
    return pdf_page(
        b"BT /F1 9 Tf 72 700 Td (words) Tj ET q 600 0 0 600 0 0 cm /I Do Q",
        b"/Font << /F1 5 0 R >> /XObject << /I 6 0 R >>",
        image,
    )


BOMBS: dict[str, Bomb] = {
    "nested arrays.json": times("[", MB),
    "nested objects.json": lambda share: b'{"a":' * int(200_000 * share) + b"1" + b"}" * int(200_000 * share),
    "many keys.json": lambda share: b"{%s}" % b",".join(b'"k%d":%d' % (n, n) for n in range(int(300_000 * share))),
    "long number.json": lambda share: b'{"n": %s}' % (b"7" * int(5 * MB * share)),
    "many lines.jsonl": times('{"a": 1}\n', 500_000),
    "billion laughs.xml": lambda share: f"<?xml version='1.0'?>{laughs(10, 10)}<r>&l9;</r>".encode(),
    "quadratic entity.xml": lambda share: (
        f'<!DOCTYPE r [<!ENTITY a "{"word " * int(100_000 * share)}">]><r>{"&a;" * int(50_000 * share)}</r>'.encode()
    ),
    "nested.xml": times("<a>", 300_000, "</a>"),
    "attributes.xml": lambda share: (
        b"<r>%s</r>" % b"".join(b'<e a%d="%d"/>' % (n % 99, n) for n in range(int(600_000 * share)))
    ),
    "nested.html": times("<div>", 500_000, "x"),
    "nested tables.html": times("<table><tr><td>cell ", 20_000),
    "open formats.html": times("<b><i><p>x", 100_000),
    "links.html": times("<a href='x'>y</a> ", MB),
    "aliases.yaml": lambda share: (
        b"a0: &a0 [x]\n"
        + b"".join(b"a%d: &a%d [%s]\n" % (n, n, b",".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 30))
    ),
    "nested.yaml": times("[", MB),
    "nested.toml": lambda share: b"a = " + b"[" * int(MB * share) + b"]" * int(MB * share),
    "dots.toml": times("a.", MB),
    "zeros.zip": zip_of_zeros,
    "overlapping.zip": overlapping_zip,
    "nested.zip": nested_zip,
    "many.zip": lambda share: zipped({f"{n}.txt": b"" for n in range(int(12_000 * share))}),
    "sparse.tar": sparse_tar,
    "long name.tar.gz": long_name_tar,
    "many members.tgz": many_members_tar,
    "zeros.txt.gz": lambda share: (
        gzip.compress(zeros(60 * MB, lambda: zlib.compressobj(wbits=31))) * 1
        if share < 0.5
        else gzip.compress(bytes(60 * MB)) * 40
    ),
    "zeros.txt.bz2": lambda share: bz2.compress(bytes(10 * MB)) * max(6, int(200 * share)),
    "zeros.txt.xz": lambda share: lzma.compress(bytes(10 * MB), preset=0) * max(6, int(200 * share)),
    "window.txt.xz": xz_with_large_window,
    "million paragraphs.docx": lambda share: docx_of("<w:p><w:r><w:t>x</w:t></w:r></w:p>" * int(MB * share)),
    "nested tables.docx": lambda share: docx_of(
        "<w:tbl><w:tr><w:tc>" * int(20_000 * share) + "<w:p/>" + "</w:tc></w:tr></w:tbl>" * int(20_000 * share)
    ),
    "laughs.docx": lambda share: docx_of("<w:p><w:r><w:t>&l9;</w:t></w:r></w:p>", laughs(10, 10, "w:document")),
    "one word.docx": lambda share: docx_of(f"<w:p><w:r><w:t>{'x' * int(150 * MB * share)}</w:t></w:r></w:p>"),
    "far cell.xlsx": lambda share: xlsx_of(
        '<dimension ref="A1:XFD1048576"/><sheetData><row r="1"><c r="A1"><v>1</v></c></row>'
        '<row r="1048576"><c r="XFD1048576"><v>2</v></c></row></sheetData>'
    ),
    "one string.xlsx": xlsx_of_one_string,
    "many cells.xlsx": lambda share: xlsx_of(
        "<sheetData>" + "<row><c><v>1</v></c><c><v>2</v></c></row>" * int(800_000 * share) + "</sheetData>"
    ),
    "nested groups.pptx": lambda share: pptx_of(
        "<p:grpSp>" * int(100_000 * share) + "</p:grpSp>" * int(100_000 * share)
    ),
    "paragraphs.pptx": lambda share: pptx_of(
        f"<p:sp><p:txBody>{'<a:p><a:r><a:t>x</a:t></a:r></a:p>' * int(MB * share)}</p:txBody></p:sp>"
    ),
    "repeated cells.ods": repeated_cells,
    "spaces.odt": lambda share: odf_of(
        "text", '<office:text><text:p>a<text:s text:c="2000000000"/>b</text:p></office:text>'
    ),
    "nested.odt": lambda share: odf_of(
        "text",
        f"<office:text>{'<text:section>' * int(100_000 * share)}{'</text:section>' * int(100_000 * share)}</office:text>",
    ),
    "one chapter.epub": lambda share: epub_of(int(50_000 * share), "word " * 20_000),
    "groups.rtf": lambda share: b"{\\rtf1 " + b"{" * int(MB * share) + b"x" + b"}" * int(MB * share) + b"}",
    "binary.rtf": lambda share: b"{\\rtf1 words \\bin2000000000 " + b"x" * int(MB * share) + b"}",
    "rows.rtf": lambda share: b"{\\rtf1 " + b"\\trowd\\cellx1 a\\cell\\row" * int(300_000 * share) + b"}",
    "pages.pdf": lambda share: pdf_of(
        CATALOG,
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b"3 0 R " * int(300_000 * share), int(300_000 * share)),
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] >>",
    ),
    "looping pages.pdf": lambda share: pdf_of(CATALOG, b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 2000000000 >>"),
    "stream.pdf": lambda share: pdf_page(
        zeros(int(1000 * MB * share), lambda: zlib.compressobj()).replace(b"", b""), packed=True
    ),
    "streams in streams.pdf": lambda share: pdf_page(
        zlib.compress(zeros(int(2000 * MB * share), lambda: zlib.compressobj())), b"", packed=True
    ).replace(b"/FlateDecode", b"[/FlateDecode /FlateDecode]"),
    "texts.pdf": lambda share: pdf_page(
        zlib.compress(b"BT /F1 9 Tf 72 700 Td " + b"(word) Tj 0 -1 Td " * int(2 * MB * share) + b"ET"), packed=True
    ),
    "forms.pdf": nested_forms,
    "lines.pdf": lambda share: pdf_page(
        zlib.compress(b"72 600 m 272 600 l S 72 600 m 72 700 l S " * int(500_000 * share) + b"BT /F1 9 Tf (x) Tj ET"),
        packed=True,
    ),
    "nested arrays.pdf": lambda share: pdf_of(b"<< /Type /Catalog /Pages 2 0 R /A " + b"[" * int(MB * share), PAGES),
    "looping tables.pdf": lambda share: make_pdf(["words"]).replace(b"/Root 1 0 R", b"/Root 1 0 R /Prev 9"),
    "image.pdf": pdf_of_an_image,
    "pixels.png": lambda share: png_of(200_000, 200_000),
    "pixels to read.png": lambda share: png_of(int(6_000 * max(share, 0.1)), int(6_000 * max(share, 0.1))),
    "loop.tiff": looping_tiff,
    "multiparts.eml": nested_multiparts,
    "parts.eml": many_parts,
    "mails.eml": quine_like_mail,
    "header.eml": lambda share: b"Subject: " + b"=?utf-8?q?x?= " * int(1.5 * MB * share) + b"\r\n\r\nwords",
    "recipients.eml": lambda share: b"To: " + b'"a" <a@b.c>, ' * int(300_000 * share) + b"\r\n\r\nwords",
    "base64.eml": lambda share: (
        b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(b"word " * int(6 * MB * share))
    ),
    "mails.mbox": times("From a@b.c Mon Jan  1 00:00:00 2024\nSubject: x\n\nwords\n\n", 300_000),
    "loop.msg": looping_ole("__properties_version1.0"),
    "loop.doc": looping_ole("WordDocument"),
    "loop.xls": looping_ole("Workbook"),
    "outputs.ipynb": notebook,
    "columns.csv": wide_csv,
    "quote.csv": lambda share: b'a,b\n1,"' + b"x,y\n" * int(2 * MB * share),
    "one line.csv": times("a,", 2 * MB),
    "rows.csv": lambda share: b"a,b\n" + b"1,2\n" * int(MB * share),
    "emphasis.md": times("*a **b _c ", 500_000),
    "brackets.md": times("[", 500_000),
    "links.md": times("[a](<b", 300_000),
    "quotes.md": times("> ", 500_000),
    "lists.md": lambda share: b"".join(b"  " * n + b"- x\n" for n in range(int(4_000 * share))),
    "ticks.md": lambda share: b"".join(b"`" * n + b" " for n in range(int(6_000 * share))),
    "comments.md": times("<!-", 500_000),
    "table.md": lambda share: (
        b"|"
        + b"a|" * int(20_000 * share)
        + b"\n|"
        + b"-|" * int(20_000 * share)
        + b"\n"
        + (b"|" + b"1|" * int(20_000 * share) + b"\n") * 40
    ),
    "braces.tex": times("{", MB, "}"),
    "environments.tex": times("\\begin{itemize}\\item ", 200_000),
    "stars.org": times("*", MB),
    "blocks.org": times("#+begin_src\n", 300_000),
    "brackets.py": times("(", MB, ")"),
    "functions.py": lambda share: b"".join(b"def f%d():\n    pass\n" % n for n in range(int(400_000 * share))),
    "braces.js": times("{", MB, "}"),
    "quotes.js": times("`${", MB),
    "lines.txt": times("\n", 10 * MB, "x"),
    "words.txt": lambda share: b"".join(b"w%d " % n for n in range(int(600_000 * share))),
    "one line.log": times("a b ", MB),
    "accents.txt": lambda share: b"e" + "\u0301".encode() * int(2 * MB * share),
    "expanding.txt": times("\ufdfa", MB),
    "invalid.txt": invalid_letters,
    "escapes.txt": lambda share: b"\x1b$B" * int(3 * MB * share),
    "one word.txt": times("x", 50 * MB),
}
"""The bombs by name."""
