"""One order-independent hash of an index's content, and copies of an index."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby

import numpy as np

from handlers.records import Embeddings, LeftOut
from handlers.stores.protocol import IndexReader, IndexStore, IndexWriter
from handlers.stores.rows import FailedDocument, SourceRecord, StoredDocument

_MODULUS = 1 << 256


@dataclass
class ContentHash:
    """A sum of document hashes, independent of their order and of the kind of index."""

    total: int = 0

    def add(self, documents: Sequence[StoredDocument]) -> None:
        for each in documents:
            if each.searchable or each.status == "failed":
                self.total = (self.total + int.from_bytes(_digest(each))) % _MODULUS

    def hexdigest(self) -> str:
        return f"{self.total:064x}"


def _digest(stored: StoredDocument) -> bytes:
    hashed = hashlib.sha256()
    counted: dict[tuple[str, str, str], int] = {}
    for each in stored.entities:
        counted[each.chunk_id, each.name, each.kind] = counted.get((each.chunk_id, each.name, each.kind), 0) + 1
    weights: dict[tuple[str, str, str, str], float] = {}
    for each in stored.relations:
        relation = (each.chunk_id, each.start, each.end, each.kind)
        weights[relation] = weights.get(relation, 0.0) + each.weight
    document = asdict(stored.document) | {"tags": sorted(set(stored.document.tags)), "text": "", "blocks": ()}
    if not stored.searchable:
        document = {"id": stored.document.id, "name": stored.document.name, "uri": stored.document.uri}
    listed: list[object] = [
        document,
        [stored.searchable, stored.status == "failed", stored.reason, stored.summary],
        sorted((asdict(each) for each in stored.chunks), key=lambda each: (each["position"], each["id"])),
        sorted((each.chunk_id, sorted(each.counts), each.length) for each in stored.terms),
        sorted(counted.items()),
        sorted(weights.items()),
        sorted((asdict(each) for each in stored.artifacts), key=lambda each: each["id"]),
        sorted((chunk_id, model) for chunk_id, (model, _) in stored.vectors.items()),
    ]
    hashed.update(json.dumps(listed, ensure_ascii=True, sort_keys=True).encode())
    for _, (_, vector) in sorted(stored.vectors.items()):
        hashed.update(np.ascontiguousarray(vector, dtype="<f4").tobytes())
    for chunk_id, packed in sorted(stored.tokens.items()):
        hashed.update(f"{chunk_id} {len(packed)} ".encode() + packed)
    return hashed.digest()


@dataclass(frozen=True)
class CopyResult:
    """The counts and content hashes of two indexes after a copy; `matches` if they are the same."""

    documents: int
    before: dict[str, int]
    after: dict[str, int]
    fingerprints: tuple[str, str]

    @property
    def matches(self) -> bool:
        counted = [
            {name: count for name, count in each.items() if name != "pending"} for each in (self.before, self.after)
        ]
        return counted[0] == counted[1] and self.fingerprints[0] == self.fingerprints[1]


def copy_index(
    source: IndexStore,
    target: IndexStore,
    *,
    batch_size: int = 50,
    progress: Callable[[int], None] = lambda documents: None,
) -> CopyResult:
    """Copy everything visible, the reasons of failures and the sources, in batches; then compare counts and content.

    `progress` is called with the number of documents done so far. Documents that exist only in the target stay (and
    make the comparison fail); staged versions are not copied. Safe to repeat, for example after an interruption.
    """
    done = 0
    for page in document_pages(source, batch_size):
        stored = [each for each in source.read_documents(page) if each.searchable or each.status == "failed"]
        for (run_id, fingerprint), group in groupby(
            sorted(stored, key=lambda each: (each.run_id, each.fingerprint)),
            key=lambda each: (each.run_id, each.fingerprint),
        ):
            write_documents(target, list(group), run_id, fingerprint)
        done += len(stored)
        progress(done)
    for record in source.sources():
        target.put_source(record, _left_out(source, record))
    return CopyResult(done, source.statistics(), target.statistics(), (source.fingerprint(), target.fingerprint()))


def _left_out(store: IndexStore, source: SourceRecord) -> Iterator[LeftOut]:
    offset = 0
    while page := store.left_out(source.uri, source.pattern, limit=1000, offset=offset):
        yield from page
        offset += len(page)


def document_pages(store: IndexReader, size: int) -> Iterator[list[str]]:
    """The ids of all documents, in pages of `size`."""
    after = ""
    while states := store.document_states(after=after, limit=size):
        yield [state.id for state in states]
        after = states[-1].id


def write_documents(target: IndexWriter, group: Sequence[StoredDocument], run_id: str, fingerprint: str) -> None:
    """Write documents of another index with all their data, and publish the searchable ones."""
    visible = [each for each in group if each.searchable]
    chunks = {chunk.id: chunk for each in visible for chunk in each.chunks}
    versions = target.put_documents(
        [each.document for each in visible],
        list(chunks.values()),
        run_id=run_id,
        fingerprint=fingerprint,
        summaries={each.document.id: each.summary for each in visible if each.summary is not None},
        artifacts=[artifact for each in visible for artifact in each.artifacts],
        revisions={each.document.id: each.revision for each in visible},
    )
    vectors = {chunk_id: vector for each in visible for chunk_id, vector in each.vectors.items()}
    tokens = {chunk_id: packed for each in visible for chunk_id, packed in each.tokens.items()}
    for model in sorted({name for name, _ in vectors.values()}):
        ids = tuple(chunk_id for chunk_id, (name, _) in vectors.items() if name == model)
        rows = np.array([vectors[chunk_id][1] for chunk_id in ids], dtype=np.float32)
        embeddings = Embeddings(ids, rows, model, tuple(tokens.get(chunk_id, b"") for chunk_id in ids))
        target.put_vectors([chunks[chunk_id] for chunk_id in ids], embeddings, run_id=run_id)
    sparse = [terms for each in visible for terms in each.terms]
    target.put_terms([chunks[terms.chunk_id] for terms in sparse], sparse, run_id=run_id)
    with_facts = {chunk_id for each in visible for chunk_id in each.facts}
    target.put_graph(
        [chunk for chunk_id, chunk in chunks.items() if chunk_id in with_facts],
        [entity for each in visible for entity in each.entities],
        [relation for each in visible for relation in each.relations],
        run_id=run_id,
    )
    target.publish(versions)
    target.put_failures(
        [
            FailedDocument(each.document.id, each.document.name, each.document.uri, each.reason)
            for each in group
            if each.status == "failed"
        ],
        run_id=run_id,
    )
