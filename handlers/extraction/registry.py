"""The formats that can be ingested. To add one, write a module in `readers` and add a line for it here."""

import mimetypes
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal

from handlers.extraction.decoding import decode
from handlers.extraction.formats import (
    DOCX,
    HTML,
    MARKDOWN,
    PDF,
    PICTURE,
    PPTX,
    WEB_PAGE,
    XLSX,
    Extracted,
    RawFile,
    Unreadable,
)
from handlers.extraction.readers.archive import ARCHIVE_SUFFIXES, read_archive
from handlers.extraction.readers.delimited import read_csv, read_tsv
from handlers.extraction.readers.doc import read_doc
from handlers.extraction.readers.docx import read_docx
from handlers.extraction.readers.epub import read_epub
from handlers.extraction.readers.html import read_html
from handlers.extraction.readers.image import read_image
from handlers.extraction.readers.json_data import read_json, read_json_lines
from handlers.extraction.readers.lines import read_log, read_settings
from handlers.extraction.readers.mail import read_mail, read_mailbox
from handlers.extraction.readers.markdown import read_markdown
from handlers.extraction.readers.msg import read_msg
from handlers.extraction.readers.notebook import read_notebook
from handlers.extraction.readers.odf import read_odf
from handlers.extraction.readers.org import read_org
from handlers.extraction.readers.pdf import read_pdf
from handlers.extraction.readers.plain import read_text
from handlers.extraction.readers.ppt import read_ppt
from handlers.extraction.readers.pptx import read_pptx
from handlers.extraction.readers.rtf import read_rtf
from handlers.extraction.readers.source_code import SOURCE_SUFFIXES, read_source
from handlers.extraction.readers.spreadsheets import read_xls
from handlers.extraction.readers.tex import read_tex
from handlers.extraction.readers.web_page import read_web_page
from handlers.extraction.readers.xlsx import read_xlsx
from handlers.extraction.readers.xml_data import read_xml


@dataclass(frozen=True)
class Format:
    """A format: its name, the suffixes of its files, and the function that reads it."""

    name: str
    mime_type: str
    suffixes: tuple[str, ...]
    read: Callable[[RawFile], Extracted]
    is_data: bool = False
    """Whether the whole file is code or data, so that its blocks of code are not samples inside a text."""
    parser: Literal["python", "markup", "native"] = "native"
    """The kind of its reader: pure Python, Python with a native markup parser, or native."""
    holds: Literal["", "archive", "mail"] = ""
    """For a container: the kind of container."""


_SMALL_BYTES = 50_000
"""The most bytes that are read in this process; up to this size, even quadratic readers take a fraction of a second."""


def of_text(read: Callable[[str], Extracted]) -> Callable[[RawFile], Extracted]:
    """Turn a reader of text into a reader of files, which decodes the bytes and records the encoding as metadata."""

    def read_file(file: RawFile) -> Extracted:
        decoded = decode(file.data, assumed=file.encoding)
        extracted = read(decoded.text)
        return replace(extracted, metadata=(*extracted.metadata, *decoded.metadata))

    return read_file


_ALWAYS_FINE_TEXT, _LONGEST_TEXT, _TEXT_RATIO = 10_000_000, 50_000_000, 200
"""The most characters of a text: a fixed number, and a number per byte of the file."""
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
FORMATS = (
    Format("PDF", PDF, (".pdf",), read_pdf),
    Format("DOCX", DOCX, (".docx", ".docm", ".dotx"), read_docx),
    Format("PPTX", PPTX, (".pptx", ".pptm", ".ppsx"), read_pptx),
    Format("XLSX", XLSX, (".xlsx", ".xlsm", ".xltx"), read_xlsx),
    Format("DOC", "application/msword", (".doc",), read_doc),
    Format("PPT", "application/vnd.ms-powerpoint", (".ppt", ".pps"), read_ppt),
    Format("XLS", "application/vnd.ms-excel", (".xls",), read_xls),
    Format("ODT", "application/vnd.oasis.opendocument.text", (".odt", ".ott"), read_odf),
    Format("ODP", "application/vnd.oasis.opendocument.presentation", (".odp",), read_odf),
    Format("ODS", "application/vnd.oasis.opendocument.spreadsheet", (".ods",), read_odf),
    Format("RTF", "application/rtf", (".rtf",), read_rtf),
    Format("EPUB", "application/epub+zip", (".epub",), read_epub),
    Format("HTML", HTML, (".html", ".htm", ".xhtml"), read_html),
    # Pages fetched from the web; the source sets this media type, and no suffix stands for it.
    Format("web page", WEB_PAGE, (), read_web_page),
    Format("Markdown", MARKDOWN, (".md", ".markdown"), of_text(read_markdown), parser="markup"),
    Format("Org", "text/org", (".org",), of_text(read_org), parser="python"),
    Format("LaTeX", "application/x-tex", (".tex", ".latex"), of_text(read_tex), parser="python"),
    Format("notebook", "application/x-ipynb+json", (".ipynb",), of_text(read_notebook), parser="markup"),
    Format("mail", "message/rfc822", (".eml",), read_mail, holds="mail"),
    Format("mailbox", "application/mbox", (".mbox", ".mbx"), read_mailbox, holds="mail"),
    Format("Outlook mail", "application/vnd.ms-outlook", (".msg",), read_msg, holds="mail"),
    Format("archive", "application/x-archive", ARCHIVE_SUFFIXES, read_archive, holds="archive"),
    Format("picture", PICTURE, PICTURE_SUFFIXES, read_image),
    Format("CSV", "text/csv", (".csv",), of_text(read_csv), parser="python"),
    Format("TSV", "text/tab-separated-values", (".tsv",), of_text(read_tsv), parser="python"),
    Format("JSON", "application/json", (".json",), of_text(read_json), is_data=True, parser="python"),
    Format(
        "JSON Lines",
        "application/jsonl",
        (".jsonl", ".ndjson"),
        of_text(read_json_lines),
        is_data=True,
        parser="python",
    ),
    Format("XML", "application/xml", (".xml", ".nxml", ".rss", ".atom", ".dita", ".docbook"), read_xml),
    Format("YAML", "application/yaml", (".yaml", ".yml"), of_text(read_settings), is_data=True, parser="python"),
    Format("TOML", "application/toml", (".toml",), of_text(read_settings), is_data=True, parser="python"),
    Format(
        "settings",
        "text/x-properties",
        (".ini", ".cfg", ".conf", ".properties"),
        of_text(read_settings),
        is_data=True,
        parser="python",
    ),
    Format("log", "text/x-log", (".log",), of_text(read_log), parser="python"),
    Format("source code", "text/x-source", SOURCE_SUFFIXES, read_source, is_data=True, parser="python"),
    Format("text", "text/plain", (".txt", ".text", ".rst"), of_text(read_text), parser="python"),
)

_BY_SUFFIX = {suffix: each for each in FORMATS for suffix in each.suffixes}
_BY_MIME_TYPE = {each.mime_type: each for each in FORMATS}

_OFFICE = {
    _BY_SUFFIX[suffix].mime_type for suffix in ".pdf .docx .pptx .xlsx .doc .ppt .xls .odt .odp .ods .rtf .msg".split()
}
_IN_ARCHIVES = (
    (b"application/vnd.oasis.opendocument.text", ".odt"),
    (b"application/vnd.oasis.opendocument.presentation", ".odp"),
    (b"application/vnd.oasis.opendocument.spreadsheet", ".ods"),
    (b"word/", ".docx"),
    (b"ppt/", ".pptx"),
    (b"xl/", ".xlsx"),
)
_IN_CONTAINERS = tuple(
    (stream.encode("utf-16-le"), suffix)
    for stream, suffix in (
        ("__properties_version1.0", ".msg"),
        ("WordDocument", ".doc"),
        ("PowerPoint Document", ".ppt"),
        ("Workbook", ".xls"),
        ("Book", ".xls"),
    )
)

MIME_TYPES = {suffix: each.mime_type for suffix, each in _BY_SUFFIX.items()}
"""Media types by suffix, lower case."""


def mime_type_of(name: str) -> str | None:
    """The media type of a file that can be ingested; None for other files."""
    return MIME_TYPES.get(PurePosixPath(name).suffix.lower())


def public_type(name: str, mime_type: str) -> str:
    """The media type that other programs know; the readers share one for all pictures, and have one for web pages."""
    if mime_type == PICTURE:
        return mimetypes.guess_type(name, strict=False)[0] or "application/octet-stream"
    return HTML if mime_type == WEB_PAGE else mime_type


def is_known(mime_type: str) -> bool:
    """Whether files of that media type can be read."""
    return mime_type in _BY_MIME_TYPE


def is_picture(name: str) -> bool:
    """Whether a file is a picture, which needs text recognition."""
    return PurePosixPath(name).suffix.lower() in PICTURE_SUFFIXES


def container_kind(name: str) -> Literal["archive", "mail"] | None:
    """The kind of a file that contains other files; None for all others."""
    found = _BY_SUFFIX.get(PurePosixPath(name).suffix.lower())
    return (found.holds or None) if found is not None else None


def formats_shown() -> str:
    """The names of the formats, for people."""
    return ", ".join(each.name for each in FORMATS if each.suffixes)


def told_by_content(data: bytes, mime_type: str) -> str:
    """The media type by content for files of office programs; else the given one."""
    if mime_type not in _OFFICE:
        return mime_type
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"{\\rtf"):
        return _BY_SUFFIX[".rtf"].mime_type
    if start.startswith(b"%PDF-"):
        return PDF
    if start[:14].lower().startswith((b"<!doctype html", b"<html")):
        return HTML
    signs = _IN_ARCHIVES if start.startswith(b"PK") else _IN_CONTAINERS if start.startswith(b"\xd0\xcf\x11\xe0") else ()
    return next((_BY_SUFFIX[suffix].mime_type for sign, suffix in signs if sign in data), mime_type)


def is_data(mime_type: str) -> bool:
    """Whether files of that media type consist entirely of data or code."""
    return mime_type in _BY_MIME_TYPE and _BY_MIME_TYPE[mime_type].is_data


def may_stay(file: RawFile) -> bool:
    """Whether a file can be read in this process: it is small, and no native code parses it."""
    parser = format_of(file.mime_type).parser
    return len(file.data) <= _SMALL_BYTES and (parser == "python" or (parser == "markup" and b"<" not in file.data))


def read_file(file: RawFile) -> Extracted:
    """The text of a file, by the reader of its format.

    Raises:
        Unreadable: the text is too large for a file of that size.
        Exception: any error, since parsers are not trusted.
    """
    extracted = format_of(file.mime_type).read(replace(file, started=time.thread_time()))
    most = max(_ALWAYS_FINE_TEXT, min(_TEXT_RATIO * len(file.data), max(_LONGEST_TEXT, len(file.data))))
    if len(extracted.text) > most:
        raise Unreadable(
            f"unpacks to {len(extracted.text):,} characters, more than the {most:,} allowed, like a decompression bomb"
        )
    return extracted


def format_of(mime_type: str) -> Format:
    """The format of that media type.

    Raises:
        KeyError: there is none.
    """
    return _BY_MIME_TYPE[mime_type]
