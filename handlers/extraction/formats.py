"""The protocol of readers: they take a file's bytes and return its text, blocks and attachments, or the reason of a
failure.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

from handlers.records import Block, RecognisedWord

PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
HTML = "text/html"
MARKDOWN = "text/markdown"
PICTURE = "image/x-any"
WEB_PAGE = "text/html; main"
"""The media type for HTML of which only the main text is read."""


class Unreadable(Exception):
    """No text can be extracted from a document; the message is the reason, for people."""


@dataclass(frozen=True)
class RawFile:
    """A file that was fetched but not yet read."""

    data: bytes
    name: str = ""
    mime_type: str = ""
    encoding: str | None = None
    """The encoding to assume if neither the content nor UTF-8 decides."""
    cpu_s: float = inf
    """The CPU time after which a reader should give up."""
    started: float = field(default_factory=time.thread_time, compare=False)
    """The value of `time.thread_time()` when the reader began."""

    def check_time(self) -> None:
        """Readers call this regularly.

        Raises:
            Unreadable: the CPU time is used up.
        """
        if time.thread_time() - self.started > self.cpu_s:
            raise Unreadable(
                f"took more than {self.cpu_s:g} s of CPU time to read; raise BRAID_PARSER_CPU_S, or split the file"
            )


@dataclass(frozen=True)
class Attachment:
    """A file inside another one, such as the attachment of a mail; it becomes a separate document."""

    name: str
    data: bytes
    mime_type: str = ""


@dataclass(frozen=True)
class Extracted:
    """A file's text, the blocks it consists of (ordered, disjoint, within the text), and its metadata."""

    text: str
    blocks: Sequence[Block] = ()
    title: str = ""
    metadata: tuple[tuple[str, str], ...] = ()
    attachments: tuple[Attachment, ...] = ()
    scanned_pages: tuple[int, ...] = ()
    """Pages (from 1) with pictures and no text, or with letters that cannot be decoded."""
    page_count: int = 0
    """The number of pages, for a format whose pages can be rendered as pictures."""
    words: tuple[RecognisedWord, ...] = ()
    """The words that were recognised in pictures (OCR)."""


class TextExtractor(Protocol):
    """Extracts the text of files of every format; the service `text_extractor` replaces it."""

    def extract(self, file: RawFile) -> Extracted:
        """The text and its structure.

        Raises:
            Unreadable: the file is broken, encrypted, or took too long.
        """
        ...
