"""The pictures in documents of each format: their bytes if the file contains them, else their address."""

import base64
import binascii
import io
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from handlers.extraction.formats import Unreadable
from handlers.extraction.labels import is_direction
from handlers.extraction.package import Package, local_name, relation_id
from handlers.extraction.pdfium import open_page, open_pdf
from handlers.extraction.readers.html import decode_page
from handlers.extraction.readers.markdown import parse
from handlers.extraction.readers.pptx import slides_of
from handlers.markup import TolerantHTMLParser

_SUFFIXES = {"jpeg": "jpg", "svg+xml": "svg", "x-emf": "emf", "x-wmf": "wmf", "jpg": "jpg", "tif": "tiff"}
_CAPTION = re.compile(r"(?i)\s*(fig(ure)?|chart|image|diagram|plate|photo|abb(ildung)?|table)\.?\s*\d+\b[^\n\r]*")
_ALT = ("descr", "title")


@dataclass(frozen=True)
class Picture:
    """A picture in a document; `data` is None where the document only has its `address`."""

    caption: str
    data: bytes | None = None
    suffix: str = ""
    address: str = ""
    page: int | None = None


@dataclass(frozen=True)
class LostPicture:
    """A missing or damaged picture of a document, with the reason for the log."""

    reason: str
    page: int | None = None


def pictures_of_pdf(data: bytes, min_pixels: int) -> Iterator[Picture | LostPicture]:
    """The pictures page by page; a caption is a line directly below the picture that starts like one (`Figure 1`)."""
    with open_pdf(data) as pdf:
        count = len(pdf)
    for number in range(count):
        # Reopened for every page, so that PDFium is free for others while the caller stores a picture.
        with open_pdf(data) as pdf:
            found = list(_pictures_of_page(pdf, number, min_pixels))
        yield from found


def _pictures_of_page(pdf: Any, number: int, min_pixels: int) -> Iterator[Picture | LostPicture]:
    import pypdfium2
    from pypdfium2 import raw

    page = open_page(pdf, number)
    for image in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=4):
        if min(image.get_px_size()) < min_pixels:
            continue
        buffer = io.BytesIO()
        try:
            image.extract(buffer, fb_format="png")
        except (pypdfium2.PdfiumError, ValueError, OSError) as error:
            yield LostPicture(f"is damaged ({error})", number + 1)
            continue
        content = buffer.getvalue()
        left, bottom, right, _ = image.get_bounds()
        words = page.get_textpage().get_text_bounded(left - 20, bottom - 40, right + 20, bottom)
        caption = _CAPTION.match(words)
        yield Picture(" ".join(caption[0].split()) if caption else "", content, _sniff(content), page=number + 1)


def pictures_of_docx(data: bytes) -> Iterator[Picture | LostPicture]:
    """The pictures in the order of the text."""
    package = Package(data, "DOCX")
    yield from _pictures_of_part(package, package.main_part, page=None)


def pictures_of_pptx(data: bytes) -> Iterator[Picture | LostPicture]:
    """The pictures slide by slide; the page is the slide's number."""
    package = Package(data, "PPTX")
    for number, slide in enumerate(slides_of(package), 1):
        yield from _pictures_of_part(package, slide, page=number)


def _pictures_of_part(package: Package, part: str, page: int | None) -> Iterator[Picture | LostPicture]:
    relations = package.relations(part)
    described = ""
    for node in package.xml(part).iter():
        name = local_name(node)
        if name in ("docPr", "cNvPr"):
            text = next((words for key in _ALT if (words := " ".join(node.get(key, "").split()))), "")
            # In DOCX, `docPr` is described and the `cNvPr` inside it rarely; PPTX has `cNvPr` only.
            if text or name == "docPr" or page is not None:
                described = text
        elif name == "blip":
            relation = relations.get(relation_id(node, "embed"))
            if relation is None:
                if relation_id(node, "embed"):
                    yield LostPicture("is missing in the file", page)
                continue  # else it is linked, and not in the file
            if relation.target not in package:
                yield LostPicture(f"is missing in the file ({relation.target})", page)
                continue
            suffix = posixpath.splitext(relation.target)[1].lstrip(".").lower()
            try:
                content = package.read(relation.target)
            except Unreadable as error:
                yield LostPicture(str(error), page)
                continue
            yield Picture(described, content, _SUFFIXES.get(suffix, suffix) or "bin", page=page)


def pictures_of_html(data: bytes) -> Iterator[Picture | LostPicture]:
    """Every `<img>` with its alternative text, else the caption of its figure; `data:` addresses are decoded."""
    parser = _ImageParser()
    parser.feed(decode_page(data).text)
    parser.close()
    for source, caption in parser.found:
        if (picture := _referred(source, caption)) is not None and not is_direction(caption):
            yield picture


class _ImageParser(TolerantHTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, str]] = []
        self._figure_from: int | None = None
        self._caption: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attrs}
        if tag == "img" and values.get("src"):
            self.found.append((values["src"], " ".join((values.get("alt") or values.get("title") or "").split())))
        elif tag == "figure":
            self._figure_from = len(self.found)
        elif tag == "figcaption":
            self._caption = []

    def handle_endtag(self, tag: str) -> None:
        if tag == "figcaption" and self._caption is not None and self._figure_from is not None:
            caption = " ".join("".join(self._caption).split())
            figure = self.found[self._figure_from :]
            self.found[self._figure_from :] = [(source, alt or caption) for source, alt in figure]
            self._caption = None

    def handle_data(self, data: str) -> None:
        if self._caption is not None:
            self._caption.append(data)


def pictures_of_markdown(text: str) -> Iterator[Picture | LostPicture]:
    """The pictures in `![…](…)` outside of code."""
    for token in parse(text):
        for child in token.children or ():
            if child.type == "image":
                picture = _referred(str(child.attrs.get("src", "")), " ".join(child.content.split()))
                if picture is not None:
                    yield picture


def _referred(address: str, caption: str) -> Picture | LostPicture | None:
    if not address.startswith("data:"):
        return Picture(caption, address=address)
    header, _, body = address[5:].partition(",")
    kind = re.match(r"image/([\w.+-]+)", header)
    if not kind:
        return None
    try:
        content = base64.b64decode(body) if header.endswith(";base64") else unquote_to_bytes(body)
    except binascii.Error as error:
        return LostPicture(f"is damaged: its base64 cannot be decoded ({error})")
    return Picture(caption, content, re.sub(r"\W", "", _SUFFIXES.get(kind[1], kind[1])))


def _sniff(content: bytes) -> str:
    if content.startswith(b"\xff\xd8"):
        return "jpg"
    return "png" if content.startswith(b"\x89PNG") else "jp2"
