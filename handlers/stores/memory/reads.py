"""Reading an index in memory: documents, their states and counts."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from handlers.records import Artifact, Chunk, Document
from handlers.stores.content import ContentHash
from handlers.stores.keys import entity_key, spellings
from handlers.stores.memory.tables import MemoryTables
from handlers.stores.rows import ChunkState, DocumentPlace, DocumentRow, DocumentState, DocumentStatus, StoredDocument


class MemoryReader(MemoryTables):
    """An `IndexReader`."""

    def known(self, document_ids: Sequence[str]) -> dict[str, DocumentRow]:
        with self._lock:
            return {each: self._row(each) for each in document_ids if each in self._rows}

    def documents(
        self, *, status: DocumentStatus | None = None, limit: int = 100, offset: int = 0
    ) -> list[DocumentRow]:
        with self._lock:
            rows = [self._row(each) for each in self._rows if status in (None, self._rows[each].status)]
            return sorted(rows, key=lambda row: (row.name, row.id))[offset : offset + limit]

    def lookup(self, name: str, *, limit: int = 20) -> list[DocumentRow]:
        names = spellings(name)
        endings = tuple(f"/{each}" for each in names)
        with self._lock:
            rows = [self._row(each) for each in self._rows]
        whole = [row for row in rows if {row.id, row.name, row.uri} & set(names)]
        found = whole or [row for row in rows if row.name.endswith(endings) or row.uri.endswith(endings)]
        return sorted(found, key=lambda row: (row.name, row.id))[:limit]

    def document_places(self, *, after: str = "", limit: int = 1000) -> list[DocumentPlace]:
        with self._lock:
            rows = [self._rows[each] for each in sorted(each for each in self._rows if each > after)[:limit]]
            return [DocumentPlace(row.id, row.name, row.uri) for row in rows]

    def document_states(self, *, after: str = "", limit: int = 1000) -> list[DocumentState]:
        with self._lock:
            found: list[DocumentState] = []
            for document_id in sorted(each for each in self._rows if each > after)[:limit]:
                row, version = self._row(document_id), self._published.get(document_id, ("", None))[1]
                found.append(
                    DocumentState(
                        row.id,
                        row.name,
                        row.uri,
                        row.status,
                        row.content_sha256,
                        row.fingerprint,
                        version.revision if version else "",
                        tuple(chunk.id for chunk in self.chunks_of(document_id)),
                        tuple(sorted(set(version.document.tags))) if version else (),
                        self._tried.get(document_id, ""),
                    )
                )
            return found

    def chunk_states(self, chunk_ids: Iterable[str]) -> dict[str, ChunkState]:
        with self._lock:
            made = {key: version.fingerprint for _, version in self._published.values() for key in version.chunks}
            return {
                each: ChunkState(
                    vector[0] if (vector := self._vector(passage)) is not None else None,
                    passage.terms is not None,
                    passage.facts,
                    made.get(each, ""),
                )
                for each in chunk_ids
                if (passage := self._passages.get(each)) is not None
            }

    def read_documents(self, document_ids: Sequence[str]) -> list[StoredDocument]:
        with self._lock:
            return [self._stored(each) for each in sorted(set(document_ids) & self._rows.keys())]

    def _stored(self, document_id: str) -> StoredDocument:
        row = self._rows[document_id]
        if document_id not in self._published:
            document = Document(row.id, row.name, row.uri, "", "", "", "")
            return StoredDocument(document, row.status, row.reason, row.run_id, searchable=False)
        version = self._published[document_id][1]
        chunks = self.chunks_of(document_id)
        passages = {chunk.id: self._passages[chunk.id] for chunk in chunks}
        return StoredDocument(
            replace(version.document, name=row.name, uri=row.uri, text="", blocks=()),
            row.status,
            row.reason,
            row.run_id,
            searchable=True,
            fingerprint=version.fingerprint,
            revision=version.revision,
            summary=version.summary,
            chunks=tuple(chunks),
            vectors={key: vector for key, each in passages.items() if (vector := self._vector(each)) is not None},
            tokens={key: packed for key, each in passages.items() if (packed := self._packed(each))},
            terms=tuple(each.terms for each in passages.values() if each.terms is not None),
            facts=frozenset(key for key, each in passages.items() if each.facts),
            entities=tuple(found for each in passages.values() for found in each.entities),
            relations=tuple(found for each in passages.values() for found in each.relations),
            artifacts=tuple(version.artifacts),
        )

    def fingerprint(self) -> str:
        with self._lock:
            content = ContentHash()
            content.add(self.read_documents(list(self._rows)))
            return content.hexdigest()

    def size_bytes(self) -> int:
        with self._lock:
            vectors = sum(row.nbytes for each in self._passages.values() for row in each.vectors.values())
            terms = sum(16 * len(each.terms.counts) for each in self._passages.values() if each.terms)
            texts = (chunk.text for version in self._staged.values() for chunk in version.chunks.values())
            tokens = sum(len(packed) for each in self._passages.values() for packed in each.tokens.values())
            return vectors + tokens + terms + sum(map(len, texts))

    def statistics(self) -> dict[str, int]:
        with self._lock:
            versions = [version for _, version in self._published.values()]
            visible = list(self._visible().values())
            related = {
                (id(passage), entity_key(each.start), entity_key(each.end), each.kind)
                for passage in visible
                for each in passage.relations
            }
            status = Counter(row.status for row in self._rows.values())
            return {
                "documents": len(versions),
                "chunks": len(visible),
                "vectors": sum(self._vector(passage) is not None for passage in visible),
                "token_vectors": sum(bool(self._packed(passage)) for passage in visible),
                "terms": sum(passage.terms is not None for passage in visible),
                "entities": len(self._names()),
                "relations": len(related),
                "artifacts": sum(len(version.artifacts) for version in versions),
                "summaries": sum(version.summary is not None for version in versions),
                "tagged_documents": sum(bool(version.document.tags) for version in versions),
                "pending": status["pending"],
                "processed": status["processed"],
                "failed": status["failed"],
            }

    def chunks_of(self, document_id: str) -> list[Chunk]:
        with self._lock:
            _, version = self._published.get(document_id, ("", None))
            return sorted(version.chunks.values(), key=lambda each: (each.position, each.id)) if version else []

    def artifacts_of(self, document_id: str) -> list[Artifact]:
        with self._lock:
            return list(self._published[document_id][1].artifacts) if document_id in self._published else []

    def summary_of(self, document_id: str) -> str | None:
        with self._lock:
            return self._published[document_id][1].summary if document_id in self._published else None

    def tags_of(self, document_ids: Iterable[str]) -> dict[str, tuple[tuple[str, str], ...]]:
        with self._lock:
            return {
                each: tuple(sorted(set(self._published[each][1].document.tags)))
                for each in document_ids
                if each in self._published
            }
