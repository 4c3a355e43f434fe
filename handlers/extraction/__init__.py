"""From files to text, structure, tables, images and code."""

from handlers.extraction.artifacts import artifact_ids
from handlers.extraction.code import extract_code_blocks, merge_extractions
from handlers.extraction.formats import WEB_PAGE, Attachment, Extracted, RawFile, TextExtractor, Unreadable
from handlers.extraction.images import extract_images
from handlers.extraction.members import (
    LIMITS,
    MARK,
    fetch_source,
    hash_source,
    inside,
    list_members,
    parent_of,
    split_member,
)
from handlers.extraction.readers.archive import Member
from handlers.extraction.readers.markdown import heading_text
from handlers.extraction.recognition import (
    OcrMode,
    Recognition,
    installed_engines,
    missing_languages,
    recognition_of,
)
from handlers.extraction.registry import (
    container_kind,
    formats_shown,
    is_known,
    is_picture,
    mime_type_of,
    public_type,
)
from handlers.extraction.tables import extract_tables
from handlers.extraction.text import RegistryExtractor, extract_text, read_document, to_document

__all__ = [
    "LIMITS",
    "MARK",
    "WEB_PAGE",
    "Attachment",
    "Extracted",
    "Member",
    "OcrMode",
    "RawFile",
    "Recognition",
    "RegistryExtractor",
    "TextExtractor",
    "Unreadable",
    "artifact_ids",
    "container_kind",
    "extract_code_blocks",
    "extract_images",
    "extract_tables",
    "extract_text",
    "fetch_source",
    "formats_shown",
    "hash_source",
    "heading_text",
    "inside",
    "installed_engines",
    "is_known",
    "is_picture",
    "list_members",
    "merge_extractions",
    "mime_type_of",
    "missing_languages",
    "parent_of",
    "public_type",
    "read_document",
    "recognition_of",
    "split_member",
    "to_document",
]
