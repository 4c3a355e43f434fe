"""Indexes: reading, writing, searching and maintaining them; in SQLite, in PostgreSQL and in memory."""

from handlers.stores.building import IndexBeingBuilt
from handlers.stores.content import copy_index
from handlers.stores.fingerprints import format_facets, outdated_facets, parse_facets
from handlers.stores.memory import MemoryIndexStore
from handlers.stores.opening import open_index
from handlers.stores.pinning import PinnedIndex
from handlers.stores.proof import Difference, Proof, prove, repair
from handlers.stores.protocol import (
    IndexReader,
    IndexSearch,
    IndexSources,
    IndexStore,
    IndexUpkeep,
    IndexVersions,
    IndexWriter,
)
from handlers.stores.ranking import ANY, Bm25, TermQuery, TokenQuery, VectorQuery, Words
from handlers.stores.rows import (
    ChunkState,
    DocumentPlace,
    DocumentRow,
    DocumentState,
    Facet,
    FailedDocument,
    Flaw,
    IndexVersion,
    Rename,
    Restatement,
    SourceRecord,
    StoredDocument,
)
from handlers.stores.unmade import IndexMadeOnWrite, index_exists

__all__ = [
    "ANY",
    "Bm25",
    "ChunkState",
    "Difference",
    "DocumentPlace",
    "DocumentRow",
    "DocumentState",
    "Facet",
    "FailedDocument",
    "Flaw",
    "IndexBeingBuilt",
    "IndexMadeOnWrite",
    "IndexReader",
    "IndexSearch",
    "IndexSources",
    "IndexStore",
    "IndexUpkeep",
    "IndexVersion",
    "IndexVersions",
    "IndexWriter",
    "MemoryIndexStore",
    "PinnedIndex",
    "Proof",
    "Rename",
    "Restatement",
    "SourceRecord",
    "StoredDocument",
    "TermQuery",
    "TokenQuery",
    "VectorQuery",
    "Words",
    "copy_index",
    "format_facets",
    "index_exists",
    "open_index",
    "outdated_facets",
    "parse_facets",
    "prove",
    "repair",
]
