"""The versions of an index in memory: beginning, switching and removing them, and finding what a version lacks."""

import time
from collections import Counter

from handlers.stores.fingerprints import is_made_so
from handlers.stores.memory.tables import MemoryTables, Side
from handlers.stores.refusals import (
    index_version_is_active,
    index_version_is_being_built,
    index_version_is_missing,
    index_version_is_of_another_model,
)
from handlers.stores.rows import IndexVersion


class MemoryIndexVersions(MemoryTables):
    """An `IndexVersions`."""

    def versions(self) -> list[IndexVersion]:
        with self._lock:
            return [
                IndexVersion(
                    side.name,
                    side is self._active,
                    side.model or self._only_model(),
                    side.created_at,
                    side.switched_at,
                )
                for side in self._sides
            ]

    def begin_version(self, model: str, name: str | None = None) -> str:
        with self._lock:
            active, other = self._active, self._beside
            if name is not None and name == active.name:
                raise index_version_is_active(name)
            if other is not None and other.switched_at is not None and (other.name, other.model) != (name, model):
                self.remove_version(other.name)
                other = None
            if other is not None:
                if name not in (None, other.name):
                    raise index_version_is_being_built(other.name)
                if other.model != model:
                    raise index_version_is_of_another_model(other.name, other.model, model)
                return other.name
            number = 1 + (int(active.name) if active.name.isdecimal() else 1)
            active.model = self._most_common_model() or model
            self._beside = Side(name or str(number), model, published=dict(active.published))
            return self._beside.name

    def note_way(self, fingerprint: str) -> None:
        with self._lock:
            self._side.ways.add(fingerprint)

    def switch_version(self, name: str) -> str:
        with self._lock:
            before = self._active
            if self._beside is not None and self._beside.name == name:
                self._active, self._beside = self._beside, before
                self._active.switched_at = time.time()
            elif before.name != name:
                raise index_version_is_missing(name, [side.name for side in self._sides])
            return before.name

    def remove_version(self, name: str) -> None:
        with self._lock:
            gone = self._beside
            if name == self._active.name:
                raise index_version_is_active(name)
            if gone is None or gone.name != name:
                raise index_version_is_missing(name, [side.name for side in self._sides])
            self._beside = None
            kept = self._active
            for document_id, (staged, version) in gone.published.items():
                if kept.published.get(document_id, ("",))[0] == staged:
                    continue
                self._staged.pop((document_id, staged), None)
                held = {key for (owner, _), each in self._staged.items() if owner == document_id for key in each.chunks}
                for chunk_id in version.chunks.keys() - held:
                    self._passages.pop(chunk_id, None)
            if gone.model != kept.model:
                for passage in self._passages.values():
                    passage.vectors = {model: row for model, row in passage.vectors.items() if model != gone.model}
            kept.model = ""
            kept.ways.clear()

    def unfinished(self) -> list[str]:
        with self._lock:
            side = self._side
            if self._beside is None:
                return []
            return sorted(
                document_id
                for document_id in {each for one in self._sides for each in one.published}
                if document_id not in side.published or not self._is_done(side, document_id)
            )

    def _is_done(self, side: Side, document_id: str) -> bool:
        version = side.published[document_id][1]
        return is_made_so(version.fingerprint, side.ways) and all(
            side.model in self._passages[chunk_id].vectors for chunk_id in version.chunks
        )

    def _only_model(self) -> str:
        found = {model for passage in self._visible().values() for model in passage.vectors}
        return found.pop() if len(found) == 1 else ""

    def _most_common_model(self) -> str:
        counted = Counter(model for passage in self._visible().values() for model in passage.vectors)
        return min(counted, key=lambda model: (-counted[model], model), default="")
