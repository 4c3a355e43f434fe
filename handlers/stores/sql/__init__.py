"""The common part of indexes in SQLite and PostgreSQL."""

from handlers.stores.sql import schema
from handlers.stores.sql.changes import Changes, changes_between, changes_number
from handlers.stores.sql.dialects import PostgresVector, among
from handlers.stores.sql.index import SqlIndexStore
from handlers.stores.sql.schema import APPLICATION_ID, SCHEMA_VERSION, metadata, other_version, upgrades
from handlers.stores.sql.search import Limits, permitted_documents
from handlers.stores.sql.views import in_view, look, view_of

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
    "in_view",
    "look",
    "metadata",
    "other_version",
    "permitted_documents",
    "schema",
    "upgrades",
    "view_of",
]
