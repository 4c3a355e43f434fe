"""Staging and publication in memory."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from handlers.records import Artifact, Chunk, Document, Embeddings, Entity, Relation, SparseVector
from handlers.stores.keys import count_facts, is_the_same, staged_name, storable_text, stored_term, vector_checksum
from handlers.stores.memory.tables import MemoryTables, Passage, Version
from handlers.stores.refusals import check_chunk_ids, check_shape, check_tokens, facet_is_missing, version_is_missing
from handlers.stores.rows import Facet, FailedDocument


class MemoryWriter(MemoryTables):
    """An `IndexWriter`."""

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
                for side in self._sides:
                    if each.id in side.published and side.published[each.id][0] == name:
                        side.published[each.id] = (name, version)
            return names

    def put_vectors(self, chunks: Sequence[Chunk], embeddings: Embeddings, *, run_id: str = "") -> int:
        with self._lock:
            check_chunk_ids([chunk.id for chunk in chunks], embeddings.chunk_ids)
            check_shape(embeddings.vectors, len(embeddings.chunk_ids))
            check_tokens(embeddings)
            self._stage(chunks, run_id)
            tokens = embeddings.tokens or (b"",) * len(embeddings.chunk_ids)
            for chunk_id, row, packed in zip(embeddings.chunk_ids, embeddings.vectors, tokens, strict=True):
                vector = np.array(row, dtype=np.float32)
                passage = self._staging(chunk_id, run_id)
                passage.vectors = {embeddings.model: vector}
                passage.checksums = {embeddings.model: vector_checksum(vector, packed)}
                passage.tokens = {embeddings.model: packed} if packed else {}
            return len(embeddings.chunk_ids)

    def put_terms(self, chunks: Sequence[Chunk], sparse: Sequence[SparseVector], *, run_id: str = "") -> int:
        with self._lock:
            check_chunk_ids([chunk.id for chunk in chunks], [each.chunk_id for each in sparse])
            self._stage(chunks, run_id)
            for each in sparse:
                counts = tuple((stored_term(term), count) for term, count in each.counts)
                self._staging(each.chunk_id, run_id).terms = replace(each, counts=counts)
            return len(sparse)

    def put_graph(
        self, chunks: Sequence[Chunk], entities: Sequence[Entity], relations: Sequence[Relation], *, run_id: str = ""
    ) -> int:
        with self._lock:
            written = list({each.chunk_id for each in (*entities, *relations)})
            check_chunk_ids([chunk.id for chunk in chunks], written)
            self._stage(chunks, run_id)
            for chunk in chunks:
                passage = self._staging(chunk.id, run_id)
                passage.facts = True
                passage.entities = [each for each in entities if each.chunk_id == chunk.id]
                passage.relations = [each for each in relations if each.chunk_id == chunk.id]
            return count_facts(entities, relations)

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
            raise version_is_missing(document_id, name)
        adopted = self._adopted(version, version.run_id)
        for facet in sorted(expect):
            lacking = sum(not self._has(facet, passage) for passage in adopted.values())
            if lacking:
                raise facet_is_missing(document_id, lacking, facet)
        self._check_made(version, version.run_id, before, expect)
        self._disclaim(version, version.run_id)
        for side in self._written:
            side.published[document_id] = (name, version)
        visible = self._everywhere(document_id)
        # Beside the active version, what others have staged stays.
        beside = self._side is not self._active
        replaced = before.chunks.keys() if before is not None else set[str]()
        self._staged = {
            key: value
            for key, value in self._staged.items()
            if key[0] != document_id or key[1] in visible or (beside and value is not before)
        }
        held = {key for (owner, _), each in self._staged.items() if owner == document_id for key in each.chunks}
        shown = {key for each in visible.values() for key in each.chunks}
        self._passages = {
            key: value
            for key, value in self._passages.items()
            if value.document_id != document_id or key in shown or (beside and (key not in replaced or key in held))
        } | adopted
        self._over = {
            (chunk_id, run_id): over
            for (chunk_id, run_id), over in self._over.items()
            if over.document_id != document_id or (run_id != version.run_id and (beside or chunk_id in adopted))
        }
        self._rows[document_id] = replace(
            self._rows[document_id], status="processed", reason="", updated_at=time.time()
        )
        self._tried.pop(document_id, None)

    def _has(self, facet: Facet, passage: Passage) -> bool:
        return self._vector(passage) is not None if facet == "vectors" else facet in passage.facets

    def put_failures(self, failures: Sequence[FailedDocument], *, run_id: str = "") -> int:
        with self._lock:
            for each in failures:
                self._note(each.id, each.name, each.uri, run_id)
                self._rows[each.id] = replace(self._rows[each.id], status="failed", reason=each.reason)
                self._tried[each.id] = each.tried
            return len({each.id for each in failures})
