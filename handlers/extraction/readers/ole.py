"""Microsoft's older container format (OLE), which DOC, PPT and MSG use."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from handlers.extraction.decoding import known_encoding
from handlers.extraction.formats import Unreadable

if TYPE_CHECKING:
    import olefile

_LONGEST = 200_000_000


@contextmanager
def open_ole(data: bytes, kind: str) -> Iterator[olefile.OleFileIO]:
    """The opened container.

    Raises:
        Unreadable: it is not such a container, or is broken.
    """
    import olefile

    if not data.startswith(olefile.MAGIC):
        raise Unreadable(f"is not a {kind} file, despite its name")
    try:
        with olefile.OleFileIO(io.BytesIO(data)) as container:
            yield container
    except (OSError, ValueError, IndexError, TypeError) as error:
        raise Unreadable(f"is damaged: its structure cannot be read ({error})") from error


def stream(container: olefile.OleFileIO, name: str | list[str]) -> bytes:
    """The bytes of a stream; empty if it does not exist."""
    if not container.exists(name):
        return b""
    with container.openstream(name) as opened:
        return opened.read(_LONGEST)


def properties_of(container: olefile.OleFileIO) -> dict[str, str]:
    """Title, authors, subject and keywords from the summary that Office writes."""
    try:
        summary: Any = container.get_metadata()
    except (OSError, ValueError, IndexError, TypeError, KeyError):
        return {}
    code_page = (summary.codepage or 0) & 0xFFFF
    encoding = known_encoding(f"cp{code_page}") or "utf-8"
    found: dict[str, str] = {}
    for key in ("title", "author", "subject", "keywords"):
        value = getattr(summary, key)
        text = value.decode(encoding, "replace") if isinstance(value, bytes) else str(value or "")
        if words := " ".join(text.replace("\0", "").split()):
            found["authors" if key == "author" else key] = words
    return found
