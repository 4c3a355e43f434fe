"""An index in SQL, composed of its parts: the common part of indexes in SQLite and PostgreSQL."""

from handlers.stores.sql.graph import SqlGraph
from handlers.stores.sql.index_versions import SqlIndexVersions
from handlers.stores.sql.proof import SqlProof
from handlers.stores.sql.publication import SqlPublication
from handlers.stores.sql.reads import SqlReader
from handlers.stores.sql.search import SqlSearch
from handlers.stores.sql.sources import SqlSources
from handlers.stores.sql.states import SqlStates
from handlers.stores.sql.upkeep import SqlUpkeep
from handlers.stores.sql.writes import SqlWriter


class SqlIndexStore(
    SqlReader,
    SqlStates,
    SqlWriter,
    SqlPublication,
    SqlGraph,
    SqlSearch,
    SqlUpkeep,
    SqlSources,
    SqlIndexVersions,
    SqlProof,
):
    """An `IndexStore` except for beginning transactions, scoring passages, and measuring the size.

    Every method is one transaction; `publish` and `sweep` take one per batch.
    """
