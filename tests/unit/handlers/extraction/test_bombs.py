"""Files that nest, repeat, loop or unpack without end are read or refused with a reason."""

import io
import zipfile

import pytest

from flows.calling import Sandbox
from flows.errors import CallCrashed, LimitExceeded
from handlers.extraction import Unreadable, extract_text, to_document
from handlers.extraction.registry import FORMATS, mime_type_of
from handlers.records import SourceFile
from handlers.sources import list_sources
from tests.support.document_bombs import BOMBS, epub_of, form_that_draws_itself
from tests.support.documents import make_call, make_pptx
from tests.support.profiles import scaled

SHARE = 0.01
"""Of the full size, which `python -m bench.bombs` has."""


@pytest.mark.slow
@pytest.mark.parametrize("name", list(BOMBS)[:: max(1, 4 // scaled(1))])
def test_a_small_bomb_is_text_or_has_a_reason(name: str):
    data = BOMBS[name](SHARE)
    text, reason = "", ""
    try:
        text = to_document(SourceFile(name, name, len(data)), data, cpu_s=10.0).text
    except Unreadable as error:
        reason = str(error)
    assert text or reason
    assert "does not expect" not in reason
    assert len(text) <= max(10_000_000, 200 * len(data))


def test_a_chapter_that_a_book_lists_often_is_read_once():
    data = epub_of(50, "words")
    assert to_document(SourceFile("a.epub", "a.epub", len(data)), data).text == "words"


def test_a_header_that_takes_too_long_to_parse_is_taken_as_it_is_written():
    subject = " ".join(f"word{number}" for number in range(5_000))
    data = f"Subject: {subject}\r\n\r\nThe body.".encode()
    text = to_document(SourceFile("a.eml", "a.eml", len(data)), data).text
    assert {"word0", "word4999", "The", "body."} <= set(text.split())


@pytest.mark.slow
def test_a_form_that_draws_itself_ends_at_the_limit_of_memory():
    data = form_that_draws_itself()
    assert len(data) < 1000
    # PDFium aborts its process when it gets no more memory, unless the process is found to have too much before.
    with pytest.raises((LimitExceeded, CallCrashed), match=r"needed more than 300 MB of memory|SIGABRT"):
        Sandbox(memory_bytes=300_000_000).run(to_document, SourceFile("a.pdf", "a.pdf", len(data)), data)


def test_a_presentation_with_one_wrong_byte_is_damaged():
    data = bytearray(make_pptx())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        slide = archive.getinfo("ppt/slides/slide1.xml")
    data[slide.header_offset + 30 + len(slide.filename) + slide.compress_size // 2] ^= 0xFF
    with pytest.raises(Unreadable, match=r"is damaged: ppt/slides/slide1\.xml in it cannot be unpacked"):
        to_document(SourceFile("a.pptx", "a.pptx", len(data)), bytes(data))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nested.xml", "is nested too deeply to be read: it has more than two thousand levels"),
        (
            "nested tables.docx",
            r"is nested too deeply to be read: word/document\.xml has more than two thousand levels",
        ),
        ("laughs.docx", "has entities in entities that unpack to any size, like a decompression bomb"),
        ("billion laughs.xml", "has entities in entities that unpack to any size, like a decompression bomb"),
    ],
)
def test_the_reason_of_a_limit_is_not_damage(name: str, reason: str):
    data = BOMBS[name](0.1)
    with pytest.raises(Unreadable, match=reason):
        to_document(SourceFile(name, name, len(data)), data)


def test_a_container_that_cannot_be_opened_does_not_stop_the_listing():
    call, root = make_call({"deep.eml": BOMBS["multiparts.eml"](0.2), "fine.md": b"words"})
    listed = list_sources(root, call=call)
    assert [source.name for source in listed] == ["deep.eml", "fine.md"]
    found = extract_text(listed, call=call)
    assert [document.name for document in found["documents"]] == ["fine.md"]
    assert [failure.error for failure in found["unreadable"]] == ["is nested too deeply to be read"]


def test_there_is_a_bomb_for_nearly_every_format():
    tried = {mime_type_of(name) for name in BOMBS}
    assert {each.name for each in FORMATS if each.mime_type not in tried} <= {
        "PPT",
        "ODP",
        "web page",
        "TSV",
        "settings",
    }
