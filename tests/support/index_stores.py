"""Indexes of every kind for tests, and small documents whose vectors, terms and facts follow from their text."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from handlers.records import Artifact, Chunk, Document, Embeddings, Entity, Relation, SparseVector, stable_id
from handlers.stores import IndexStore, IndexWriter
from handlers.token_vectors import pack

WORDS = ("storm", "river", "bridge", "train", "violin", "orchard")


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[IndexStore]:
    """An empty index of every kind."""
    with make_store(request.param, request, tmp_path) as made:
        yield made


@contextmanager
def make_store(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[IndexStore]:
    """An empty index of a kind; the PostgreSQL ones share a database."""
    from handlers.stores import open_index

    match kind:
        case "memory":
            url = f"memory://{uuid.uuid4().hex}"
        case "sqlite":
            url = str(tmp_path / f"{uuid.uuid4().hex}.db")
        case _:
            url = index_url(request.getfixturevalue("postgres_server"), uuid.uuid4().hex)
    made = open_index(url)
    yield made
    made.close()


def index_url(server: str, name: str) -> str:
    """The URL of an index in the database of a server."""
    return f"{server}{'&' if '?' in server else '?'}index={name}"


def document(name: str, text: str, *, tags: Sequence[tuple[str, str]] = ()) -> Document:
    return Document(
        id=name,
        name=f"{name}.txt",
        uri=f"file:///{name}.txt",
        title=name.title(),
        mime_type="text/plain",
        text=text,
        content_sha256=stable_id(text) * 2,
        tags=tuple(tags),
    )


def chunks_of(made: Document) -> list[Chunk]:
    """One chunk per line, whose id depends only on its document and text."""
    found, start = [], 0
    for position, line in enumerate(made.text.split("\n") if made.text else []):
        chunk_id = stable_id(made.id, line)
        found.append(Chunk(chunk_id, made.id, position, line, start, start + len(line), heading="H", page=1, tokens=3))
        start += len(line) + 1
    return found


def vector(text: str) -> np.ndarray:
    counted = np.array([text.split().count(word) for word in WORDS], dtype=np.float32)
    return counted / max(float(np.linalg.norm(counted)), 1.0)


def token_vectors(text: str) -> np.ndarray:
    return np.array([vector(word) for word in text.split() if word in WORDS], np.float32).reshape(-1, len(WORDS))


def embed(chunks: Sequence[Chunk], model: str = "words", *, tokens: bool = False) -> Embeddings:
    rows = np.array([vector(chunk.text) for chunk in chunks], dtype=np.float32).reshape(len(chunks), len(WORDS))
    packed = tuple(pack(token_vectors(chunk.text)) for chunk in chunks) if tokens else ()
    return Embeddings(tuple(chunk.id for chunk in chunks), rows, model, packed)


def count_terms(chunks: Sequence[Chunk]) -> list[SparseVector]:
    return [
        SparseVector(
            chunk.id,
            tuple((word, chunk.text.split().count(word)) for word in sorted(set(chunk.text.split()))),
            len(chunk.text.split()),
        )
        for chunk in chunks
    ]


def facts(chunks: Sequence[Chunk]) -> tuple[list[Entity], list[Relation]]:
    """Capitalised words are entities; neighbours among them are related."""
    entities, relations = [], []
    for chunk in chunks:
        names = [word for word in chunk.text.split() if word[0].isupper()]
        entities += [Entity(name, "NAME", chunk.document_id, chunk.id) for name in names]
        relations += [Relation(a, b, "near", chunk.document_id, chunk.id) for a, b in pairwise(names)]
    return entities, relations


def stage(store: IndexWriter, documents: Sequence[Document], *, run: str = "r1", artifacts: Sequence[Artifact] = ()):
    chunks = [chunk for made in documents for chunk in chunks_of(made)]
    versions = store.put_documents(
        documents, chunks, run_id=run, artifacts=artifacts, summaries={d.id: d.text[:5] for d in documents if d.text}
    )
    store.put_vectors(chunks, embed(chunks), run_id=run)
    store.put_terms(chunks, count_terms(chunks), run_id=run)
    store.put_graph(chunks, *facts(chunks), run_id=run)
    return versions


def ingest(store: IndexWriter, *documents: Document, run: str = "r1") -> None:
    store.publish(stage(store, documents, run=run), expect=("vectors", "terms"))
