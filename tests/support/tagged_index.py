"""An index of tagged documents, made without a pipeline: every document has words, names and files of its own."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deployments.settings import Settings
from handlers.models import make_embedder
from handlers.records import Artifact, Chunk, Document, Embeddings, Entity, Relation, SparseVector, stable_id
from handlers.stores import FailedDocument, open_index
from handlers.text import terms

COMMON = "The pump is cleaned every week with warm water."


@dataclass(frozen=True)
class Tagged:
    """A document with the tags given; the word `secret` occurs in everything derived from it."""

    number: int
    tags: Mapping[str, Sequence[str]]
    failed_again: bool = False
    """Whether its last ingestion failed, after one that succeeded."""

    @property
    def secret(self) -> str:
        return f"zq{self.number}x{hashlib.sha256(str(self.number).encode()).hexdigest()[:6]}q"

    @property
    def name(self) -> str:
        return f"{self.secret}/manual.txt"

    @property
    def id(self) -> str:
        return stable_id("doc", self.name)

    @property
    def text(self) -> str:
        return f"{COMMON} The {self.secret} knows why. Call the Ghent Works ({self.secret})."

    def pairs(self) -> tuple[tuple[str, str], ...]:
        return tuple(sorted((name, value) for name, values in self.tags.items() for value in values))


def make_index(settings: Settings, index: str, documents: Sequence[Tagged], folder: Path) -> None:
    """An index with these documents, whose originals are files in `folder`."""
    store, embedder = open_index(settings.index_location(index)), make_embedder("hashing")
    made: list[Document] = []
    chunks: list[Chunk] = []
    for each in documents:
        file = folder / each.name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(each.text)
        digest = hashlib.sha256(each.text.encode()).hexdigest()
        made.append(
            Document(each.id, each.name, file.as_uri(), each.secret, "text/plain", each.text, digest, tags=each.pairs())
        )
        ends = len(COMMON)
        for position, (start, end) in enumerate([(0, ends), (ends + 1, len(each.text))]):
            part = each.text[start:end]
            chunks.append(Chunk(stable_id(each.id, part), each.id, position, part, start, end, heading=each.secret))
    by_document = {each.id: each for each in documents}
    try:
        versions = store.put_documents(
            made,
            chunks,
            run_id="r1",
            summaries={each.id: f"About {each.secret}." for each in documents},
            artifacts=[
                Artifact(stable_id(each.id, "t"), each.id, "table", f"| {each.secret} |\n|---|") for each in documents
            ],
        )
        vectors = embedder.embed_documents([each.text for each in chunks]) if chunks else np.zeros((0, 8), np.float32)
        store.put_vectors(chunks, Embeddings(tuple(each.id for each in chunks), vectors, embedder.name), run_id="r1")
        counts = {each.id: Counter(terms(each.text)) for each in chunks}
        sparse = [SparseVector(id_, tuple(sorted(found.items())), found.total()) for id_, found in counts.items()]
        store.put_terms(chunks, sparse, run_id="r1")
        entities, relations = [], []
        for chunk in chunks:
            secret = by_document[chunk.document_id].secret
            entities += [Entity(name, "ORG", chunk.document_id, chunk.id) for name in ("Ghent Works", secret.upper())]
            relations.append(Relation("Ghent Works", secret.upper(), "stands_for", chunk.document_id, chunk.id))
        store.put_graph(chunks, entities, relations, run_id="r1")
        store.publish(versions)
        again = [
            FailedDocument(each.id, each.name, "", f"{each.secret} is damaged")
            for each in documents
            if each.failed_again
        ]
        never = [FailedDocument(stable_id("doc", "zqnever.pdf"), "zqnever.pdf", "", "zqnever is damaged")]
        store.put_failures([*again, *never], run_id="r2")
    finally:
        store.close()
