"""Text recognition: with each engine that is installed, words with their pages and confidence, or a reason."""

import io
import json
import random
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFont

from flows.author import Call
from flows.errors import FatalError
from flows.state import Identity
from handlers.extraction import Recognition, extract_text, installed_engines, merge_extractions
from handlers.extraction.recognition import PageWord, RecognisedPage, with_recognised
from handlers.records import Document, SourceFile
from tests.support.documents import make_call, make_pdf

pytestmark = pytest.mark.slow  # the recognition models take a second a page
engine = pytest.mark.parametrize(
    "engine",
    [
        pytest.param(name, marks=pytest.mark.skipif(name not in installed_engines(), reason=f"{name} is not installed"))
        for name in ("rapidocr", "tesseract")
    ],
)
LINES = ("The harbour master keeps the keys", "of all seven gates in a drawer.", "Ask for Mrs Quill.")


def picture(lines: tuple[str, ...] = LINES, *, turned: int = 0) -> Any:
    page = Image.new("L", (1000, 700), 255)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(40)
    for row, line in enumerate(lines):
        draw.text((80, 80 + 60 * row), line, fill=0, font=font)
    return page.rotate(turned, expand=True)


def stored(page: Any, kind: str, **more: Any) -> bytes:
    buffer = io.BytesIO()
    page.save(buffer, kind, **more)
    return buffer.getvalue()


def noise() -> Any:
    dice = random.Random(1)
    page = Image.new("L", (400, 300), 255)
    for _ in range(200):
        at = dice.randrange(380), dice.randrange(280)
        ImageDraw.Draw(page).line((*at, at[0] + dice.randrange(30), at[1] + dice.randrange(30)), fill=0, width=3)
    return page


def read(
    name: str, data: bytes, *, recognition: Recognition | None = None, ocr: Any = "auto"
) -> tuple[Document | None, list[str], Call]:
    call, root = make_call({name: data})
    if recognition is not None:
        services = call.services.with_objects({"recognition": recognition})
        call = Call(identity=Identity(index="test", services=services))
    documents = extract_text([SourceFile(f"{root}/{name}", name, len(data))], ocr=ocr, call=call)["documents"]
    return next(iter(documents), None), [failure.error for failure in call.failures], call


@engine
@pytest.mark.parametrize(
    ("name", "kind"), [("a.png", "png"), ("a.jpg", "jpeg"), ("a.tiff", "tiff"), ("scan.pdf", "pdf")]
)
def test_words_of_pictures_and_scans_are_found(engine: Any, name: str, kind: str):
    document, failures, call = read(name, stored(picture(), kind), recognition=Recognition(engine))
    assert document is not None, failures
    assert "harbour master keeps the keys" in document.text
    assert "seven gates in a drawer" in " ".join(document.text.split())
    metadata = dict(document.metadata)
    assert (metadata["ocr"], metadata["ocr_pages"]) == (engine, "1")
    assert float(metadata["ocr_confidence"]) > 0.8
    assert {document.text[word.start : word.end] for word in document.words} >= {"harbour", "gates", "Quill."}
    assert all(0 <= word.confidence <= 1 and word.page == 1 for word in document.words)
    [artifact] = merge_extractions(documents=[document], call=call)
    assert (artifact.kind, artifact.page, len(json.loads(artifact.content))) == ("words", 1, len(document.words))


@engine
@pytest.mark.parametrize("turned", [90, 180, 270])
def test_a_page_that_was_turned_is_read_in_order(engine: Any, turned: int):
    document, failures, _ = read("a.png", stored(picture(turned=turned), "png"), recognition=Recognition(engine))
    assert document is not None, failures
    assert " ".join(document.text.split()).startswith("The harbour master keeps the keys of all seven gates")


@engine
def test_only_pages_without_text_are_read_unless_all_are_wanted(engine: Any):
    import pypdfium2

    both = pypdfium2.PdfDocument.new()
    for data in (make_pdf(["Printed words on the first page."]), stored(picture(), "pdf")):
        both.import_pages(pypdfium2.PdfDocument(data))
    buffer = io.BytesIO()
    both.save(buffer)
    document, failures, _ = read("a.pdf", buffer.getvalue(), recognition=Recognition(engine))
    assert document is not None, failures
    assert {word.page for word in document.words} == {2}
    assert document.text.index("Printed words") < document.text.index("harbour")
    everything, _, _ = read("a.pdf", buffer.getvalue(), recognition=Recognition(engine), ocr="always")
    assert everything is not None
    assert {word.page for word in everything.words} == {1, 2}


@engine
def test_a_page_that_is_read_too_poorly_is_set_aside(engine: Any):
    document, failures, _ = read(
        "a.png", stored(picture(), "png"), recognition=Recognition(engine, min_confidence=1.01)
    )
    assert document is None
    assert "is recognised too poorly: confidence" in failures[0]


@engine
def test_pictures_without_words_and_broken_ones_have_a_reason(engine: Any):
    blank = Image.new("L", (300, 200), 255)
    for name, data, reason in (
        ("blank.png", stored(blank, "png"), "shows no words that can be recognised"),
        ("broken.png", stored(picture(), "png")[:2000], "cannot be shown"),
        ("no.png", b"not a picture", "is not a readable picture"),
    ):
        document, failures, _ = read(name, data, recognition=Recognition(engine))
        assert document is None
        assert reason in failures[0]
    document, failures, _ = read("noise.png", stored(noise(), "png"), recognition=Recognition(engine))
    assert document is None, document and document.text


def test_without_an_engine_the_reason_says_how_to_get_one():
    for ocr in ("auto", "never"):
        document, failures, _ = read("scan.pdf", stored(picture(), "pdf"), ocr=ocr)
        assert document is None
        assert "install the extra `ocr` or tesseract" in failures[0]
    with pytest.raises(FatalError, match="ocr: always needs an engine"):
        read("scan.pdf", stored(picture(), "pdf"), ocr="always")


def test_unsure_pages_are_left_out_and_named():
    from handlers.extraction import Extracted

    def page(number: int, text: str, confidence: float) -> RecognisedPage:
        return RecognisedPage(number, [[[PageWord(text, confidence, 0, 0, 1, 1)]]])

    found = with_recognised(
        Extracted(""), [page(1, "sure", 0.9), page(2, "guess", 0.3), page(3, "fine", 0.7)], Recognition("tesseract")
    )
    assert found.text == "sure\n\nfine"
    assert dict(found.metadata)["ocr_pages_set_aside"] == "2"
    assert [(word.page, found.text[word.start : word.end]) for word in found.words] == [(1, "sure"), (3, "fine")]
