import hashlib
import io
import zipfile
from dataclasses import replace

import pytest

from flows.errors import FatalError, StepCancelled
from handlers.extraction import Extracted, RawFile, Unreadable, extract_text
from handlers.records import Block, Document
from handlers.sources import list_sources
from tests.support.documents import make_call, make_docx, make_pdf, make_pptx


def extract(files: dict[str, bytes], **options) -> tuple[list[Document], dict[str, str]]:
    call, root = make_call(files)
    documents = extract_text(list_sources(root, call=call), call=call, **options)["documents"]
    assert (call.done, call.total) == (len(files), len(files))
    return list(documents), {failure.item: failure.error for failure in call.failures}


def extract_one(name: str, data: bytes) -> Document:
    (document,), failures = extract({name: data})
    assert not failures
    return document


def blocks(document: Document) -> list[tuple[str, str]]:
    return [(block.kind, document.text[block.start : block.end]) for block in document.blocks]


def test_docx_keeps_headings_lists_and_tables():
    data = make_docx()
    document = extract_one("r.docx", data)
    assert document.title == "Quarterly report"
    assert document.content_sha256 == hashlib.sha256(data).hexdigest()
    assert blocks(document)[:5] == [
        ("heading", "# Sales"),
        ("paragraph", "Sales grew by a third in the second quarter."),
        ("list", "- North\n- South"),
        ("heading", "## Numbers"),
        ("table", "| Region | Units |\n| --- | --- |\n| North | 42 |"),
    ]
    assert blocks(document)[-1] == ("paragraph", "That is all.")
    assert [block.level for block in document.blocks if block.kind == "heading"] == [1, 2]


def test_pptx_has_a_page_for_every_slide():
    document = extract_one("p.pptx", make_pptx())
    assert document.title == "Plans"
    pages = {document.text[block.start : block.end]: block.page for block in document.blocks}
    assert {"## First": 1, "## Second": 2, "## Third": 3}.items() <= pages.items()
    assert "\uf8f0" not in document.text


def test_pdf_has_pages():
    document = extract_one("p.pdf", make_pdf(["Hello on the first page", "And on the second"]))
    assert [(block.page, document.text[block.start : block.end].lstrip("# ")) for block in document.blocks] == [
        (1, "Hello on the first page"),
        (2, "And on the second"),
    ]


def test_html_keeps_content_and_drops_what_surrounds_it():
    page = """<!doctype html><html><head><title>On trees</title><style>p{color:red}</style></head><body>
        <nav><a href="/">Home</a></nav><p><a href="a.html">Prev</a> <a href="b.html">Next</a></p>
        <h1>Trees &amp; shrubs</h1>
        <p>An <b>oak</b> has a <a href="x.html">deep root</a>.</p><script>alert(1)</script>
        <table><tr><th>Tree</th><th>Height</th></tr><tr><td>Oak</td><td>40</td></tr></table>
        <pre><code>plant(oak)\n  water()</code></pre><ul><li>one</li><li>two</li></ul></body></html>"""
    document = extract_one("t.html", page.encode())
    assert document.title == "On trees"
    assert blocks(document) == [
        ("heading", "# Trees & shrubs"),
        ("paragraph", "An oak has a deep root."),
        ("table", "| Tree | Height |\n| --- | --- |\n| Oak | 40 |"),
        ("code", "```\nplant(oak)\n  water()\n```"),
        ("list", "- one\n- two"),
    ]


def test_html_in_the_encoding_it_declares():
    page = '<html><head><meta charset="windows-1251"></head><body><p>Привет, мир</p></body></html>'
    assert extract_one("r.html", page.encode("cp1251")).text == "Привет, мир"


@pytest.mark.parametrize(
    "encoded",
    [
        "Größe – „süß“\r\nund mehr".encode("cp1252"),
        "Größe – „süß“\nund mehr".encode(),
        "Größe – „süß“\nund mehr".encode("utf-8-sig"),
        "Größe – „süß“\nund mehr".encode("utf-16"),
        b"\xfe\xff" + "Größe – „süß“\rund mehr".encode("utf-16-be"),
    ],
    ids=["cp1252", "utf-8", "utf-8 with mark", "utf-16", "utf-16-be"],
)
def test_text_of_every_encoding(encoded: bytes):
    assert extract_one("g.txt", encoded).text == "Größe – „süß“\nund mehr"


def test_an_encoding_can_be_said_for_texts_that_declare_none():
    files = {
        "a.txt": "Ζήτω".encode("iso8859-7"),
        "b.txt": "Ζήτω".encode(),
        "c.html": '<meta charset="cp1253">Ζήτω'.encode("cp1253"),
    }
    documents, _ = extract(files, encoding="iso-8859-7")
    assert [document.text for document in documents] == ["Ζήτω"] * 3
    assert dict(documents[0].metadata) == {"encoding": "iso8859-7"}
    with pytest.raises(FatalError, match="'klingon' is unknown to Python"):
        extract(files, encoding="klingon")


def test_the_tag_of_a_text_declares_its_encoding():
    words = {"a.txt": "Ζήτω".encode("iso8859-7"), "b.txt": "Привет".encode("cp1251"), "c.txt": b"\xc6 \xde"}
    tags = {"b.txt": "windows-1251", "c.txt": "klingon"}
    call, root = make_call(words)
    sources = [
        replace(each, tags=(("encoding", tags[each.name]),) if each.name in tags else ())
        for each in list_sources(root, call=call)
    ]
    documents = extract_text(sources, encoding="iso-8859-7", call=call)["documents"]
    assert [(each.text, dict(each.metadata)["encoding"]) for each in documents] == [
        ("Ζήτω", "iso8859-7"),
        ("Привет", "cp1251"),
    ]
    assert [(each.item, each.error) for each in call.failures] == [
        ("c.txt", "has the tag encoding=klingon, which is unknown to Python; write for example windows-1250")
    ]


def test_csv_is_a_table_whatever_its_delimiter():
    document = extract_one("c.csv", b'name;note\noak;"tall, old\nand | wide"\n')
    assert document.text == "| name | note |\n| --- | --- |\n| oak | tall, old and \\| wide |"


def test_json_is_laid_out():
    document = extract_one("j.json", b'{"title": "T", "a": [1]}')
    assert (document.title, document.text) == ("T", '{\n  "title": "T",\n  "a": [\n    1\n  ]\n}')


def test_titles_come_from_metadata_then_headings_then_the_name():
    documents, _ = extract(
        {"a.md": b"---\ntitle: Front\n---\n# H\n", "b.md": b"text\n\n## First *one*\n", "c.txt": b"x"}
    )
    assert [document.title for document in documents] == ["Front", "First *one", "c"]


def _encrypted_docx() -> bytes:
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500) + "EncryptedPackage".encode("utf-16-le")


def _empty_zip() -> bytes:
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").close()
    return buffer.getvalue()


def test_what_cannot_be_read_is_set_aside_and_the_rest_goes_on():
    documents, failures = extract(
        {
            "a.txt": b"fine",
            "broken.pdf": make_pdf(["x"])[:120],
            "cut.docx": make_docx()[:2000],
            "empty.md": b" \n",
            "large.txt": b"x" * 30_001,
            "locked.docx": _encrypted_docx(),
            "no.json": b"{",
            "notpdf.pdf": b"hello",
            "scan.pdf": make_pdf([""]),
            "void.docx": _empty_zip(),
            "z.txt": b"fine too",
            "zeros.txt": b"a\0\1\2\xff",
        },
        max_document_bytes=30_000,
    )
    assert [document.name for document in documents] == ["a.txt", "z.txt"]
    for name, reason in {
        "broken.pdf": "is damaged",
        "cut.docx": "is damaged",
        "empty.md": "is empty",
        "large.txt": "has 30,001 bytes, more than the 30,000 allowed",
        "locked.docx": "password",
        "no.json": "not valid JSON, line 1",
        "notpdf.pdf": "is not a PDF",
        "scan.pdf": "no text",
        "void.docx": "is damaged",
        "zeros.txt": "is binary",
    }.items():
        assert reason in failures.pop(name)
    assert not failures


def test_a_document_that_vanished_is_set_aside():
    call, root = make_call({"a.txt": b"a", "b.txt": b"b"})
    sources = list_sources(root, call=call)
    call.services["storage"].delete(sources[0].uri)
    assert [document.name for document in extract_text(sources, call=call)["documents"]] == ["b.txt"]
    assert call.failures[0].error.startswith("there is no such file")


def test_an_encrypted_pdf_says_so():
    data = make_pdf(["secret"]).replace(
        b"/Root 1 0 R",
        b"/Root 1 0 R /Encrypt << /Filter /Standard /V 1 /R 2 /O (%s) /U (%s) /P -4 >> /ID [(a)(a)]"
        % (b"o" * 32, b"u" * 32),
    )
    _, failures = extract({"e.pdf": data})
    assert "encrypted" in failures["e.pdf"]


def test_another_extractor_can_be_put_in_place():
    class Fixed:
        def extract(self, file: RawFile) -> Extracted:
            if b"bad" in file.data:
                raise Unreadable("smells")
            return Extracted("fixed", [Block("paragraph", 0, 5)])

    call, root = make_call({"a.pdf": b"%PDF-", "b.pdf": b"bad"})
    services = call.services.with_factories({"text_extractor": Fixed})
    call.identity = type(call.identity)(services=services)
    assert [document.text for document in extract_text(list_sources(root, call=call), call=call)["documents"]] == [
        "fixed"
    ]
    assert [(failure.item, failure.error) for failure in call.failures] == [("b.pdf", "smells")]


def test_a_cancelled_call_stops_between_documents():
    call, root = make_call({"a.txt": b"a"})
    sources = list_sources(root, call=call)
    call.cancel()
    with pytest.raises(StepCancelled):
        extract_text(sources, call=call)["documents"]
