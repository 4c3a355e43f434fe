"""Maintenance of an index in memory: documents that are removed, moved, or changed without new content."""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import get_args

from flows.errors import FatalError
from handlers.records import stable_id
from handlers.stores.memory.tables import MemoryTables, Version
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
                for side in self._sides:
                    side.published.pop(document_id, None)
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
        check_new_ids(each, self._published[old][1].chunks)
        visible = {side.name: side.published[old] for side in self._sides if old in side.published}
        own = self._side.name
        row = self._rows[old]
        chunk_ids = dict(each.chunk_ids)
        for _, version in visible.values():
            for chunk_id in version.chunks:  # those of the other version of the index only get new ids too
                chunk_ids.setdefault(chunk_id, stable_id(new, chunk_id))
        kept = {key: self._passages[key] for _, version in visible.values() for key in version.chunks}
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
        same = {id(version) for _, version in visible.values()} == {id(visible[own][1])}
        moved = _moved(visible[own][1], each, chunk_ids)
        for side in self._sides:
            if side.name not in visible:
                continue
            name, version = visible[side.name]
            found = moved
            if not same and side.name != own:
                described = replace(each.document, title=version.document.title)
                found = replace(
                    _moved(version, each, chunk_ids),
                    document=replace(described, content_sha256=version.document.content_sha256),
                    revision=version.revision,
                    fingerprint=version.fingerprint,
                )
            self._staged[new, name] = found
            side.published[new] = (name, found)
        for chunk_id, passage in kept.items():
            after = chunk_ids[chunk_id]
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
                self._restate(each)
            return len(known)

    def _restate(self, each: Restatement) -> None:
        name, before = self._published[each.document_id]
        noted = {"revision": each.revision, "fingerprint": each.fingerprint}
        document = before.document if each.tags is None else replace(before.document, tags=each.tags)
        version = replace(
            before, document=document, **{key: value for key, value in noted.items() if value is not None}
        )
        if each.run_id is not None:
            self._check_made(version, each.run_id, before, get_args(Facet))
            self._disclaim(version, each.run_id)
            self._passages |= self._adopted(version, each.run_id)
            self._over = {
                (chunk_id, run_id): over
                for (chunk_id, run_id), over in self._over.items()
                if chunk_id not in version.chunks or run_id != each.run_id
            }
        forks = each.fingerprint is not None and self._side is not self._active
        own = f"{name} {self._side.name}" if forks and len(self._everywhere(each.document_id)) == 1 else name
        for side in self._sides:
            held = side.published.get(each.document_id)
            if held is None:
                continue
            if side is self._side or (held[1] is before and not forks):
                named = (own, version)
            else:
                tags = held[1].document.tags if each.tags is None else each.tags
                named = (held[0], replace(held[1], document=replace(held[1].document, tags=tags)))
            side.published[each.document_id] = named
            self._staged[each.document_id, named[0]] = named[1]
        if each.uri is not None:
            self._rows[each.document_id] = replace(self._rows[each.document_id], uri=each.uri)
        if each.run_id is not None and each.fingerprint is not None:
            row = self._rows[each.document_id]
            self._rows[each.document_id] = replace(row, status="processed", reason="")
            self._tried.pop(each.document_id, None)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        before = dict(self._rows), dict(self._staged), dict(self._passages), dict(self._over)
        published = [dict(side.published) for side in self._sides]
        try:
            yield
        except (FatalError, ValueError):
            self._rows, self._staged, self._passages, self._over = before
            for side, content in zip(self._sides, published, strict=True):
                side.published = content
            raise

    def name_documents(self, names: Mapping[str, str]) -> int:
        with self._lock:
            known = names.keys() & self._rows.keys()
            for each in known:
                self._rows[each] = replace(self._rows[each], name=names[each])
                for side in self._sides:
                    if each in side.published:
                        staged, version = side.published[each]
                        renamed = replace(version, document=replace(version.document, name=names[each]))
                        side.published[each] = (staged, renamed)
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
                if name not in self._everywhere(document_id) and left(version.run_id, version.staged_at)
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


def _moved(version: Version, rename: Rename, chunk_ids: Mapping[str, str]) -> Version:
    new = rename.document.id
    chunks = {
        chunk_ids[chunk.id]: replace(chunk, id=chunk_ids[chunk.id], document_id=new)
        for chunk in version.chunks.values()
    }
    artifacts = [
        replace(found, id=rename.artifact_ids.get(found.id, found.id), document_id=new) for found in version.artifacts
    ]
    artifacts.sort(key=lambda found: found.id)
    return replace(
        version,
        document=rename.document,
        chunks=chunks,
        artifacts=artifacts,
        revision=rename.revision,
        fingerprint=version.fingerprint if rename.fingerprint is None else rename.fingerprint,
    )
