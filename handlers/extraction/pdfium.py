"""PDFium, limited to one call at a time, since it is not thread-safe and branches run in threads."""

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
        Unreadable: it is not a PDF, it is encrypted, or PDFium cannot open it.
    """
    import pypdfium2
    from pypdfium2 import raw

    if b"%PDF-" not in data[:1024]:
        raise Unreadable("is not a PDF file, despite its name")
    with _LOCK:
        try:
            pdf = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as error:
            if getattr(error, "err_code", None) in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY):
                raise Unreadable("is encrypted and needs a password; save it without one") from error
            raise Unreadable("is damaged: its structure cannot be read; get a whole copy of it") from error
        try:
            yield pdf
        finally:
            pdf.close()


def open_page(pdf: Any, number: int) -> Any:
    """A page, counted from 0.

    Raises:
        Unreadable: its entry in the file is broken.
    """
    import pypdfium2

    try:
        return pdf[number]
    except pypdfium2.PdfiumError as error:
        raise Unreadable(
            f"is damaged: page {number + 1} of {len(pdf)} cannot be loaded; get a whole copy of it"
        ) from error
