"""The annotations of a PDF's page: values of form fields, captions of buttons, comments and text notes."""

from collections.abc import Iterator
from ctypes import POINTER, c_ushort, cast
from typing import Any

_LONGEST = 100_000


def notes_of(page: Any) -> list[str]:
    """A line for each form field that is filled and each annotation with text, in the file's order."""
    from pypdfium2 import raw

    found: list[str] = []
    for at in range(raw.FPDFPage_GetAnnotCount(page)):
        annotation = raw.FPDFPage_GetAnnot(page, at)
        if not annotation:
            continue
        try:
            kind = raw.FPDFAnnot_GetSubtype(annotation)
            if kind == raw.FPDF_ANNOT_WIDGET:
                found += _field(annotation)
            elif kind not in (raw.FPDF_ANNOT_LINK, raw.FPDF_ANNOT_POPUP) and (
                words := _string(annotation, b"Contents")
            ):
                found.append(f"Comment: {words}" if kind != raw.FPDF_ANNOT_FREETEXT else words)
        finally:
            raw.FPDFPage_CloseAnnot(annotation)
    return list(dict.fromkeys(found))


def draw_buttons(page: Any) -> bool:
    """Draw the captions of fields without a value, such as buttons, onto the page; return whether there are any.

    Reopen the page to read these words; its other annotations are gone then.
    """
    from pypdfium2 import raw

    found = False
    for at in reversed(range(raw.FPDFPage_GetAnnotCount(page))):
        annotation = raw.FPDFPage_GetAnnot(page, at)
        if not annotation:
            continue
        drawn = _is_drawn_button(annotation)
        raw.FPDFPage_CloseAnnot(annotation)
        if drawn:
            found = True
        else:
            raw.FPDFPage_RemoveAnnot(page, at)
    return found and raw.FPDFPage_Flatten(page, raw.FLAT_NORMALDISPLAY) == raw.FLATTEN_SUCCESS


def _is_drawn_button(annotation: Any) -> bool:
    from pypdfium2 import raw

    unseen = raw.FPDF_ANNOT_FLAG_HIDDEN | raw.FPDF_ANNOT_FLAG_NOVIEW
    return (
        raw.FPDFAnnot_GetSubtype(annotation) == raw.FPDF_ANNOT_WIDGET
        and not raw.FPDFAnnot_GetFlags(annotation) & unseen
        and bool(raw.FPDFAnnot_HasKey(annotation, b"AP"))
        and not raw.FPDFAnnot_HasKey(annotation, b"AS")  # a check box, whose tick is not text
        and not _string(annotation, b"V")
    )


def _field(annotation: Any) -> Iterator[str]:
    value = _string(annotation, b"V")
    label = _string(annotation, b"TU") or _string(annotation, b"T")
    if value and value != "Off":
        yield f"{label}: {value}" if label else value


def _string(annotation: Any, key: bytes) -> str:
    from pypdfium2 import raw

    size = min(raw.FPDFAnnot_GetStringValue(annotation, key, None, 0), _LONGEST)
    if size <= 2:
        return ""
    buffer = (c_ushort * (size // 2 + 1))()
    raw.FPDFAnnot_GetStringValue(annotation, key, cast(buffer, POINTER(c_ushort)), size)
    return " ".join(bytes(buffer)[: size - 2].decode("utf-16-le", "replace").replace("\0", "").split())
