"""The index in one SQLite file."""

from handlers.stores.sqlite.index import SqliteIndexStore, may_be_index

__all__ = ["SqliteIndexStore", "may_be_index"]
