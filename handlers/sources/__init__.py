"""Where documents come from, one module per kind."""

from handlers.sources.coverage import Coverage
from handlers.sources.files import HIDDEN, list_sources
from handlers.sources.manifests import MANIFEST, is_manifest, partition, read_manifest, write_manifest
from handlers.sources.members import is_as_listed
from handlers.sources.roots import Roots
from handlers.sources.rules import RULES, STRICT

__all__ = [
    "HIDDEN",
    "MANIFEST",
    "RULES",
    "STRICT",
    "Coverage",
    "Roots",
    "is_as_listed",
    "is_manifest",
    "list_sources",
    "partition",
    "read_manifest",
    "write_manifest",
]
