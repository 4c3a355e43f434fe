"""Where documents come from: the protocol of sources, their kinds, and the listing that an ingestion starts from."""

from handlers.sources.coverage import Coverage
from handlers.sources.listing import HIDDEN, list_sources
from handlers.sources.manifests import MANIFEST, is_manifest, partition, read_manifest, write_manifest
from handlers.sources.members import is_as_listed
from handlers.sources.opening import SourceOptions, Sources, sources_of
from handlers.sources.protocol import Listed, Page, Source, Tools, UnusableOption, not_listed
from handlers.sources.registry import Secret, canonical_place, kind_named, kind_of, source_kind
from handlers.sources.registry import kinds as source_kinds
from handlers.sources.roots import Roots
from handlers.sources.rules import RULES, STRICT

__all__ = [
    "HIDDEN",
    "MANIFEST",
    "RULES",
    "STRICT",
    "Coverage",
    "Listed",
    "Page",
    "Roots",
    "Secret",
    "Source",
    "SourceOptions",
    "Sources",
    "Tools",
    "UnusableOption",
    "canonical_place",
    "is_as_listed",
    "is_manifest",
    "kind_named",
    "kind_of",
    "list_sources",
    "not_listed",
    "partition",
    "read_manifest",
    "source_kind",
    "source_kinds",
    "sources_of",
    "write_manifest",
]
