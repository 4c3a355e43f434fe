"""PDFium for handlers: one call at a time, since it is not thread-safe and branches run in threads."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from handlers.extraction.formats import Unreadable

_LOCK = threading.RLock()


@contextmanager
def open_pdf(data: bytes) -> Iterator[Any]:
    """An open `pypdfium2.PdfDocument`; no other thread uses PDFium until it is closed.

    Raises:
        Unreadable: PDFium cannot open it.
    """
    import pypdfium2

    with _LOCK:
        try:
            pdf = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as error:
            raise Unreadable(f"is damaged or encrypted: {error}") from error
        try:
            yield pdf
        finally:
            pdf.close()
