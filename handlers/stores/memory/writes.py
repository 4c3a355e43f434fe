"""Writing to an index in memory: staged, published, moved, swept."""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import get_args

import numpy as np

from flows.errors import FatalError
from handlers.records import Artifact, Chunk, Document, Embeddings, Entity, Relation, SparseVector
from handlers.stores.keys import entity_key, is_the_same, staged_name, storable_text, stored_term
from handlers.stores.memory.tables import MemoryTables, Version
from handlers.stores.protocol import Facet, FailedDocument, Rename, Restatement, Swept


class MemoryWrites(MemoryTables):
    """The writing half of an `IndexStore`."""

    def put_documents(
        self,
        documents: Sequence[Document],
        chunks: Sequence[Chunk],
        *,
        summaries: Mapping[str, str] | None = None,
        artifacts: Sequence[Artifact] = (),
        revisions: Mapping[str, str] | None = None,
        run_id: str = "",
        fingerprint: str = "",
    ) -> dict[str, str]:
        with self._lock:
            self._stage(chunks, run_id)
            names = {each.id: staged_name(each, fingerprint, run_id) for each in documents}
            chunks = [replace(chunk, text=storable_text(chunk.text)) for chunk in chunks]
            for each in documents:
                self._note(each.id, each.name, each.uri, run_id)
                version = Version(
                    each,
                    {chunk.id: chunk for chunk in chunks if chunk.document_id == each.id},
                    sorted((found for found in artifacts if found.document_id == each.id), key=lambda found: found.id),
                    (summaries or {}).get(each.id),
                    fingerprint,
                    (revisions or {}).get(each.id, ""),
                    run_id,
                    time.time(),
                )
                name = names[each.id]
                self._staged[each.id, name] = version
                if each.id in self._published and self._published[each.id][0] == name:
                    self._published[each.id] = (name, version)
            return names

    def put_vectors(self, chunks: Sequence[Chunk], embeddings: Embeddings, *, run_id: str = "") -> int:
        with self._lock:
            self._check(chunks, embeddings.chunk_ids)
            if embeddings.vectors.ndim != 2 or len(embeddings.vectors) != len(embeddings.chunk_ids):
                count, shape = len(embeddings.chunk_ids), embeddings.vectors.shape
                raise ValueError(f"{count} chunks need as many vectors, not an array of shape {shape}")
            self._stage(chunks, run_id)
            for chunk_id, row in zip(embeddings.chunk_ids, embeddings.vectors, strict=True):
                passage = self._staging(chunk_id, run_id)
                passage.vector, passage.model = np.array(row, dtype=np.float32), embeddings.model
            return len(embeddings.chunk_ids)

    def put_terms(self, chunks: Sequence[Chunk], sparse: Sequence[SparseVector], *, run_id: str = "") -> int:
        with self._lock:
            self._check(chunks, [each.chunk_id for each in sparse])
            self._stage(chunks, run_id)
            for each in sparse:
                counts = tuple((stored_term(term), count) for term, count in each.counts)
                self._staging(each.chunk_id, run_id).terms = replace(each, counts=counts)
            return len(sparse)

    def put_graph(
        self, chunks: Sequence[Chunk], entities: Sequence[Entity], relations: Sequence[Relation], *, run_id: str = ""
    ) -> int:
        with self._lock:
            self._check(chunks, {each.chunk_id for each in (*entities, *relations)})
            self._stage(chunks, run_id)
            for chunk in chunks:
                passage = self._staging(chunk.id, run_id)
                passage.facts = True
                passage.entities = [each for each in entities if each.chunk_id == chunk.id]
                passage.relations = [each for each in relations if each.chunk_id == chunk.id]
            said = {(each.chunk_id, entity_key(each.name), each.kind) for each in entities}
            linked = {(e.chunk_id, entity_key(e.source), entity_key(e.target), e.kind) for e in relations}
            return len(said) + len(linked)

    def publish(self, versions: Mapping[str, str], *, expect: Collection[Facet] = ()) -> int:
        with self._lock:
            for document_id, name in versions.items():
                self._publish(document_id, name, expect)
            return len(versions)

    def _publish(self, document_id: str, name: str, expect: Collection[Facet]) -> None:
        version = self._staged.get((document_id, name))
        before = self._published[document_id][1] if document_id in self._published else None
        if version is None and before is not None:
            document = before.document
            if is_the_same(name, document.content_sha256, before.fingerprint, document.tags):
                return
        if version is None:
            raise FatalError(
                f"document {document_id!r}: version {name!r} is not stored; another run may have replaced it: "
                "ingest it again"
            )
        adopted = self._adopted(version, version.run_id)
        for facet in sorted(expect):
            lacking = sum(facet not in passage.facets for passage in adopted.values())
            if lacking:
                raise FatalError(
                    f"document {document_id!r}: {lacking} of its chunks have no {facet} stored; another run may "
                    "have replaced them: ingest it again"
                )
        self._check_made(version, version.run_id, before, expect)
        self._staged = {key: value for key, value in self._staged.items() if key[0] != document_id}
        self._staged[document_id, name] = version
        self._published[document_id] = (name, version)
        others = {key: value for key, value in self._passages.items() if value.document_id != document_id}
        self._passages = others | adopted
        self._over = {
            (chunk_id, run_id): over
            for (chunk_id, run_id), over in self._over.items()
            if over.document_id != document_id or (chunk_id in adopted and run_id != version.run_id)
        }
        self._rows[document_id] = replace(
            self._rows[document_id], status="processed", reason="", updated_at=time.time()
        )
        self._tried.pop(document_id, None)

    def put_failures(self, failures: Sequence[FailedDocument], *, run_id: str = "") -> int:
        with self._lock:
            for each in failures:
                self._note(each.id, each.name, each.uri, run_id)
                self._rows[each.id] = replace(self._rows[each.id], status="failed", reason=each.reason)
                self._tried[each.id] = each.tried
            return len({each.id for each in failures})

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

    def rename(self, renames: Sequence[Rename]) -> int:
        with self._lock, self._all_or_nothing():
            return sum(self._rename(each) for each in renames)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        before = dict(self._rows), dict(self._staged), dict(self._published), dict(self._passages), dict(self._over)
        try:
            yield
        except (FatalError, ValueError):
            self._rows, self._staged, self._published, self._passages, self._over = before
            raise

    def _rename(self, each: Rename) -> int:
        old, new = each.document_id, each.document.id
        if old not in self._published:
            return 0
        if new != old and new in self._published:
            raise FatalError(
                f"document {old!r} cannot be moved to {each.document.name!r}: a document is searchable there already; "
                "remove that first, or ingest both"
            )
        name, version = self._published[old]
        lacking = sorted(version.chunks.keys() - each.chunk_ids.keys())
        if lacking:
            raise ValueError(f"document {old!r}: chunk {lacking[0]!r} has no new id")
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

    def sweep(
        self, *, alive: Collection[str] = (), dead: Collection[str] = (), older_than_s: float = 86_400.0
    ) -> Swept:
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
            return Swept(len(versions), len(chunks) + len(over), len(documents))

    @staticmethod
    def _check(chunks: Sequence[Chunk], chunk_ids: Collection[str]) -> None:
        unknown = set(chunk_ids) - {chunk.id for chunk in chunks}
        if unknown:
            raise ValueError(f"chunk {min(unknown)!r} is not among the chunks that were given")
        if len(set(chunk_ids)) != len(chunk_ids):
            raise ValueError("a chunk is given more than once")
