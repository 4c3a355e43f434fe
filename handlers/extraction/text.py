"""`extract_text`: turns sources into documents; an unreadable source is set aside with its reason."""

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TypedDict

from flows.author import Call, ItemFailure, handler
from flows.errors import FatalError, StorageError, StorageUnusable
from handlers.extraction.decoding import known_encoding
from handlers.extraction.formats import Attachment, Extracted, RawFile, TextExtractor, Unreadable
from handlers.extraction.members import fetch_source, parent_of
from handlers.extraction.parsing import TooBusy, blaming, parsed, parsed_items, parsers_of
from handlers.extraction.readers.markdown import heading_text
from handlers.extraction.recognition import (
    HOW_TO_GET_AN_ENGINE,
    OcrMode,
    reason_unread,
    recognise,
    recognition_of,
    with_recognised,
)
from handlers.extraction.registry import may_stay, mime_type_of, read_file, told_by_content
from handlers.records import Document, Fetched, SourceFile
from handlers.tags import ENCODING, encoding_in

logger = logging.getLogger(__name__)


class RegistryExtractor:
    """The default `TextExtractor`: each format is read by the function that the registry names.

    With a `call`, its service `parsers` reads everything except small texts, and its engine recognises scanned pages.
    """

    def __init__(self, call: Call | None = None, ocr: OcrMode = "never") -> None:
        self._call, self._ocr = call, ocr

    def extract(self, file: RawFile) -> Extracted:
        if self._call is None or may_stay(file):
            return read_file(file)
        extracted = parsed(self._call, read_file, replace(file, cpu_s=parsers_of(self._call).cpu_s))
        pages = extracted.scanned_pages
        if self._ocr == "always" and extracted.page_count:
            pages = tuple(range(1, extracted.page_count + 1))
        return self._recognised(file, extracted, pages, self._call) if pages else extracted

    def _recognised(self, file: RawFile, extracted: Extracted, pages: Sequence[int], call: Call) -> Extracted:
        recognition = recognition_of(call)
        if self._ocr == "never" or recognition.engine is None:
            return extracted
        found = list(parsed_items(call, recognise, file.data, file.mime_type, pages, recognition))
        result = with_recognised(extracted, found, recognition)
        if not result.text.strip():
            raise Unreadable(reason_unread(found, recognition))
        return result


class ReadSources(TypedDict):
    """What `extract_text` writes."""

    documents: tuple[Document, ...]
    unreadable: tuple[ItemFailure, ...]


@handler(writes=("documents", "unreadable"), effects=(), version="3")
def extract_text(
    sources: Sequence[SourceFile],
    *,
    max_document_bytes: int = 50_000_000,
    encoding: str | None = None,
    ocr: OcrMode = "auto",
    call: Call,
) -> ReadSources:
    """`documents` (text, structure and metadata, in the order of `sources`) and `unreadable` (the other sources).

    A document that is empty, broken, encrypted, too large or too slow, or whose parser crashes or needs too much
    memory, is set aside with its reason (`call.fail_item`) and the rest goes on. Texts, Markdown and source code stay
    as they are; the text of other formats is Markdown.

    `encoding` is for texts that are not UTF-8 and declare no encoding; their tag `encoding` takes precedence, and
    without either, the encoding is guessed. `ocr` selects the pages for text recognition: `auto` those with pictures
    and no text, or with letters that cannot be decoded; `always` all pages of PDF and pictures; `never` none.

    Raises:
        FatalError: `encoding` is unknown; or `ocr` is `always`, and no engine is installed.
    """
    if encoding is not None and known_encoding(encoding) is None:
        raise FatalError(f"encoding: {encoding!r} is unknown to Python; write for example 'windows-1250'")
    if ocr == "always" and recognition_of(call).engine is None:
        raise FatalError(f"ocr: always needs an engine; {HOW_TO_GET_AN_ENGINE}")
    extractor = call.services["text_extractor"] if "text_extractor" in call.services else RegistryExtractor(call, ocr)
    documents: list[Document] = []
    for number, source in enumerate(sources):
        call.check_cancelled()
        call.report_progress(number, len(sources))
        started = time.monotonic()
        try:
            found = _fetch(source, max_document_bytes, call)
            document = to_document(source, found.data, extractor, cpu_s=parsers_of(call).cpu_s, encoding=encoding)
            documents.append(_with_facts(document, found))
        except StorageUnusable:
            raise  # the document is not the cause, so do not repeat this for every document
        except (Unreadable, StorageError) as error:
            reason = str(error).removeprefix(f"{source.uri}: ")
            logger.warning("%s: set aside, %s", source.name, reason)
            call.fail_item(source.name, reason, transient=isinstance(error, TooBusy))
        else:
            logger.debug(
                "%s: %d characters in %.2f s", source.name, len(documents[-1].text), time.monotonic() - started
            )
    call.report_progress(len(sources), len(sources))
    call.done_items((document.name for document in documents), "processing")
    return {"documents": tuple(documents), "unreadable": tuple(call.failures)}


def to_document(
    source: SourceFile,
    data: bytes,
    extractor: TextExtractor | None = None,
    *,
    cpu_s: float = 60.0,
    encoding: str | None = None,
) -> Document:
    """The document in these bytes of `source`.

    Raises:
        Unreadable: no text can be extracted from them.
    """
    return read_document(source, data, extractor, cpu_s=cpu_s, encoding=encoding)[0]


def read_document(
    source: SourceFile,
    data: bytes,
    extractor: TextExtractor | None = None,
    *,
    cpu_s: float = 60.0,
    encoding: str | None = None,
) -> tuple[Document, tuple[Attachment, ...]]:
    """The document in these bytes of `source`, and the files inside it that become separate documents.

    Raises:
        Unreadable: no text can be extracted from them.
    """
    mime_type = source.mime_type or mime_type_of(source.name)
    if mime_type is None:
        raise Unreadable(f"is of a format that cannot be read ({PurePosixPath(source.name).suffix or 'no suffix'})")
    if not data.strip():
        raise Unreadable("is empty")
    mime_type = told_by_content(data, mime_type)
    file = RawFile(data, source.name, mime_type, _tagged_encoding(source) or encoding, cpu_s)
    with blaming(source.name):
        extracted = (extractor or RegistryExtractor()).extract(file)
    if not extracted.text.strip():
        if extracted.scanned_pages:
            unknown = any(key == "unknown_letters" for key, _ in extracted.metadata)
            why = "has fonts that do not map their glyphs to letters" if unknown else "is a picture without text"
            raise Unreadable(f"{why}; to have its words recognised, {HOW_TO_GET_AN_ENGINE}")
        raise Unreadable("contains no text")
    first = next((block for block in extracted.blocks if block.kind == "heading"), None)
    heading = _heading(extracted.text[first.start : first.end]) if first else ""
    document = Document(
        id=source.document_id,
        name=source.name,
        uri=source.uri,
        title=(extracted.title or heading or PurePosixPath(source.name).stem)[:500],
        mime_type=mime_type,
        text=extracted.text,
        content_sha256=hashlib.sha256(data).hexdigest(),
        blocks=tuple(extracted.blocks),
        tags=source.tags,
        words=extracted.words,
        metadata=(*extracted.metadata, *((("parent", parent),) if (parent := parent_of(source.name)) else ())),
    )
    return document, extracted.attachments


def _tagged_encoding(source: SourceFile) -> str | None:
    name = encoding_in(source.tags)
    if name is not None and known_encoding(name) is None:
        raise Unreadable(f"has the tag {ENCODING}={name}, which is unknown to Python; write for example windows-1250")
    return name


def _fetch(source: SourceFile, max_bytes: int, call: Call) -> Fetched:
    if source.size > max_bytes:
        raise Unreadable(f"has {source.size:,} bytes, more than the {max_bytes:,} allowed (max_document_bytes)")
    return fetch_source(source.uri, call, source=source.source, max_bytes=max_bytes)


def _with_facts(document: Document, found: Fetched) -> Document:
    """The document with the facts that its source knows."""
    unnamed = document.title == PurePosixPath(document.name).stem
    title = found.title[:500] if found.title and unnamed else document.title
    return replace(document, title=title, metadata=(*document.metadata, *found.metadata))


def _heading(text: str) -> str:
    lines = [line for line in text.split("\n") if any(map(str.isalnum, line))]
    return heading_text(lines[0]) if lines else ""
