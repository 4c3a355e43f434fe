"""Upkeep of an index in memory: documents that go, move, or change without new content."""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import get_args

from flows.errors import FatalError
from handlers.stores.memory.tables import MemoryTables
from handlers.stores.refusals import check_new_ids, name_is_taken
from handlers.stores.rows import Facet, Rename, Restatement, SweepCounts


class MemoryUpkeep(MemoryTables):
    """An `IndexUpkeep`."""

    def delete(self, document_ids: Sequence[str]) -> int:
        with self._lock:
            gone = set(document_ids) & self._rows.keys()
            self._staged = {key: value for key, value in self._staged.items() if key[0] not in gone}
            self._passages = {key: value for key, value in self._passages.items() if value.document_id not in gone}
            self._over = {key: value for key, value in self._over.items() if value.document_id not in gone}
            for document_id in gone:
                del self._rows[document_id]
                self._published.pop(document_id, None)
                self._tried.pop(document_id, None)
            return len(gone)

    def rename(self, renames: Sequence[Rename]) -> int:
        with self._lock, self._all_or_nothing():
            return sum(self._rename(each) for each in renames)

    def _rename(self, each: Rename) -> int:
        old, new = each.document_id, each.document.id
        if old not in self._published:
            return 0
        if new != old and new in self._published:
            raise name_is_taken(each)
        name, version = self._published[old]
        check_new_ids(each, version.chunks)
        row, kept = self._rows[old], {chunk_id: self._passages[chunk_id] for chunk_id in version.chunks}
        self.delete([old, new])
        self._rows[new] = replace(
            row,
            id=new,
            name=each.document.name,
            uri=each.document.uri,
            updated_at=time.time(),
            status="processed",
            reason="",
        )
        chunks = {
            each.chunk_ids[chunk.id]: replace(chunk, id=each.chunk_ids[chunk.id], document_id=new)
            for chunk in version.chunks.values()
        }
        artifacts = [
            replace(found, id=each.artifact_ids.get(found.id, found.id), document_id=new) for found in version.artifacts
        ]
        artifacts.sort(key=lambda found: found.id)
        moved = replace(
            version,
            document=each.document,
            chunks=chunks,
            artifacts=artifacts,
            revision=each.revision,
            fingerprint=version.fingerprint if each.fingerprint is None else each.fingerprint,
        )
        self._staged[new, name] = moved
        self._published[new] = (name, moved)
        for chunk_id, passage in kept.items():
            after = each.chunk_ids[chunk_id]
            self._passages[after] = replace(
                passage,
                document_id=new,
                terms=replace(passage.terms, chunk_id=after) if passage.terms else None,
                entities=[replace(found, document_id=new, chunk_id=after) for found in passage.entities],
                relations=[replace(found, document_id=new, chunk_id=after) for found in passage.relations],
            )
        return 1

    def restate(self, restatements: Sequence[Restatement]) -> int:
        with self._lock, self._all_or_nothing():
            known = [each for each in restatements if each.document_id in self._published]
            for each in known:
                name, version = self._published[each.document_id]
                noted = {"revision": each.revision, "fingerprint": each.fingerprint}
                document = version.document if each.tags is None else replace(version.document, tags=each.tags)
                before, version = (
                    version,
                    replace(
                        version, document=document, **{key: value for key, value in noted.items() if value is not None}
                    ),
                )
                if each.run_id is not None:
                    self._check_made(version, each.run_id, before, get_args(Facet))
                    self._passages |= self._adopted(version, each.run_id)
                    self._over = {
                        (chunk_id, run_id): over
                        for (chunk_id, run_id), over in self._over.items()
                        if chunk_id not in version.chunks or run_id != each.run_id
                    }
                self._staged[each.document_id, name] = version
                self._published[each.document_id] = (name, version)
                if each.uri is not None:
                    self._rows[each.document_id] = replace(self._rows[each.document_id], uri=each.uri)
                if each.run_id is not None and each.fingerprint is not None:
                    row = self._rows[each.document_id]
                    self._rows[each.document_id] = replace(row, status="processed", reason="")
                    self._tried.pop(each.document_id, None)
            return len(known)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        before = dict(self._rows), dict(self._staged), dict(self._published), dict(self._passages), dict(self._over)
        try:
            yield
        except (FatalError, ValueError):
            self._rows, self._staged, self._published, self._passages, self._over = before
            raise

    def name_documents(self, names: Mapping[str, str]) -> int:
        with self._lock:
            known = names.keys() & self._rows.keys()
            for each in known:
                self._rows[each] = replace(self._rows[each], name=names[each])
                if each in self._published:
                    staged, version = self._published[each]
                    renamed = replace(version, document=replace(version.document, name=names[each]))
                    self._published[each] = (staged, renamed)
                    self._staged[each, staged] = renamed
            return len(known)

    def requeue(self, document_ids: Sequence[str]) -> int:
        with self._lock:
            failed = [
                each
                for each in dict.fromkeys(document_ids)
                if each in self._rows and self._rows[each].status == "failed"
            ]
            for each in failed:
                self._rows[each] = replace(self._rows[each], status="pending")
                self._tried.pop(each, None)
            return len(failed)

    def sweep(
        self, *, alive: Collection[str] = (), dead: Collection[str] = (), older_than_s: float = 86_400.0
    ) -> SweepCounts:
        def left(run_id: str, since: float) -> bool:
            return run_id not in alive and (since <= before or run_id in dead)

        with self._lock:
            before = time.time() - older_than_s
            versions = [
                (document_id, name)
                for (document_id, name), version in self._staged.items()
                if self._published.get(document_id, ("",))[0] != name and left(version.run_id, version.staged_at)
            ]
            for key in versions:
                del self._staged[key]
            held = {chunk_id for version in self._staged.values() for chunk_id in version.chunks}
            chunks = [
                chunk_id
                for chunk_id, passage in self._passages.items()
                if chunk_id not in held and left(passage.run_id, passage.staged_at)
            ]
            for chunk_id in chunks:
                del self._passages[chunk_id]
            over = [key for key, staged in self._over.items() if left(staged.run_id, staged.staged_at)]
            for key in over:
                del self._over[key]
            used = {document_id for document_id, _ in self._staged}
            used |= {passage.document_id for passage in (*self._passages.values(), *self._over.values())}
            documents = [
                row.id
                for row in self._rows.values()
                if row.id not in used and row.status == "pending" and left(row.run_id, row.updated_at)
            ]
            self.delete(documents)
            return SweepCounts(len(versions), len(chunks) + len(over), len(documents))
