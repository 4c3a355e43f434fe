"""The index in PostgreSQL with pgvector."""

from handlers.stores.postgres.index import PostgresIndexStore
from handlers.stores.postgres.opening import Address, drop_index, names_in_database

__all__ = ["Address", "PostgresIndexStore", "drop_index", "names_in_database"]
