"""An index in memory: the smallest thing that keeps the protocol's promises, for tests and throw-away searches."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from flows.errors import FatalError
from handlers.filters import TagFilter
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
    best,
    bm25_idf,
    check_dimensions,
    choose_model,
    entity_key,
    staged_name,
    storable_text,
    stored_term,
)  # fmt: skip


@dataclass
class _Version:
    document: Document
    chunks: dict[str, Chunk]
    artifacts: list[Artifact]
    summary: str | None
    fingerprint: str
    revision: str
    run_id: str
    staged_at: float


@dataclass
class _Passage:
    document_id: str
    run_id: str
    staged_at: float
    facts: bool = False
    vector: np.ndarray | None = None
    model: str = ""
    terms: SparseVector | None = None
    entities: list[Entity] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)
    over: dict[str, "_Passage"] = field(default_factory=dict)
    """What runs have staged over it, while it is visible."""


class MemoryIndexStore:
    """An `IndexStore` that lives as long as the process; every method runs under one lock."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._rows: dict[str, DocumentRow] = {}
        self._staged: dict[tuple[str, str], _Version] = {}
        self._published: dict[str, tuple[str, _Version]] = {}
        self._passages: dict[str, _Passage] = {}
        self._tried: dict[str, str] = {}

    def close(self) -> None:
        """Nothing to close; what is stored stays."""

    def put_documents(
        self, documents: Sequence[Document], chunks: Sequence[Chunk], *, summaries: Mapping[str, str] | None = None,
        artifacts: Sequence[Artifact] = (), revisions: Mapping[str, str] | None = None, run_id: str = "",
        fingerprint: str = "",
    ) -> dict[str, str]:  # fmt: skip
        with self._lock:
            self._stage(chunks, run_id)
            chunks = [replace(chunk, text=storable_text(chunk.text)) for chunk in chunks]
            for each in documents:
                self._note(each.id, each.name, each.uri, run_id)
                version = _Version(
                    each,
                    {chunk.id: chunk for chunk in chunks if chunk.document_id == each.id},
                    sorted((found for found in artifacts if found.document_id == each.id), key=lambda found: found.id),
                    (summaries or {}).get(each.id),
                    fingerprint,
                    (revisions or {}).get(each.id, ""),
                    run_id,
                    time.time(),
                )
                name = staged_name(each, run_id)
                self._staged[each.id, name] = version
                if each.id in self._published and self._published[each.id][0] == name:
                    self._published[each.id] = (name, version)
            return {each.id: staged_name(each, run_id) for each in documents}

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
        if version is None:
            raise FatalError(
                f"document {document_id!r}: version {name!r} is not stored; another run may have replaced it: "
                "ingest it again"
            )
        adopted = self._adopted(version.chunks, version.run_id)
        kept = list(adopted.values())
        lacking = {
            "facts": sum(not passage.facts for passage in kept),
            "terms": sum(passage.terms is None for passage in kept),
            "vectors": sum(passage.vector is None for passage in kept),
        }
        for facet in sorted(expect):
            if lacking[facet]:
                raise FatalError(
                    f"document {document_id!r}: {lacking[facet]} of its chunks have no {facet} stored; another run may "
                    "have replaced them: ingest it again"
                )
        self._staged = {key: value for key, value in self._staged.items() if key[0] != document_id}
        self._staged[document_id, name] = version
        self._published[document_id] = (name, version)
        others = {key: value for key, value in self._passages.items() if value.document_id != document_id}
        self._passages = others | adopted
        self._rows[document_id] = replace(
            self._rows[document_id], status="processed", reason="", updated_at=time.time()
        )  # fmt: skip
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
            for document_id in gone:
                del self._rows[document_id]
                self._published.pop(document_id, None)
                self._tried.pop(document_id, None)
            return len(gone)

    def restate(self, restatements: Sequence[Restatement]) -> int:
        with self._lock:
            known = [each for each in restatements if each.document_id in self._published]
            for each in known:
                name, version = self._published[each.document_id]
                noted = {"revision": each.revision, "fingerprint": each.fingerprint}
                document = version.document if each.tags is None else replace(version.document, tags=each.tags)
                version = replace(
                    version, document=document, **{key: value for key, value in noted.items() if value is not None}
                )
                self._staged[each.document_id, name] = version
                self._published[each.document_id] = (name, version)
                if each.run_id is not None:
                    self._passages |= self._adopted(version.chunks, each.run_id)
                if each.uri is not None:
                    self._rows[each.document_id] = replace(self._rows[each.document_id], uri=each.uri)
            return len(known)

    def requeue(self, document_ids: Sequence[str]) -> int:
        with self._lock:
            failed = [
                each for each in dict.fromkeys(document_ids)
                if each in self._rows and self._rows[each].status == "failed"
            ]  # fmt: skip
            for each in failed:
                self._rows[each] = replace(self._rows[each], status="pending")
                self._tried.pop(each, None)
            return len(failed)

    def rename(self, renames: Sequence[Rename]) -> int:
        with self._lock:
            before = dict(self._rows), dict(self._staged), dict(self._published), dict(self._passages)
            try:
                return sum(self._rename(each) for each in renames)
            except (FatalError, ValueError):
                self._rows, self._staged, self._published, self._passages = before
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
            row, id=new, name=each.document.name, uri=each.document.uri, updated_at=time.time()
        )  # fmt: skip
        chunks = {
            each.chunk_ids[chunk.id]: replace(chunk, id=each.chunk_ids[chunk.id], document_id=new)
            for chunk in version.chunks.values()
        }
        artifacts = [
            replace(found, id=each.artifact_ids.get(found.id, found.id), document_id=new) for found in version.artifacts
        ]
        artifacts.sort(key=lambda found: found.id)
        moved = replace(
            version, document=each.document, chunks=chunks, artifacts=artifacts, revision=each.revision,
            fingerprint=version.fingerprint if each.fingerprint is None else each.fingerprint,
        )  # fmt: skip
        self._staged[new, name] = moved
        self._published[new] = (name, moved)
        for chunk_id, passage in kept.items():
            after = each.chunk_ids[chunk_id]
            self._passages[after] = replace(
                passage, document_id=new, over={},
                terms=replace(passage.terms, chunk_id=after) if passage.terms else None,
                entities=[replace(found, document_id=new, chunk_id=after) for found in passage.entities],
                relations=[replace(found, document_id=new, chunk_id=after) for found in passage.relations],
            )  # fmt: skip
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
                if self._published.get(document_id, ("",))[0] != name
                and left(version.run_id, version.staged_at)
            ]  # fmt: skip
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
            over = [
                (chunk_id, run_id)
                for chunk_id, passage in self._passages.items()
                for run_id, staged in passage.over.items()
                if left(run_id, staged.staged_at)
            ]
            for chunk_id, run_id in over:
                del self._passages[chunk_id].over[run_id]
            used = {document_id for document_id, _ in self._staged}
            used |= {passage.document_id for passage in self._passages.values()}
            documents = [
                row.id
                for row in self._rows.values()
                if row.id not in used and row.status == "pending" and left(row.run_id, row.updated_at)
            ]  # fmt: skip
            self.delete(documents)
            return Swept(len(versions), len(chunks) + len(over), len(documents))

    def known(self, document_ids: Sequence[str]) -> dict[str, DocumentRow]:
        with self._lock:
            return {each: self._row(each) for each in document_ids if each in self._rows}

    def documents(
        self, *, status: DocumentStatus | None = None, limit: int = 100, offset: int = 0
    ) -> list[DocumentRow]:
        with self._lock:
            rows = [self._row(each) for each in self._rows if status in (None, self._rows[each].status)]
            return sorted(rows, key=lambda row: (row.name, row.id))[offset : offset + limit]

    def document_states(self, *, after: str = "", limit: int = 1000) -> list[DocumentState]:
        with self._lock:
            found: list[DocumentState] = []
            for document_id in sorted(each for each in self._rows if each > after)[:limit]:
                row, version = self._row(document_id), self._published.get(document_id, ("", None))[1]
                found.append(DocumentState(
                    row.id, row.name, row.uri, row.status, row.content_sha256, row.fingerprint,
                    version.revision if version else "", tuple(chunk.id for chunk in self.chunks_of(document_id)),
                    tuple(sorted(set(version.document.tags))) if version else (), self._tried.get(document_id, ""),
                ))  # fmt: skip
            return found

    def chunk_states(self, chunk_ids: Iterable[str]) -> dict[str, ChunkState]:
        with self._lock:
            made = {key: version.fingerprint for _, version in self._published.values() for key in version.chunks}
            return {
                each: ChunkState(
                    passage.model if passage.vector is not None else None, passage.terms is not None, passage.facts,
                    made.get(each, ""),
                )
                for each in chunk_ids if (passage := self._passages.get(each)) is not None
            }  # fmt: skip

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
            replace(version.document, name=row.name, uri=row.uri, text="", blocks=()), row.status, row.reason,
            row.run_id, searchable=True, fingerprint=version.fingerprint, revision=version.revision,
            summary=version.summary, chunks=tuple(chunks),
            vectors={
                key: (each.model, each.vector) for key, each in passages.items() if each.vector is not None
            },
            terms=tuple(each.terms for each in passages.values() if each.terms is not None),
            facts=frozenset(key for key, each in passages.items() if each.facts),
            entities=tuple(found for each in passages.values() for found in each.entities),
            relations=tuple(found for each in passages.values() for found in each.relations),
            artifacts=tuple(version.artifacts),
        )  # fmt: skip

    def fingerprint(self) -> str:
        with self._lock:
            content = ContentHash()
            content.add(self.read_documents(list(self._rows)))
            return content.hexdigest()

    def size_bytes(self) -> int:
        with self._lock:
            vectors = sum(each.vector.nbytes for each in self._passages.values() if each.vector is not None)
            terms = sum(16 * len(each.terms.counts) for each in self._passages.values() if each.terms)
            texts = (chunk.text for version in self._staged.values() for chunk in version.chunks.values())
            return vectors + terms + sum(map(len, texts))

    def statistics(self) -> dict[str, int]:
        with self._lock:
            versions = [version for _, version in self._published.values()]
            visible = list(self._visible().values())
            related = {
                (id(passage), entity_key(each.source), entity_key(each.target), each.kind)
                for passage in visible
                for each in passage.relations
            }
            status = Counter(row.status for row in self._rows.values())
            return {
                "documents": len(versions),
                "chunks": len(visible),
                "vectors": sum(passage.vector is not None for passage in visible),
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

    def search_vectors(
        self, vector: np.ndarray, *, top_k: int = 50, model: str | None = None, where: TagFilter | None = None
    ) -> list[Hit]:
        with self._lock:
            rows = [(key, each) for key, each in self._visible().items() if each.vector is not None]
            chosen = choose_model(sorted({each.model for _, each in rows}), model)
            scores: dict[str, float] = {}
            for key, each in rows:
                if each.model != chosen or each.vector is None:
                    continue
                check_dimensions(np.size(vector), each.vector.size)
                if self._permits(where, each.document_id):
                    scores[key] = float(each.vector @ vector)
            return self.hits(_top(scores, top_k), source="vector")

    def search_terms(
        self, counts: Mapping[str, float], *, top_k: int = 50, k1: float = 1.2, b: float = 0.75,
        where: TagFilter | None = None,
    ) -> list[Hit]:  # fmt: skip
        with self._lock:
            visible = self._visible()
            lengths = {key: each.terms.length if each.terms else 0 for key, each in visible.items()}
            average = sum(lengths.values()) / max(len(lengths), 1) or 1.0
            counts = {stored_term(term): weight for term, weight in counts.items()}
            postings: dict[str, dict[str, int]] = defaultdict(dict)
            for key, each in visible.items():
                for term, count in each.terms.counts if each.terms else ():
                    postings[term][key] = count
            scores: dict[str, float] = defaultdict(float)
            for term in sorted(counts):
                idf = bm25_idf(len(visible), len(postings[term]))
                for key, count in postings[term].items():
                    if self._permits(where, visible[key].document_id):
                        norm = k1 * (1 - b + b * lengths[key] / average)
                        scores[key] += counts[term] * idf * count * (k1 + 1) / (count + norm)
            return self.hits(_top(scores, top_k), source="keyword")

    def find_entities(self, names: Iterable[str], *, where: TagFilter | None = None) -> dict[str, str]:
        with self._lock:
            stored = self._names(where)
            return {name: stored[entity_key(name)] for name in names if entity_key(name) in stored}

    def neighbours(self, names: Iterable[str], *, limit: int = 1000, where: TagFilter | None = None) -> list[Edge]:
        with self._lock:
            stored, wanted = self._names(where), {entity_key(name) for name in names}
            weights: dict[tuple[str, str, str], float] = defaultdict(float)
            permitted = [each for each in self._visible().values() if self._permits(where, each.document_id)]
            for each in (relation for passage in permitted for relation in passage.relations):
                ends = entity_key(each.source), entity_key(each.target)
                if wanted & set(ends):
                    weights[stored[ends[0]], stored[ends[1]], each.kind] += each.weight
            edges = [Edge(*key, weight) for key, weight in weights.items()]
            return sorted(edges, key=lambda edge: (-edge.weight, edge.source, edge.target, edge.kind))[:limit]

    def mentions(self, names: Iterable[str], *, where: TagFilter | None = None) -> list[Mention]:
        with self._lock:
            stored, wanted = self._names(where), {entity_key(name) for name in names}
            counted = Counter(
                (key, stored[entity_key(each.name)])
                for key, passage in self._visible().items()
                if self._permits(where, passage.document_id)
                for each in passage.entities
                if entity_key(each.name) in wanted
            )
            return sorted(Mention(*key, count) for key, count in counted.items())

    def hits(self, scores: Mapping[str, float], *, source: str, where: TagFilter | None = None) -> list[Hit]:
        with self._lock:
            found: list[Hit] = []
            for _, version in self._published.values():
                document = version.document
                for chunk in version.chunks.values():
                    if chunk.id in scores and self._permits(where, document.id):
                        found.append(Hit(
                            id=chunk.id, document_id=document.id, score=float(scores[chunk.id]), content=chunk.text,
                            source=source, name=document.name, heading=chunk.heading, page=chunk.page,
                            start=chunk.start, end=chunk.end,
                        ))  # fmt: skip
            return sorted(found, key=lambda hit: (-hit.score, hit.id))

    def _stage(self, chunks: Sequence[Chunk], run_id: str) -> None:
        visible = self._visible()
        for chunk in chunks:
            if chunk.document_id not in self._rows:
                self._note(chunk.document_id, "", "", "")
            passage = self._passages.setdefault(chunk.id, _Passage(chunk.document_id, run_id, time.time()))
            if chunk.id not in visible and passage.run_id != run_id:
                passage.run_id, passage.staged_at = run_id, time.time()

    def _staging(self, chunk_id: str, run_id: str) -> _Passage:
        """Where a run writes what it stages of a chunk: beside it while it is visible."""
        passage = self._passages[chunk_id]
        if chunk_id not in self._visible():
            return passage
        over = passage.over.setdefault(run_id, _Passage(passage.document_id, run_id, time.time()))
        over.staged_at = time.time()
        return over

    def _adopted(self, chunk_ids: Iterable[str], run_id: str) -> dict[str, _Passage]:
        """The passages with what a run has staged over them in its place."""
        return {each: _with(self._passages[each], run_id) for each in chunk_ids}

    def _note(self, document_id: str, name: str, uri: str, run_id: str) -> None:
        now = time.time()
        row = self._rows.get(document_id) or DocumentRow(
            document_id, document_id, uri, "", "pending", "", run_id, now, "", "", 0, False
        )
        self._rows[document_id] = replace(row, name=name, uri=uri, run_id=run_id, updated_at=now) if name else row

    def _row(self, document_id: str) -> DocumentRow:
        row = self._rows[document_id]
        if document_id not in self._published:
            return row
        version = self._published[document_id][1]
        return replace(
            row, title=version.document.title, content_sha256=version.document.content_sha256,
            fingerprint=version.fingerprint, chunks=len(version.chunks), searchable=True,
        )  # fmt: skip

    def _visible(self) -> dict[str, _Passage]:
        return {key: self._passages[key] for _, version in self._published.values() for key in version.chunks}

    def _names(self, where: TagFilter | None = None) -> dict[str, str]:
        stored: dict[str, str] = {}
        for passage in self._visible().values():
            if not self._permits(where, passage.document_id):
                continue
            relations = [name for each in passage.relations for name in (each.source, each.target)]
            for name in [each.name for each in passage.entities] + relations:
                stored[entity_key(name)] = min(name, stored.get(entity_key(name), name))
        return stored

    def _permits(self, where: TagFilter | None, document_id: str) -> bool:
        return not where or where.matches(self._published[document_id][1].document.tags)

    @staticmethod
    def _check(chunks: Sequence[Chunk], chunk_ids: Collection[str]) -> None:
        unknown = set(chunk_ids) - {chunk.id for chunk in chunks}
        if unknown:
            raise ValueError(f"chunk {min(unknown)!r} is not among the chunks that were given")
        if len(set(chunk_ids)) != len(chunk_ids):
            raise ValueError("a chunk is given more than once")


def _with(passage: _Passage, run_id: str) -> _Passage:
    found = replace(passage, over={run: staged for run, staged in passage.over.items() if run != run_id})
    staged = passage.over.get(run_id)
    if staged is None:
        return found
    if staged.vector is not None:
        found.vector, found.model = staged.vector, staged.model
    if staged.terms is not None:
        found.terms = staged.terms
    if staged.facts:
        found.facts, found.entities, found.relations = True, staged.entities, staged.relations
    return found


def _top(scores: Mapping[str, float], top_k: int) -> dict[str, float]:
    keys = np.array(list(scores))
    return {str(keys[place]): scores[str(keys[place])] for place in best(keys, np.array(list(scores.values())), top_k)}
