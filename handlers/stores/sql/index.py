"""An index in SQL: what SQLite and PostgreSQL have in common, each call one transaction."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager

from sqlalchemy import Connection

from flows.errors import FatalError
from handlers.records import Artifact, Chunk, Document, Embeddings, Entity, Hit, Relation, SparseVector
from handlers.stores.content import ContentHash
from handlers.stores.protocol import (
    ChunkState,
    DocumentRow,
    DocumentState,
    DocumentStatus,
    Edge,
    Facet,
    FailedDocument,
    Mention,
    Rename,
    Restatement,
    StoredDocument,
    Swept,
)
from handlers.stores.sql import graph, reads, states, upkeep, writes
from handlers.tags import TagFilter

_TOGETHER = 100
"""Documents that one transaction publishes."""


class SqlIndexStore(ABC):
    """All of an `IndexStore` but the two searches, how transactions begin, and how much room it takes."""

    @abstractmethod
    def _read(self) -> AbstractContextManager[Connection]:
        """A transaction that sees one state of the index throughout."""

    @abstractmethod
    def _write(self) -> AbstractContextManager[Connection]:
        """A transaction that is committed at the end, or undone by an error."""

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
        with self._write() as connection:
            return writes.put_documents(
                connection,
                documents,
                chunks,
                summaries or {},
                artifacts,
                revisions or {},
                run_id=run_id,
                fingerprint=fingerprint,
            )

    def put_vectors(self, chunks: Sequence[Chunk], embeddings: Embeddings, *, run_id: str = "") -> int:
        with self._write() as connection:
            return writes.put_vectors(connection, chunks, embeddings, run_id)

    def put_terms(self, chunks: Sequence[Chunk], sparse: Sequence[SparseVector], *, run_id: str = "") -> int:
        with self._write() as connection:
            return writes.put_terms(connection, chunks, sparse, run_id)

    def put_graph(
        self, chunks: Sequence[Chunk], entities: Sequence[Entity], relations: Sequence[Relation], *, run_id: str = ""
    ) -> int:
        with self._write() as connection:
            return graph.put_graph(connection, chunks, entities, relations, run_id)

    def publish(self, versions: Mapping[str, str], *, expect: Collection[Facet] = ()) -> int:
        for some in reads.batches(list(versions.items()), _TOGETHER):
            self._publish(some, expect)
        return len(versions)

    def _publish(self, versions: Sequence[tuple[str, str]], expect: Collection[Facet]) -> None:
        try:
            with self._write() as connection:
                writes.publish(connection, dict(versions), expect)
        except FatalError:
            if len(versions) == 1:
                raise
            for each in versions:  # those before the one that cannot be published are
                self._publish([each], expect)

    def put_failures(self, failures: Sequence[FailedDocument], *, run_id: str = "") -> int:
        with self._write() as connection:
            return writes.put_failures(connection, failures, run_id=run_id)

    def delete(self, document_ids: Sequence[str]) -> int:
        with self._write() as connection:
            return writes.delete(connection, document_ids)

    def rename(self, renames: Sequence[Rename]) -> int:
        with self._write() as connection:
            return upkeep.rename(connection, renames)

    def restate(self, restatements: Sequence[Restatement]) -> int:
        with self._write() as connection:
            return upkeep.restate(connection, restatements)

    def requeue(self, document_ids: Sequence[str]) -> int:
        with self._write() as connection:
            return upkeep.requeue(connection, document_ids)

    def sweep(
        self, *, alive: Collection[str] = (), dead: Collection[str] = (), older_than_s: float = 86_400.0
    ) -> Swept:
        age = upkeep.Age(older_than_s, frozenset(alive), frozenset(dead))
        with self._read() as connection:
            candidates = upkeep.sweep_candidates(connection, age)
        found: list[Swept] = []
        for some in reads.batches(candidates, 100):
            with self._write() as connection:
                found.append(upkeep.sweep(connection, some, age))
        with self._write() as connection:
            upkeep.sweep_entities(connection)
        return Swept(
            sum(each.versions for each in found),
            sum(each.chunks for each in found),
            sum(each.documents for each in found),
        )

    def known(self, document_ids: Sequence[str]) -> dict[str, DocumentRow]:
        with self._read() as connection:
            return reads.known(connection, document_ids)

    def documents(
        self, *, status: DocumentStatus | None = None, limit: int = 100, offset: int = 0
    ) -> list[DocumentRow]:
        with self._read() as connection:
            return reads.documents(connection, status=status, limit=limit, offset=offset)

    def document_states(self, *, after: str = "", limit: int = 1000) -> list[DocumentState]:
        with self._read() as connection:
            return states.document_states(connection, after=after, limit=limit)

    def chunk_states(self, chunk_ids: Iterable[str]) -> dict[str, ChunkState]:
        with self._read() as connection:
            return states.chunk_states(connection, chunk_ids)

    def read_documents(self, document_ids: Sequence[str]) -> list[StoredDocument]:
        with self._read() as connection:
            return states.read_documents(connection, document_ids)

    def fingerprint(self) -> str:
        content, after = ContentHash(), ""
        with self._read() as connection:
            while page := states.document_states(connection, after=after, limit=100):
                content.add(states.read_documents(connection, [state.id for state in page]))
                after = page[-1].id
        return content.hexdigest()

    def statistics(self) -> dict[str, int]:
        with self._read() as connection:
            return reads.statistics(connection)

    def chunks_of(self, document_id: str) -> list[Chunk]:
        with self._read() as connection:
            return reads.chunks_of(connection, document_id)

    def artifacts_of(self, document_id: str) -> list[Artifact]:
        with self._read() as connection:
            return reads.artifacts_of(connection, document_id)

    def summary_of(self, document_id: str) -> str | None:
        with self._read() as connection:
            return reads.summary_of(connection, document_id)

    def tags_of(self, document_ids: Iterable[str]) -> dict[str, tuple[tuple[str, str], ...]]:
        with self._read() as connection:
            return reads.tags_of(connection, document_ids)

    def find_entities(self, names: Iterable[str], *, where: TagFilter | None = None) -> dict[str, str]:
        with self._read() as connection:
            return graph.find_entities(connection, names, where=where)

    def neighbours(self, names: Iterable[str], *, limit: int = 1000, where: TagFilter | None = None) -> list[Edge]:
        with self._read() as connection:
            return graph.neighbours(connection, names, limit=limit, where=where)

    def mentions(self, names: Iterable[str], *, where: TagFilter | None = None) -> list[Mention]:
        with self._read() as connection:
            return graph.mentions(connection, names, where=where)

    def hits(self, scores: Mapping[str, float], *, found_by: str, where: TagFilter | None = None) -> list[Hit]:
        with self._read() as connection:
            found = reads.passage_keys(connection, scores, permitted=reads.permitted_documents(where))
            return reads.hits(connection, found, found_by=found_by)
