"""The formats that can be ingested, told by suffix, and what every extractor returns for a file of one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from handlers.records import Block

MIME_TYPES = {
    ".pdf": "application/pdf",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".html": "text/html",
    ".htm": "text/html",
    ".xhtml": "text/html",
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".ndjson": "application/jsonl",
    ".txt": "text/plain",
    ".text": "text/plain",
    ".rst": "text/plain",
}
"""Media types by suffix, lower case."""

PDF, DOCX, PPTX, HTML, MARKDOWN = (MIME_TYPES[suffix] for suffix in (".pdf", ".docx", ".pptx", ".html", ".md"))


class Unreadable(Exception):
    """A document that no text can be taken from; the message is the reason, for people."""


@dataclass(frozen=True)
class Extracted:
    """A file's text, the blocks it consists of (ordered, disjoint, within the text), and what it says of itself."""

    text: str
    blocks: Sequence[Block] = ()
    title: str = ""
    metadata: tuple[tuple[str, str], ...] = ()


class TextExtractor(Protocol):
    """Takes the text out of PDF, DOCX, PPTX and HTML; replace it with the service `text_extractor`."""

    def extract(self, data: bytes, mime_type: str, *, timeout_s: float) -> Extracted:
        """The text and its structure.

        Raises:
            Unreadable: the file is broken, encrypted, or took longer than `timeout_s`.
        """
        ...


def mime_type_of(name: str) -> str | None:
    """The media type of a file that can be ingested, None of all others."""
    return MIME_TYPES.get(PurePosixPath(name).suffix.lower())
