"""Compares an index with its documents made again from the sources, and repairs the differences.

Texts, offsets, terms and facts must be equal. Vectors are compared by their cosine, since machines compute in different
ways. Two ways of computing the bundled model, whose weights have 8 bits, gave cosines down to 0.9978 for the same text;
one letter more or less gave 0.9945. Flipped bits, whose effect may be smaller, are found by the checksum stored with
each vector.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from handlers.records import Chunk, Embeddings
from handlers.stores.content import write_documents
from handlers.stores.fingerprints import outdated_facets, parse_facets, remade_facets
from handlers.stores.protocol import IndexReader, IndexStore
from handlers.stores.rows import Facet, Flaw, Restatement, StoredDocument

LEAST_COSINE = 0.997


@dataclass(frozen=True)
class Difference:
    """A difference between a stored document and the same document made again."""

    document_id: str
    facet: str
    """`text`, `tags`, `artifacts`, `vectors`, `terms`, `facts`, or `fingerprint`: how a facet was made."""
    detail: str
    chunk_ids: tuple[str, ...] = ()
    """The ids of the passages whose vectors, terms or facts differ."""


@dataclass(frozen=True)
class Proof:
    """The internal flaws of an index, and its differences from documents made again."""

    flaws: Sequence[Flaw]
    differences: Sequence[Difference]

    @property
    def holds(self) -> bool:
        return not self.flaws and not self.differences


def prove(store: IndexStore, fresh: Iterable[StoredDocument]) -> Proof:
    """Compare documents of an index with freshly made ones of the same ids, and check all rows of the index."""
    made = {each.document.id: each for each in fresh}
    flaws = store.flaws()
    found = _of_vectors(flaws, made)
    for stored in _stored(store, made):
        listed = {each.facet: each for each in found if each.document_id == stored.document.id}
        found += [
            each
            for each in differences(stored, made[stored.document.id])
            if each.facet not in listed or set(each.chunk_ids) - set(listed[each.facet].chunk_ids)
        ]
    return Proof([each for each in flaws if each.kind != "vector"], found)


def differences(stored: StoredDocument, fresh: StoredDocument) -> list[Difference]:
    """The differences between a stored document and a freshly made one."""
    document_id = stored.document.id
    if not stored.searchable:
        return [Difference(document_id, "text", "is not searchable")]
    found = [
        Difference(document_id, facet, detail)
        for facet, detail in (
            *_of_text(stored, fresh),
            *_of_parts(stored, fresh),
        )
    ]
    for facet, chunk_ids in (
        ("vectors", _vectors(stored, fresh)),
        ("terms", _terms(stored, fresh)),
        ("facts", _facts(stored, fresh)),
    ):
        if chunk_ids:
            found.append(Difference(document_id, facet, f"of {len(chunk_ids)} passages differ", tuple(chunk_ids)))
    stale = outdated_facets(stored.fingerprint, parse_facets(fresh.fingerprint))
    if stale:
        found.append(Difference(document_id, "fingerprint", f"differs for {', '.join(sorted(stale))}"))
    return found


def repair(store: IndexStore, proof: Proof, fresh: Iterable[StoredDocument], *, run_id: str) -> int:
    """Repair only the parts that differ; return the number of flaws and differences."""
    store.mend(proof.flaws)
    made = {each.document.id: each for each in fresh}
    by_document: dict[str, list[Difference]] = {}
    for each in proof.differences:
        by_document.setdefault(each.document_id, []).append(each)
    stored = {each.document.id: each for each in _stored(store, by_document)}
    for document_id, listed in by_document.items():
        facets = {each.facet for each in listed}
        if facets & {"text", "tags", "artifacts"}:
            _write_again(store, stored[document_id], made[document_id], run_id)
        else:
            _write_facets(store, stored[document_id], made[document_id], listed, run_id)
    return len(proof.flaws) + len(proof.differences)


def _write_again(store: IndexStore, stored: StoredDocument, fresh: StoredDocument, run_id: str) -> None:
    """Write a document completely; unchanged parts keep their rows."""
    document = replace(fresh.document, name=stored.document.name, uri=stored.document.uri)
    store.mend_texts(fresh.chunks)
    write_documents(store, [replace(fresh, document=document)], run_id, fresh.fingerprint)


def _write_facets(
    store: IndexStore, stored: StoredDocument, fresh: StoredDocument, listed: Sequence[Difference], run_id: str
) -> None:
    """Write vectors, terms and facts of the differing passages, or of all passages if they were made in another way."""
    ids: dict[str, set[str]] = {each.facet: set(each.chunk_ids) for each in listed}
    remade: set[Facet] = remade_facets(stored.fingerprint, fresh.fingerprint)

    def chosen(facet: Facet) -> list[Chunk]:
        return [chunk for chunk in fresh.chunks if facet in remade or chunk.id in ids.get(facet, ())]

    if (chunks := chosen("vectors")) and fresh.vectors:
        rows = [fresh.vectors[chunk.id] for chunk in chunks if chunk.id in fresh.vectors]
        made = tuple(chunk.id for chunk in chunks if chunk.id in fresh.vectors)
        matrix = np.array([vector for _, vector in rows], dtype=np.float32)
        tokens = tuple(fresh.tokens.get(chunk_id, b"") for chunk_id in made) if fresh.tokens else ()
        store.put_vectors(chunks, Embeddings(made, matrix, rows[0][0], tokens), run_id=run_id)
    if chunks := chosen("terms"):
        wanted = {chunk.id for chunk in chunks}
        store.put_terms(chunks, [each for each in fresh.terms if each.chunk_id in wanted], run_id=run_id)
    if chunks := chosen("facts"):
        wanted = {chunk.id for chunk in chunks}
        store.put_graph(
            chunks,
            [each for each in fresh.entities if each.chunk_id in wanted],
            [each for each in fresh.relations if each.chunk_id in wanted],
            run_id=run_id,
        )
    store.restate([Restatement(stored.document.id, fingerprint=fresh.fingerprint, run_id=run_id)])


def _stored(store: IndexReader, ids: Iterable[str]) -> list[StoredDocument]:
    return store.read_documents(sorted(ids))


def _of_vectors(flaws: Sequence[Flaw], made: Mapping[str, StoredDocument]) -> list[Difference]:
    """Damaged vectors, by document."""
    damaged: dict[str, list[str]] = {}
    for each in flaws:
        if each.kind == "vector":
            damaged.setdefault(each.document_id, []).append(each.chunk_id)
    return [
        Difference(document_id, "vectors", f"of {len(ids)} passages are damaged", tuple(ids))
        for document_id, ids in damaged.items()
        if document_id in made
    ]


def _of_text(stored: StoredDocument, fresh: StoredDocument) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if _described(stored) != _described(fresh):
        found.append(("text", "title, type, content hash, metadata or summary differ"))
    chunks = [{chunk.id: chunk for chunk in each.chunks} for each in (stored, fresh)]
    if chunks[0].keys() != chunks[1].keys():
        gone, more = chunks[1].keys() - chunks[0].keys(), chunks[0].keys() - chunks[1].keys()
        found.append(("text", f"{len(gone)} passages are missing, {len(more)} too many"))
    else:
        differing = [key for key, chunk in chunks[0].items() if chunk != chunks[1][key]]
        if differing:
            found.append(("text", f"texts or offsets of {len(differing)} passages differ"))
    return found


def _described(one: StoredDocument) -> tuple[object, ...]:
    document = one.document
    return document.title, document.mime_type, document.content_sha256, document.metadata, one.summary


def _of_parts(stored: StoredDocument, fresh: StoredDocument) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if set(stored.document.tags) != set(fresh.document.tags):
        found.append(("tags", "differ"))
    if {each.id: each for each in stored.artifacts} != {each.id: each for each in fresh.artifacts}:
        found.append(("artifacts", "differ"))
    return found


def _vectors(stored: StoredDocument, fresh: StoredDocument) -> list[str]:
    return [
        chunk_id
        for chunk_id in sorted(stored.vectors.keys() | fresh.vectors.keys())
        if not _is_near(stored.vectors.get(chunk_id), fresh.vectors.get(chunk_id))
    ]


def _is_near(one: tuple[str, np.ndarray] | None, other: tuple[str, np.ndarray] | None) -> bool:
    if one is None or other is None or one[0] != other[0] or one[1].shape != other[1].shape:
        return False
    if not other[1].any():
        return not one[1].any()
    norms = float(np.linalg.norm(one[1]) * np.linalg.norm(other[1]))
    near = float(one[1] @ other[1]) >= LEAST_COSINE * norms
    return near and abs(float(np.linalg.norm(one[1]) - np.linalg.norm(other[1]))) < 1 - LEAST_COSINE


def _terms(stored: StoredDocument, fresh: StoredDocument) -> list[str]:
    counts = [{each.chunk_id: (sorted(each.counts), each.length) for each in one.terms} for one in (stored, fresh)]
    return _unequal(*counts)


def _facts(stored: StoredDocument, fresh: StoredDocument) -> list[str]:
    found: list[dict[str, object]] = []
    for one in (stored, fresh):
        mentions = Counter((each.chunk_id, each.name, each.kind) for each in one.entities)
        weights: dict[tuple[str, str, str, str], float] = {}
        for each in one.relations:
            key = (each.chunk_id, each.start, each.end, each.kind)
            weights[key] = weights.get(key, 0.0) + each.weight
        of_chunk: dict[str, list[object]] = {chunk_id: [] for chunk_id in one.facts}
        for key, count in sorted(mentions.items()):
            of_chunk.setdefault(key[0], []).append((key, count))
        for key, weight in sorted(weights.items()):
            of_chunk.setdefault(key[0], []).append((key, weight))
        found.append({key: (key in one.facts, facts) for key, facts in of_chunk.items()})
    return _unequal(*found)


def _unequal(one: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    return [key for key in sorted(one.keys() | other.keys()) if one.get(key) != other.get(key)]
