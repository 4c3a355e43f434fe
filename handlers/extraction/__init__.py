"""From files to text, structure, tables, images and code."""

from handlers.extraction.artifacts import artifact_ids
from handlers.extraction.code import extract_code_blocks, merge_extractions
from handlers.extraction.formats import Attachment, Extracted, RawFile, TextExtractor, Unreadable
from handlers.extraction.images import extract_images
from handlers.extraction.readers.markdown import heading_text
from handlers.extraction.registry import formats_shown, mime_type_of
from handlers.extraction.tables import extract_tables
from handlers.extraction.text import RegistryExtractor, extract_text, read_document, to_document

__all__ = [
    "Attachment",
    "Extracted",
    "RawFile",
    "RegistryExtractor",
    "TextExtractor",
    "Unreadable",
    "artifact_ids",
    "extract_code_blocks",
    "extract_images",
    "extract_tables",
    "extract_text",
    "formats_shown",
    "heading_text",
    "merge_extractions",
    "mime_type_of",
    "read_document",
    "to_document",
]
