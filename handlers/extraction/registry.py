"""The formats that can be ingested. To add one, write a module in `readers` and give it a line here."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from handlers.extraction.decoding import decode
from handlers.extraction.formats import DOCX, HTML, MARKDOWN, PDF, PPTX, Extracted, RawFile
from handlers.extraction.readers.delimited import read_csv, read_tsv
from handlers.extraction.readers.docx import read_docx
from handlers.extraction.readers.html import read_html
from handlers.extraction.readers.json_data import read_json, read_json_lines
from handlers.extraction.readers.markdown import read_markdown
from handlers.extraction.readers.pdf import read_pdf
from handlers.extraction.readers.plain import read_text
from handlers.extraction.readers.pptx import read_pptx


@dataclass(frozen=True)
class Format:
    """A format: what it is called, the suffixes it is told by, and the function that reads it."""

    name: str
    mime_type: str
    suffixes: tuple[str, ...]
    read: Callable[[RawFile], Extracted]
    is_data: bool = False
    """Whether a block of code in it is the document itself rather than a sample inside a text."""


def of_text(read: Callable[[str], Extracted]) -> Callable[[RawFile], Extracted]:
    """A reader of files from one of text: it is decoded first, and the document says in which encoding."""

    def read_file(file: RawFile) -> Extracted:
        decoded = decode(file.data, assumed=file.encoding)
        extracted = read(decoded.text)
        return replace(extracted, metadata=(*extracted.metadata, *decoded.metadata))

    return read_file


FORMATS = (
    Format("PDF", PDF, (".pdf",), read_pdf),
    Format("DOCX", DOCX, (".docx",), read_docx),
    Format("PPTX", PPTX, (".pptx",), read_pptx),
    Format("HTML", HTML, (".html", ".htm", ".xhtml"), read_html),
    Format("Markdown", MARKDOWN, (".md", ".markdown"), of_text(read_markdown)),
    Format("CSV", "text/csv", (".csv",), of_text(read_csv)),
    Format("TSV", "text/tab-separated-values", (".tsv",), of_text(read_tsv)),
    Format("JSON", "application/json", (".json",), of_text(read_json), is_data=True),
    Format("JSON Lines", "application/jsonl", (".jsonl", ".ndjson"), of_text(read_json_lines), is_data=True),
    Format("text", "text/plain", (".txt", ".text", ".rst"), of_text(read_text)),
)

_BY_SUFFIX = {suffix: each for each in FORMATS for suffix in each.suffixes}
_BY_MIME_TYPE = {each.mime_type: each for each in FORMATS}

MIME_TYPES = {suffix: each.mime_type for suffix, each in _BY_SUFFIX.items()}
"""Media types by suffix, lower case."""


def mime_type_of(name: str) -> str | None:
    """The media type of a file that can be ingested, None of all others."""
    return MIME_TYPES.get(PurePosixPath(name).suffix.lower())


def format_of(mime_type: str) -> Format:
    """The format of that media type.

    Raises:
        KeyError: there is none.
    """
    return _BY_MIME_TYPE[mime_type]
