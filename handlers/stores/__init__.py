"""Indexes: one protocol, a file or memory behind it."""

from handlers.stores.content import copy_index
from handlers.stores.fingerprints import made_otherwise, parse_facets, written
from handlers.stores.opening import open_index
from handlers.stores.protocol import (
    ChunkState,
    DocumentRow,
    DocumentState,
    Facet,
    FailedDocument,
    IndexStore,
    Rename,
    Restatement,
    StoredDocument,
)

__all__ = [
    "ChunkState",
    "DocumentRow",
    "DocumentState",
    "Facet",
    "FailedDocument",
    "IndexStore",
    "Rename",
    "Restatement",
    "StoredDocument",
    "copy_index",
    "made_otherwise",
    "open_index",
    "parse_facets",
    "written",
]
