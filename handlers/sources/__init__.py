"""Where documents come from, one module per kind."""

from handlers.sources.files import HIDDEN, list_sources
from handlers.sources.manifests import partition, read_manifest, write_manifest

__all__ = ["HIDDEN", "list_sources", "partition", "read_manifest", "write_manifest"]
