"""The sources of an index in memory."""

import time
from collections.abc import Iterable
from dataclasses import replace

from handlers.records import LeftOut
from handlers.stores.memory.tables import MemoryTables
from handlers.stores.rows import SourceRecord


class MemorySources(MemoryTables):
    """An `IndexSources`."""

    def sources(self) -> list[SourceRecord]:
        with self._lock:
            return [self._sources[key] for key in sorted(self._sources)]

    def put_source(self, source: SourceRecord, left_out: Iterable[LeftOut] | None = None) -> None:
        with self._lock:
            self._sources[source.uri, source.pattern] = replace(source, updated_at=time.time())
            if left_out is not None:
                self._left_out[source.uri, source.pattern] = list(left_out)

    def forget_sources(self, sources: Iterable[tuple[str, str]]) -> int:
        with self._lock:
            known = [each for each in sources if self._sources.pop(each, None) is not None]
            for each in known:
                self._left_out.pop(each, None)
            return len(known)

    def left_out(
        self, uri: str, pattern: str, *, rule: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[LeftOut]:
        with self._lock:
            found = [each for each in self._left_out.get((uri, pattern), []) if rule in (None, each.rule)]
            return found[offset : offset + limit]
