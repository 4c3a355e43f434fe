"""From files to text, structure, tables, images and code."""

from handlers.extraction.formats import MIME_TYPES, Extracted, TextExtractor, Unreadable
from handlers.extraction.text import extract_text, to_document

__all__ = ["MIME_TYPES", "Extracted", "TextExtractor", "Unreadable", "extract_text", "to_document"]
