"""An index in SQL: what SQLite and PostgreSQL have in common."""

from handlers.stores.sql.index import SqlIndexStore

__all__ = ["SqlIndexStore"]
