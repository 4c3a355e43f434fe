"""Planted defects in every store: all are found, none is invented, and all are repaired, with nothing else changed."""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import bindparam, text

from handlers.stores import IndexStore, MemoryIndexStore, PinnedIndex, StoredDocument, prove, repair
from handlers.stores.sql import SqlIndexStore
from handlers.stores.sql.dialects import VectorColumn
from tests.support.index_stores import WORDS, chunks_of, count_terms, document, embed, facts, ingest, make_store
from tests.support.profiles import is_thorough

pytest_plugins = ["tests.support.index_stores"]
DEFECTS = 100
WAY = "documents=1 graph=1 terms=1 vectors=1"


def documents() -> list[Any]:
    return [
        document(
            f"d{number}",
            f"{WORDS[number % 6]} Ada met Byron\n{WORDS[(number + 1) % 6]} shared {WORDS[(number + 2) % 6]}",
            tags=[("team", f"t{number % 3}")],
        )
        for number in range(8)
    ]


def filled(store: IndexStore) -> IndexStore:
    made = documents()
    chunks = [chunk for each in made for chunk in chunks_of(each)]
    versions = store.put_documents(made, chunks, run_id="r1", fingerprint=WAY, summaries={"d0": "A storm"})
    store.put_vectors(chunks, embed(chunks, tokens=True), run_id="r1")
    store.put_terms(chunks, count_terms(chunks), run_id="r1")
    store.put_graph(chunks, *facts(chunks), run_id="r1")
    store.publish(versions, expect=("vectors", "terms", "facts"))
    return store


def in_sql(store: SqlIndexStore, statement: str, **values: Any) -> None:
    with store._begin_write() as connection:  # pyright: ignore[reportPrivateUsage]
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL session_replication_role = replica"))  # without foreign keys
        connection.execute(text(statement), values)


def passage_of(store: SqlIndexStore, chunk_id: str) -> int:
    with store._read() as connection:  # pyright: ignore[reportPrivateUsage]
        return connection.execute(text("SELECT key FROM passages WHERE id = :id"), {"id": chunk_id}).scalar_one()


def flip_vector(store: SqlIndexStore, key: int, bit: int) -> None:
    kind = VectorColumn()
    with store._begin_write() as connection:  # pyright: ignore[reportPrivateUsage]
        query = text("SELECT vector FROM vectors WHERE passage = :key").columns(vector=kind)
        vector = np.array(connection.execute(query, {"key": key}).scalar_one())
        change = text("UPDATE vectors SET vector = :vector WHERE passage = :key")
        connection.execute(
            change.bindparams(bindparam("vector", type_=kind)), {"vector": _flipped(vector, bit), "key": key}
        )


def flip_tokens(store: SqlIndexStore, key: int, chance: random.Random) -> None:
    its_vector = "vector = (SELECT key FROM vectors WHERE passage = :key)"
    with store._begin_write() as connection:  # pyright: ignore[reportPrivateUsage]
        query = text(f"SELECT packed FROM token_vectors WHERE {its_vector}")
        packed = _flipped_bytes(connection.execute(query, {"key": key}).scalar_one(), chance)
        change = text(f"UPDATE token_vectors SET packed = :packed WHERE {its_vector}")
        connection.execute(change, {"packed": packed, "key": key})


def _flipped_bytes(data: bytes, chance: random.Random) -> bytes:
    raw = bytearray(data)
    raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
    return bytes(raw)


def _flipped(vector: np.ndarray, bit: int) -> np.ndarray:
    raw = bytearray(np.ascontiguousarray(vector, dtype="<f4").tobytes())
    place = int(np.flatnonzero(vector)[0]) * 4 if vector.any() else 0
    raw[place + bit // 8] ^= 1 << bit % 8
    return np.frombuffer(bytes(raw), dtype="<f4")


SQL_DEFECTS: Mapping[str, Callable[[SqlIndexStore, str, str, random.Random], None]] = {
    "a flipped bit of a text": lambda store, doc, chunk, _: in_sql(
        store, "UPDATE passages SET text = 'x' || substr(text, 2) WHERE id = :id", id=chunk
    ),
    "an offset": lambda store, doc, chunk, _: in_sql(
        store, "UPDATE chunks SET start = start + 1 WHERE passage = :key", key=passage_of(store, chunk)
    ),
    "a flipped bit of a vector": lambda store, doc, chunk, chance: flip_vector(
        store, passage_of(store, chunk), chance.randrange(22)
    ),
    "a lost vector": lambda store, doc, chunk, _: in_sql(
        store, "DELETE FROM vectors WHERE passage = :key", key=passage_of(store, chunk)
    ),
    "a flipped bit of token vectors": lambda store, doc, chunk, chance: flip_tokens(
        store, passage_of(store, chunk), chance
    ),
    "lost token vectors": lambda store, doc, chunk, _: in_sql(
        store,
        "DELETE FROM token_vectors WHERE vector IN (SELECT key FROM vectors WHERE passage = :key)",
        key=passage_of(store, chunk),
    ),
    "a lost posting": lambda store, doc, chunk, _: in_sql(
        store,
        "DELETE FROM postings WHERE passage = :key AND term = (SELECT max(term) FROM postings WHERE passage = :key)",
        key=passage_of(store, chunk),
    ),
    "a count": lambda store, doc, chunk, _: in_sql(
        store, "UPDATE postings SET count = count + 1 WHERE passage = :key", key=passage_of(store, chunk)
    ),
    "a length": lambda store, doc, chunk, _: in_sql(
        store, "UPDATE passages SET length = length + 1 WHERE id = :id", id=chunk
    ),
    "lost facts": lambda store, doc, chunk, _: in_sql(
        store, "UPDATE passages SET facts = NOT facts WHERE id = :id", id=chunk
    ),
    "a lost tag": lambda store, doc, chunk, _: in_sql(
        store, "DELETE FROM tags WHERE version = (SELECT published FROM documents WHERE id = :id)", id=doc
    ),
    "a lost chunk": lambda store, doc, chunk, _: in_sql(
        store, "DELETE FROM chunks WHERE passage = :key", key=passage_of(store, chunk)
    ),
    "a lost passage": lambda store, doc, chunk, _: in_sql(
        store, "DELETE FROM passages WHERE key = :key", key=passage_of(store, chunk)
    ),
    "a hidden passage": lambda store, doc, chunk, _: in_sql(
        store, "UPDATE passages SET visible = false WHERE id = :id", id=chunk
    ),
    "a stale facet": lambda store, doc, chunk, _: in_sql(
        store,
        "UPDATE versions SET fingerprint = 'terms=old' WHERE key = (SELECT published FROM documents WHERE id = :id)",
        id=doc,
    ),
    "a lost title": lambda store, doc, chunk, _: in_sql(
        store, "UPDATE versions SET title = '' WHERE key = (SELECT published FROM documents WHERE id = :id)", id=doc
    ),
    "orphaned postings": lambda store, doc, chunk, chance: in_sql(
        store, "INSERT INTO postings VALUES ('lost', :key, 1)", key=chance.randrange(10**6, 10**9)
    ),
}


def _flip_in_memory(store: MemoryIndexStore, doc: str, chunk: str, chance: random.Random) -> None:
    passage = store._passages[chunk]  # pyright: ignore[reportPrivateUsage]
    passage.vectors = {model: _flipped(row, chance.randrange(22)) for model, row in passage.vectors.items()}


def _flip_tokens_in_memory(store: MemoryIndexStore, doc: str, chunk: str, chance: random.Random) -> None:
    passage = store._passages[chunk]  # pyright: ignore[reportPrivateUsage]
    passage.tokens = {model: _flipped_bytes(packed, chance) for model, packed in passage.tokens.items()}


def _change_chunk(store: MemoryIndexStore, doc: str, chunk: str, chance: random.Random) -> None:
    version = store._published[doc][1]  # pyright: ignore[reportPrivateUsage]
    version.chunks[chunk] = replace(version.chunks[chunk], text="x" + version.chunks[chunk].text[1:])


def _orphan_in_memory(store: MemoryIndexStore, doc: str, chunk: str, chance: random.Random) -> None:
    lost = replace(store._passages[chunk], document_id="nobody")  # pyright: ignore[reportPrivateUsage]
    store._passages[f"lost{chance.random()}"] = lost  # pyright: ignore[reportPrivateUsage]


MEMORY_DEFECTS: Mapping[str, Callable[[MemoryIndexStore, str, str, random.Random], None]] = {
    "a flipped bit of a vector": _flip_in_memory,
    "a flipped bit of token vectors": _flip_tokens_in_memory,
    "lost token vectors": lambda store, doc, chunk, _: store._passages[chunk].tokens.clear(),  # pyright: ignore[reportPrivateUsage]
    "a flipped bit of a text": _change_chunk,
    "orphaned vectors": _orphan_in_memory,
    "a lost vector": lambda store, doc, chunk, _: store._passages[chunk].vectors.clear(),  # pyright: ignore[reportPrivateUsage]
    "lost terms": lambda store, doc, chunk, _: setattr(store._passages[chunk], "terms", None),  # pyright: ignore[reportPrivateUsage]
    "lost facts": lambda store, doc, chunk, _: setattr(store._passages[chunk], "facts", False),  # pyright: ignore[reportPrivateUsage]
    "a lost chunk": lambda store, doc, chunk, _: _pop(store._published[doc][1].chunks, chunk),  # pyright: ignore[reportPrivateUsage]
    "another summary": lambda store, doc, chunk, _: setattr(store._published[doc][1], "summary", "x"),  # pyright: ignore[reportPrivateUsage]
    "a stale facet": lambda store, doc, chunk, _: setattr(store._published[doc][1], "fingerprint", "terms=old"),  # pyright: ignore[reportPrivateUsage]
}


def _pop(mapping: dict[str, Any], key: str) -> None:
    mapping.pop(key)


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres"])
def test_all_planted_defects_are_found_and_repaired(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    with make_store(kind, request, tmp_path) as store, make_store("memory", request, tmp_path) as other:
        filled(store)
        fresh = filled(other).read_documents([each.id for each in documents()])
        before = store.fingerprint()
        assert prove(store, fresh).holds
        chance = random.Random(kind)
        table: Mapping[str, Any] = MEMORY_DEFECTS if kind == "memory" else SQL_DEFECTS
        kinds, planted = list(table), 0
        while planted < (DEFECTS if kind == "memory" or is_thorough() else len(kinds)):
            spoilt: dict[str, str] = {}
            for each in chance.sample(documents(), len(documents())):  # one defect in each document
                spoilt[each.id] = kinds[planted % len(kinds)]
                table[spoilt[each.id]](store, each.id, chance.choice(store.chunks_of(each.id)).id, chance)
                planted += 1
            proof = prove(store, fresh)
            orphans = sum(name.startswith("orphaned") for name in spoilt.values())
            found = {each.document_id for each in proof.differences} | {each.document_id for each in proof.flaws} - {""}
            assert found == {each for each, name in spoilt.items() if not name.startswith("orphaned")}
            assert sum(each.kind == "orphan" for each in proof.flaws) >= orphans
            repair(store, proof, fresh, run_id=f"repair{planted}")
            again = prove(store, fresh)
            assert again.holds, (spoilt, again)
            assert store.fingerprint() == before
        assert store.sweep(older_than_s=0).versions == 0


def test_vectors_of_another_machine_are_not_taken_for_damage(store: IndexStore) -> None:
    filled(store)
    with_noise: list[StoredDocument] = []
    for each in store.read_documents([one.id for one in documents()]):
        vectors = {key: (model, row * np.float32(1 - 2e-7)) for key, (model, row) in each.vectors.items()}
        with_noise.append(replace(each, vectors=vectors))
    assert prove(store, with_noise).holds


def test_documents_of_both_versions_are_proven_by_themselves(store: IndexStore) -> None:
    filled(store)
    beside: Any = PinnedIndex(store, store.begin_version("words"))
    changed = document("d0", "violin\norchard")
    ingest(beside, changed, run="r2")
    assert prove(store, store.read_documents(["d0"])).holds
    assert prove(beside, beside.read_documents(["d0"])).holds
    assert not prove(store, beside.read_documents(["d0"])).holds
