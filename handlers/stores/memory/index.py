"""An index in memory: a minimal implementation of the protocols, for tests and temporary searches."""

from handlers.stores.memory.index_versions import MemoryIndexVersions
from handlers.stores.memory.proof import MemoryProof
from handlers.stores.memory.reads import MemoryReader
from handlers.stores.memory.search import MemorySearch
from handlers.stores.memory.sources import MemorySources
from handlers.stores.memory.upkeep import MemoryUpkeep
from handlers.stores.memory.writes import MemoryWriter


class MemoryIndexStore(
    MemoryReader, MemoryWriter, MemorySearch, MemoryUpkeep, MemorySources, MemoryIndexVersions, MemoryProof
):
    """An `IndexStore` that lives as long as the process; every method runs under one lock."""

    def close(self) -> None:
        """Do nothing; the content stays as long as the process."""
