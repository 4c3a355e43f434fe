"""Indexes: one protocol, a file or memory behind it."""

from handlers.stores.opening import open_index
from handlers.stores.protocol import DocumentRow, FailedDocument, IndexStore

__all__ = ["DocumentRow", "FailedDocument", "IndexStore", "open_index"]
