"""Checks an index in memory for changed vectors and orphaned passages."""

from collections.abc import Sequence
from dataclasses import replace

from handlers.records import Chunk
from handlers.stores.keys import storable_text, vector_checksum
from handlers.stores.memory.tables import MemoryTables
from handlers.stores.rows import Flaw


class MemoryProof(MemoryTables):
    """An `IndexProof`."""

    def flaws(self) -> list[Flaw]:
        with self._lock:
            found = [
                Flaw("vector", "vectors", f"of passage {key}", passage.document_id, key)
                for _, version in self._published.values()
                for key in version.chunks
                if (passage := self._passages.get(key)) is not None
                and (vector := self._vector(passage)) is not None
                and vector_checksum(vector[1], passage.tokens.get(vector[0], b"")) != passage.checksums.get(vector[0])
            ]
            return found + [
                Flaw("orphan", "passages", f"passage {key} belongs to no document", chunk_id=key)
                for key, passage in self._passages.items()
                if passage.document_id not in self._rows
            ]

    def mend(self, flaws: Sequence[Flaw]) -> int:
        with self._lock:
            gone = [each.chunk_id for each in flaws if each.kind == "orphan"]
            for chunk_id in gone:
                self._passages.pop(chunk_id, None)
            return len(gone)

    def mend_texts(self, chunks: Sequence[Chunk]) -> int:
        with self._lock:
            changed = 0
            for each in chunks:
                for version in self._everywhere(each.document_id).values():
                    stored = version.chunks.get(each.id)
                    if stored is not None and stored.text != storable_text(each.text):
                        version.chunks[each.id] = replace(stored, text=storable_text(each.text))
                        changed += 1
            return changed
