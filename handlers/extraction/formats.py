"""What every reader takes and gives: a file's bytes in; its text, blocks and attachments out, or the reason why not."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Protocol

from handlers.records import Block

PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
HTML = "text/html"
MARKDOWN = "text/markdown"


class Unreadable(Exception):
    """A document that no text can be taken from; the message is the reason, for people."""


@dataclass(frozen=True)
class RawFile:
    """A file that was fetched and not yet read."""

    data: bytes
    name: str = ""
    mime_type: str = ""
    encoding: str | None = None
    """What a text is assumed to be in if neither its content nor UTF-8 decides."""
    deadline: float = inf
    """The value of `time.monotonic()` at which a reader should give up."""

    def check_time(self) -> None:
        """Readers call this now and then.

        Raises:
            Unreadable: the deadline has passed.
        """
        if time.monotonic() > self.deadline:
            raise Unreadable("took too long to read; raise `timeout_per_document_s`, or split the file")


@dataclass(frozen=True)
class Attachment:
    """A file inside a file, which is a document of its own: what a mail brings along."""

    name: str
    data: bytes
    mime_type: str = ""


@dataclass(frozen=True)
class Extracted:
    """A file's text, the blocks it consists of (ordered, disjoint, within the text), and what it says of itself."""

    text: str
    blocks: Sequence[Block] = ()
    title: str = ""
    metadata: tuple[tuple[str, str], ...] = ()
    attachments: tuple[Attachment, ...] = ()


class TextExtractor(Protocol):
    """Takes the text out of files of every format; replace it with the service `text_extractor`."""

    def extract(self, file: RawFile) -> Extracted:
        """The text and its structure.

        Raises:
            Unreadable: the file is broken, encrypted, or took too long.
        """
        ...
