"""The protocol of readers: a file's bytes in; its text, blocks and attachments out, or the reason of a failure."""

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
"""HTML of which only the main text counts."""


class Unreadable(Exception):
    """A document that no text can be taken from; the message is the reason, for people."""


@dataclass(frozen=True)
class RawFile:
    """A file that was fetched and not yet read."""

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
        """Readers call this now and then.

        Raises:
            Unreadable: the CPU time is used up.
        """
        if time.thread_time() - self.started > self.cpu_s:
            raise Unreadable(
                f"took more than {self.cpu_s:g} s of CPU time to read; raise BRAID_PARSER_CPU_S, or split the file"
            )


@dataclass(frozen=True)
class Attachment:
    """A file inside a file, which becomes a separate document, such as the attachment of a mail."""

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
    """Pages, counted from 1, that show pictures and have no text of their own, or letters that cannot be known."""
    page_count: int = 0
    """Of a format whose pages can be shown as pictures."""
    words: tuple[RecognisedWord, ...] = ()
    """Those that were recognised in pictures."""


class TextExtractor(Protocol):
    """Takes the text out of files of every format; replace it with the service `text_extractor`."""

    def extract(self, file: RawFile) -> Extracted:
        """The text and its structure.

        Raises:
            Unreadable: the file is broken, encrypted, or took too long.
        """
        ...
