import io
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from flows.author import Call
from flows.errors import LimitExceeded
from flows.state import Identity, Services
from handlers.extraction import extract_code_blocks, extract_images, extract_tables, extract_text, merge_extractions
from handlers.sources import list_sources
from tests.support.documents import PNG, RULED_PAGE, make_call, make_docx, make_pdf, make_pptx
from tests.support.paths import DOCUMENTS

HTML = b"""<h1>H</h1><p>text</p><img src="a/b.png" alt="An oak">
<figure><img src="https://e.org/i.png"><figcaption>Fig.
1: a <b>map</b></figcaption></figure><img src="x.gif">
<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=" alt="dot">"""
MARKDOWN = b"""# M

![A cat](cat.png) and ![](nothing.png)

```python
def f():
    pass
```

1. step

   ~~~
   tilde
   ~~~

        indented

        x ![not](inside.png)
"""


def documents_of(files: dict[str, bytes]):
    call, root = make_call(files)
    return extract_text(list_sources(root, call=call), call=call)["documents"], call


def test_tables_of_pdf_are_found_by_their_lines():
    documents, call = documents_of({"t.pdf": make_pdf(["No table here", RULED_PAGE])})
    (table,) = extract_tables(documents, call=call)
    assert (table.kind, table.page) == ("table", 2)
    assert table.content == "| Name | Size |\n| --- | --- |\n| alpha | 17 |"
    assert extract_tables(documents, seconds_per_document=0, call=call) == ()


def test_tables_of_other_formats_are_those_of_the_text():
    documents, call = documents_of({"a.csv": b"a,b\n1,2\n", "d.docx": make_docx(), "e.md": b"|x|y|\n|-|-|\n|1|2|\n"})
    tables = extract_tables(documents, call=call)
    assert [table.document_id for table in tables] == [document.id for document in documents]
    assert tables[2].content == "|x|y|\n|-|-|\n|1|2|"


def test_pictures_are_stored_with_what_is_said_of_them():
    documents, call = documents_of({"d.docx": make_docx(), "p.pptx": make_pptx()})
    images = extract_images(documents, call=call)
    assert [(image.content, image.page) for image in images] == [
        ("A map of the regions", None),
        ("The second picture", 2),
    ]
    for image in images:
        assert image.uri is not None
        assert "/artifacts/test/" in image.uri
        assert image.uri.endswith(".png")
        assert call.services["storage"].read(image.uri) == PNG
    assert extract_images(documents, call=call) == images


def test_web_pages_and_markdown_refer_to_pictures():
    documents, call = documents_of({"h.html": HTML, "m.md": MARKDOWN})
    images = extract_images(documents, call=call)
    found = [(image.content, (image.uri or "")[:20].partition("//")[0]) for image in images]
    assert found == [("An oak", ""), ("Fig. 1: a map", "https:"), ("dot", "memory:"), ("A cat", "")]


def damaged_docx() -> bytes:
    """A DOCX whose picture does not fit its checksum."""
    stored = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(make_docx())) as old, zipfile.ZipFile(stored, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))  # not packed, so that the bytes of the picture stand in the file
    return stored.getvalue().replace(PNG, PNG[:-1] + b"\xff")


def without_picture() -> bytes:
    found = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(make_docx())) as old, zipfile.ZipFile(found, "w") as new:
        for name in old.namelist():
            if "media" not in name:
                new.writestr(name, old.read(name))
    return found.getvalue()


DAMAGED_PDF = make_pdf(["Words\fq 100 0 0 100 72 500 cm BI /W 99 /H 99 /CS /RGB /BPC 8 /F /Fl ID damaged EI Q"])


@pytest.mark.parametrize(
    ("name", "data", "warning"),
    [
        ("d.docx", damaged_docx(), "a picture is left out: it is damaged"),
        ("m.docx", without_picture(), "a picture is left out: it is missing in the file"),
        ("p.pdf", DAMAGED_PDF, "a picture on page 1 is left out: it is damaged"),
        ("h.html", b"<p>Words <img src='data:image/png;base64,iVBO1' alt='x'>", "a picture is left out: it is damaged"),
    ],
)
def test_a_picture_that_cannot_be_shown_is_reported(
    name: str, data: bytes, warning: str, caplog: pytest.LogCaptureFixture
):
    documents, call = documents_of({name: data})
    assert extract_images(documents, call=call) == ()
    assert [record.getMessage() for record in caplog.records if f"{name}: {warning}" in record.getMessage()]
    assert not call.failures


def test_pictures_of_pdf_have_captions():

    path = DOCUMENTS / "databases/sqlite-faster-than-the-file-system.pdf"
    documents, call = documents_of({"s.pdf": path.read_bytes()})
    images = extract_images(documents, call=call)
    assert [image.page for image in images] == [4, 5, 5, 6, 7]
    assert images[0].content == "Chart 1: SQLite read latency relative to direct filesystem reads."
    assert call.services["storage"].read(str(images[0].uri)).startswith(b"\xff\xd8")


def test_code_is_taken_without_fences():
    documents, call = documents_of({"m.md": MARKDOWN, "j.json": b"{}", "t.txt": b"See::\n\n    run it\n\nDone."})
    found = [(block.content, block.language) for block in extract_code_blocks(documents, call=call)]
    assert found[:2] == [("def f():\n    pass", "python"), ("tilde", None)]
    assert found[-1] == ("run it", None)
    assert not any("{}" in content for content, _ in found)


def test_a_document_that_changed_is_set_aside():
    documents, call = documents_of({"a.pdf": make_pdf(["x"]), "b.md": b"|x|y|\n|-|-|\n|1|2|\n"})
    call.services["storage"].write(documents[0].uri, make_pdf(["other"]))
    assert len(extract_tables(documents, call=call)) == 1
    assert [(failure.item, failure.error) for failure in call.failures] == [
        ("a.pdf", "tables: changed while it was being ingested; ingest it again")
    ]


class _Refusing:
    """Parsers for which every call is too much."""

    cpu_s = 1.0

    def run(self, function: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        raise LimitExceeded("needed more memory")

    stream = run


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.pdf", make_pdf(["text"])),
        ("b.docx", make_docx()),
        ("c.pptx", make_pptx()),
        ("d.html", HTML),
        ("e.md", MARKDOWN),
    ],
)
def test_pictures_are_looked_for_only_within_the_limits_of_parsers(name: str, data: bytes):
    documents, call = documents_of({name: data})
    services = Services(
        objects={"parsers": _Refusing(), **{each: call.services[each] for each in ("storage", "artifacts_url")}}
    )
    limited = Call(identity=Identity(index="test", services=services))
    assert extract_images(documents, call=limited) == ()
    assert [failure.error for failure in limited.failures] == ["images: needed more memory"]


@pytest.mark.parametrize("repeats", [1, 3])
def test_merging_keeps_each_artifact_once_and_documents_together(repeats: int):
    documents, call = documents_of({"a.md": MARKDOWN, "b.csv": b"a,b\n1,2\n", "d.docx": make_docx()})
    tables, images, code = (
        extract(documents, call=call) for extract in (extract_tables, extract_images, extract_code_blocks)
    )
    merged = merge_extractions(tables * repeats, images, code, call=call)
    assert sorted(merged, key=lambda found: found.id) == sorted((*tables, *images, *code), key=lambda found: found.id)
    order = [artifact.document_id for artifact in merged]
    assert order == sorted(order, key=order.index)


def test_equal_blocks_in_one_document_have_ids_of_their_own():
    documents, call = documents_of({"m.md": b"```\nx\n```\n\ntext\n\n```\nx\n```\n"})
    first, second = extract_code_blocks(documents, call=call)
    assert first.content == second.content
    assert first.id != second.id
