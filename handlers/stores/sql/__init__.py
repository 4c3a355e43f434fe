"""The common part of indexes in SQLite and PostgreSQL."""

from handlers.stores.sql import schema
from handlers.stores.sql.changes import Changes, changes_between, changes_number
from handlers.stores.sql.dialects import PostgresVector, among
from handlers.stores.sql.index import SqlIndexStore
from handlers.stores.sql.schema import APPLICATION_ID, SCHEMA_VERSION, metadata, other_version, upgrades
from handlers.stores.sql.search import Limits, permitted_documents

__all__ = [
    "APPLICATION_ID",
    "SCHEMA_VERSION",
    "Changes",
    "Limits",
    "PostgresVector",
    "SqlIndexStore",
    "among",
    "changes_between",
    "changes_number",
    "metadata",
    "other_version",
    "permitted_documents",
    "schema",
    "upgrades",
]
