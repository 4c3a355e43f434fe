"""`extract_images`: writes the pictures of documents to storage, with their captions or alternative texts."""

import hashlib
import logging
from collections.abc import Iterator, Sequence

from flows.author import Call, handler
from flows.storage import Storage
from handlers.extraction.artifacts import FoundArtifact, collect, read_again
from handlers.extraction.formats import DOCX, HTML, MARKDOWN, PDF, PPTX
from handlers.extraction.parsing import parsed_items
from handlers.extraction.pictures import (
    LostPicture,
    Picture,
    pictures_of_docx,
    pictures_of_html,
    pictures_of_markdown,
    pictures_of_pdf,
    pictures_of_pptx,
)
from handlers.records import Artifact, Document

logger = logging.getLogger(__name__)


@handler(writes="images", effects="artifacts")
def extract_images(
    documents: Sequence[Document],
    *,
    min_pixels: int = 32,
    max_images_per_document: int = 200,
    max_image_bytes: int = 20_000_000,
    call: Call,
) -> tuple[Artifact, ...]:
    """The pictures in all documents, their bytes written below `artifacts_url`, in the order of the documents.

    A picture that a document shows several times is stored once. Pictures narrower or lower than `min_pixels` count as
    decoration and are left out, if the format has their size. Damaged or missing pictures are left out with a warning.
    HTML and Markdown only refer to pictures: their captions are kept, with the address if it is on the web.
    """
    storage: Storage = call.services["storage"]
    root: str = call.services["artifacts_url"]

    def find(document: Document) -> Iterator[FoundArtifact]:
        seen: set[str] = set()
        for picture in _pictures(document, call, min_pixels):
            call.check_cancelled()
            if isinstance(picture, LostPicture):
                where = "" if picture.page is None else f" on page {picture.page}"
                logger.warning("%s: a picture%s is left out: it %s", document.name, where, picture.reason)
                continue
            if picture.data is None:
                key = stored = picture.address
            elif len(picture.data) > max_image_bytes:
                logger.warning("%s: a picture of %d bytes left out", document.name, len(picture.data))
                continue
            else:
                key = hashlib.sha256(picture.data).hexdigest()
                stored = storage.join(root, call.index, document.id, f"{key[:32]}.{picture.suffix}")
            if key in seen or not (picture.data or picture.caption):
                continue
            if len(seen) >= max_images_per_document:
                logger.warning("%s: only its first %d pictures were taken", document.name, len(seen))
                return
            seen.add(key)
            if picture.data is not None:
                storage.write(stored, picture.data)
            on_the_web = stored.startswith(("http://", "https://"))
            uri = stored if picture.data is not None or on_the_web else None
            yield FoundArtifact(picture.caption, uri=uri, page=picture.page, identity=key)

    return collect(documents, "image", find, call)


def _pictures(document: Document, call: Call, min_pixels: int) -> Iterator[Picture | LostPicture]:
    match document.mime_type:
        case _ if document.mime_type == PDF:
            yield from parsed_items(call, pictures_of_pdf, read_again(document, call), min_pixels)
        case _ if document.mime_type == DOCX:
            yield from parsed_items(call, pictures_of_docx, read_again(document, call))
        case _ if document.mime_type == PPTX:
            yield from parsed_items(call, pictures_of_pptx, read_again(document, call))
        case _ if document.mime_type == HTML:
            yield from parsed_items(call, pictures_of_html, read_again(document, call))
        case _ if document.mime_type == MARKDOWN and "![" in document.text:
            yield from parsed_items(call, pictures_of_markdown, document.text)
        case _:
            return
