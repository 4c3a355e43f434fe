"""PDF, DOCX, PPTX and HTML through kreuzberg, whose document structure becomes Markdown with blocks."""

import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from handlers.extraction.assembly import Assembly
from handlers.extraction.formats import DOCX, HTML, PDF, PPTX, Extracted, Unreadable
from handlers.extraction.inline import has_navigation, is_direction, is_only_links, plain, unlink_code

_MAX_UNPACKED_BYTES = 1 << 30
_MAX_MEMBERS = 20_000
_OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# A private-use character: it stands in no document, so a marker is never taken for text.
_PAGE_MARK = re.compile("^\\\\?\uf8f0PAGE (\\d+)\uf8f0$")
_ENCRYPTED = re.compile(r"password|encrypt|security handler", re.IGNORECASE)
_HTML_PREPROCESSING = {"enabled": True, "preset": "aggressive", "remove_navigation": True, "remove_forms": True}
_METADATA = ("authors", "subject", "keywords", "language", "created_at", "modified_at", "page_count", "slide_count")


class KreuzbergExtractor:
    """The default `TextExtractor`; OCR is off, headers, footers and navigation are left out."""

    def extract(self, data: bytes, mime_type: str, *, timeout_s: float) -> Extracted:
        import kreuzberg

        check_container(data, mime_type)
        pages = kreuzberg.PageConfig(
            insert_page_markers=mime_type == PPTX, marker_format="\n\n\uf8f0PAGE {page_num}\uf8f0\n\n"
        )
        config = kreuzberg.ExtractionConfig(
            use_cache=False,
            enable_quality_processing=False,
            disable_ocr=True,  # pyright: ignore[reportCallIssue]  (missing in its type stubs)
            include_document_structure=True,
            output_format="markdown",
            pages=pages if mime_type == PPTX else None,
            html_options={"preprocessing": _HTML_PREPROCESSING},
            extraction_timeout_secs=max(1, round(timeout_s)),
        )
        try:
            result = kreuzberg.extract_bytes_sync(data, mime_type, config)
        except kreuzberg.ExtractionTimeoutError as error:
            raise Unreadable(f"took longer than {timeout_s:g} s to read") from error
        except kreuzberg.KreuzbergError as error:
            raise Unreadable(_explain(str(error), mime_type)) from error
        metadata: Mapping[str, Any] = dict(result.metadata)
        assembly = Assembly()
        _assemble(assembly, _nodes(result.document), from_html=mime_type == HTML)
        return Extracted(
            assembly.text,
            assembly.blocks,
            title=" ".join(str(metadata.get("title") or "").split()),
            metadata=tuple((key, _flat(metadata[key])) for key in _METADATA if metadata.get(key)),
        )


def check_container(data: bytes, mime_type: str) -> None:
    """Refuse what is no file of its format at all, and archives that would fill the memory.

    Raises:
        Unreadable: with the reason.
    """
    if mime_type == PDF and b"%PDF-" not in data[:1024]:
        raise Unreadable("is no PDF file, whatever its name says")
    if mime_type not in (DOCX, PPTX):
        return
    if data.startswith(_OLE_MAGIC):
        raise Unreadable("is protected by a password, or in the format of before 2007; save it anew without a password")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
    except zipfile.BadZipFile as error:
        raise Unreadable("is damaged, or no Office document: its archive cannot be opened") from error
    if len(members) > _MAX_MEMBERS or sum(member.file_size for member in members) > _MAX_UNPACKED_BYTES:
        raise Unreadable("unpacks to more than is reasonable for a document")


def _explain(message: str, mime_type: str) -> str:
    if _ENCRYPTED.search(message):
        return "is encrypted; save it without a password"
    kind = {PDF: "PDF", DOCX: "DOCX", PPTX: "PPTX"}.get(mime_type, "HTML")
    return f"is damaged: no {kind} parser can read it ({message.rsplit(': ', 1)[-1][:200]})"


def _flat(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _nodes(document: Any) -> Sequence[Mapping[str, Any]]:
    return document["nodes"] if document else ()


def _assemble(assembly: Assembly, nodes: Sequence[Mapping[str, Any]], *, from_html: bool) -> None:
    page: int | None = None
    items: list[str] = []
    ordered = numbered = False

    def flush() -> None:
        nonlocal numbered
        if items and not (from_html and not assembly.blocks and all(is_only_links(item) for item in items)):
            marks = [f"{number}." if numbered else "-" for number in range(1, len(items) + 1)]
            texts = [plain(item) if from_html else item.strip() for item in items]
            lines = [f"{mark} {_indent(text, len(mark) + 1)}" for mark, text in zip(marks, texts, strict=True) if text]
            assembly.add("list", "\n".join(lines), page=page)
        items.clear()
        numbered = ordered

    for node in nodes:
        content = node["content"]
        kind, text = content["node_type"], str(content.get("text") or "")
        mark = _PAGE_MARK.match(text.strip())
        if kind != "list_item" or mark or (node.get("page") or page) != page:
            flush()
        page = int(mark[1]) if mark else node.get("page") or page
        if mark:
            continue
        match kind:
            case "list":
                ordered = numbered = bool(content.get("ordered"))
            case "list_item":
                items.append(text)
            case "heading":
                assembly.heading(plain(text) if from_html else text, int(content["level"]), page=page)
            case "code":
                assembly.code(unlink_code(text) if from_html else text, str(content.get("language") or ""), page=page)
            case "table":
                _add_table(assembly, content["grid"], page, from_html=from_html)
            case "image":
                assembly.add("caption", str(content.get("description") or ""), page=page)
            case "group" | "page_break" | "slide" | "metadata_block":
                pass
            case _ if from_html:
                if not (is_only_links(text) and (not assembly.blocks or has_navigation(text))):
                    _add_paragraph_or_caption(assembly, text)
            case _:
                assembly.add("paragraph", _unwrap(text), page=page)
    flush()


def _add_paragraph_or_caption(assembly: Assembly, text: str) -> None:
    words = plain(text)
    if not text.lstrip().startswith("!["):
        assembly.add("paragraph", words)
    elif not is_direction(words) and not assembly.repeats(words):
        assembly.add("caption", words)


def _add_table(assembly: Assembly, grid: Mapping[str, Any], page: int | None, *, from_html: bool) -> None:
    rows = [[""] * int(grid["cols"]) for _ in range(int(grid["rows"]))]
    for cell in grid["cells"]:
        if cell["row"] < len(rows) and cell["col"] < len(rows[cell["row"]]):
            rows[cell["row"]][cell["col"]] = str(cell["content"])
    if from_html:
        if has_navigation(" ".join(cell for row in rows for cell in row)):
            return
        rows = [[plain(cell) for cell in row] for row in rows]
    filled = [[cell for cell in row if cell.strip()] for row in rows]
    if sum(len(row) > 0 for row in filled) == 1 and len(texts := next(row for row in filled if row)) == 1:
        assembly.add("paragraph", texts[0], page=page)  # a frame around a note, not a table
    else:
        assembly.table(rows, page=page)


def _unwrap(text: str) -> str:
    # Two stars and more are what kreuzberg leaves of bold runs that begin or end in white space.
    return re.sub(r"\*{2,}", "", text).replace("\r\n", "\n").replace("\r", "\n").replace("\x0b", "\n")


def _indent(text: str, width: int) -> str:
    return _unwrap(text).replace("\n", "\n" + " " * width)
