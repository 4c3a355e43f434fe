"""`extract_text`: sources in, documents out; what cannot be read is set aside with its reason."""

import hashlib
import logging
import re
import time
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TypedDict

from flows.author import Call, ItemFailure, handler
from flows.errors import StorageError, StorageUnusable
from flows.storage import Storage
from handlers.extraction.decoding import decode
from handlers.extraction.formats import (
    DOCX,
    HTML,
    MARKDOWN,
    PDF,
    PPTX,
    Extracted,
    TextExtractor,
    Unreadable,
    mime_type_of,
)
from handlers.extraction.markdown import heading_text, read_markdown
from handlers.extraction.plain import read_csv, read_json, read_json_lines, read_text
from handlers.extraction.structured import KreuzbergExtractor
from handlers.records import Document, SourceFile

logger = logging.getLogger(__name__)


class ReadSources(TypedDict):
    """What `extract_text` writes."""

    documents: tuple[Document, ...]
    unreadable: tuple[ItemFailure, ...]


@handler(writes=("documents", "unreadable"), effects=())
def extract_text(
    sources: Sequence[SourceFile],
    *,
    max_document_bytes: int = 50_000_000,
    timeout_per_document_s: float = 60.0,
    call: Call,
) -> ReadSources:
    """`documents`, each source's text, structure and metadata in the order of `sources`, and `unreadable`, the others.

    A document that is empty, broken, encrypted, too large or too slow is set aside with its reason (`call.fail_item`)
    and the rest goes on. The text of PDF, DOCX, PPTX, HTML and CSV is Markdown, other texts stay as they are.
    """
    storage: Storage = call.services["storage"]
    extractor = _extractor(call)
    documents: list[Document] = []
    for number, source in enumerate(sources):
        call.check_cancelled()
        call.report_progress(number, len(sources))
        started = time.monotonic()
        try:
            data = _read(storage, source, max_document_bytes)
            documents.append(to_document(source, data, extractor, timeout_s=timeout_per_document_s))
        except StorageUnusable:
            raise  # not this document's fault, nor worth saying of every other one
        except (Unreadable, StorageError) as error:
            reason = str(error).removeprefix(f"{source.uri}: ")
            logger.warning("%s: set aside, %s", source.name, reason)
            call.fail_item(source.name, reason)
        else:
            logger.debug(
                "%s: %d characters in %.2f s", source.name, len(documents[-1].text), time.monotonic() - started
            )
    call.report_progress(len(sources), len(sources))
    call.done_items((document.name for document in documents), "processing")
    return {"documents": tuple(documents), "unreadable": tuple(call.failures)}


def to_document(source: SourceFile, data: bytes, extractor: TextExtractor, *, timeout_s: float = 60.0) -> Document:
    """The document that these bytes of `source` are.

    Raises:
        Unreadable: no text can be taken from them.
    """
    mime_type = mime_type_of(source.name)
    if mime_type is None:
        raise Unreadable(f"is of a format that cannot be read ({PurePosixPath(source.name).suffix or 'no suffix'})")
    if not data.strip():
        raise Unreadable("is empty")
    extracted = _extract(data, mime_type, extractor, timeout_s)
    if not extracted.text.strip():
        scanned = "; perhaps a scan, whose text must be recognised first" if mime_type == PDF else ""
        raise Unreadable(f"contains no text{scanned}")
    first = next((block for block in extracted.blocks if block.kind == "heading"), None)
    heading = _heading(extracted.text[first.start : first.end]) if first else ""
    return Document(
        id=source.document_id,
        name=source.name,
        uri=source.uri,
        title=(extracted.title or heading or PurePosixPath(source.name).stem)[:500],
        mime_type=mime_type,
        text=extracted.text,
        content_sha256=hashlib.sha256(data).hexdigest(),
        blocks=tuple(extracted.blocks),
        tags=source.tags,
        metadata=extracted.metadata,
    )


def _extractor(call: Call) -> TextExtractor:
    return call.services["text_extractor"] if "text_extractor" in call.services else KreuzbergExtractor()


def _read(storage: Storage, source: SourceFile, max_bytes: int) -> bytes:
    if source.size > max_bytes:
        raise Unreadable(f"has {source.size:,} bytes, more than the {max_bytes:,} allowed (max_document_bytes)")
    return storage.read(source.uri, max_bytes=max_bytes)


def _extract(data: bytes, mime_type: str, extractor: TextExtractor, timeout_s: float) -> Extracted:
    match mime_type:
        case _ if mime_type in (PDF, DOCX, PPTX, HTML):
            # kreuzberg does not look at what encoding a page declares.
            data = decode(data, declared=_declared_charset(data)).encode() if mime_type == HTML else data
            return extractor.extract(data, mime_type, timeout_s=timeout_s)
        case _ if mime_type == MARKDOWN:
            return read_markdown(decode(data))
        case "text/csv":
            return read_csv(decode(data))
        case "text/tab-separated-values":
            return read_csv(decode(data), delimiter="\t")
        case "application/json":
            return read_json(decode(data))
        case "application/jsonl":
            return read_json_lines(decode(data))
        case _:
            return read_text(decode(data))


def _declared_charset(data: bytes) -> str | None:
    found = re.search(rb"""<meta[^>]+charset\s*=\s*["']?([A-Za-z0-9_\-]+)""", data[:4096], re.IGNORECASE)
    return found[1].decode("ascii") if found else None


def _heading(text: str) -> str:
    lines = [line for line in text.split("\n") if any(map(str.isalnum, line))]
    return heading_text(lines[0]) if lines else ""
