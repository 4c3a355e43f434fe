"""The index in the memory of a process."""

from handlers.stores.memory.index import MemoryIndexStore

__all__ = ["MemoryIndexStore"]
