"""Chunks to vectors: dense ones that carry meaning, sparse ones that carry words."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from flows.author import Call, handler
from flows.errors import FatalError
from flows.state import chunked
from handlers.aside import DocumentRefused, by_document, names_of, one_by_one, remaining_chunks, together
from handlers.ingestion.facets import chunks_to_make
from handlers.ingestion.titles import Titles, titles_of
from handlers.languages import ENGLISH, check_language, detect, language_called, language_mark
from handlers.models import Embedder, count_tokens
from handlers.records import Chunk, Document, Embeddings, SourceFile, SparseVector
from handlers.text import compounds, terms

AT_A_TIME = 16
_HARMLESS = "One plain sentence."
_LANGUAGE_TAG = "language"


@handler(writes="embeddings", version="2")
def generate_dense_embeddings(
    chunks: Sequence[Chunk],
    redo: Sequence[str] = (),
    sources: Sequence[SourceFile] = (),
    documents: Sequence[Document] = (),
    *,
    call: Call,
) -> Embeddings:
    """A vector for each chunk that the index has none of, made of the document's title, its headings and its text.

    Visible vectors that the same model made in the same way are not computed again, unless `redo` names `vectors`. A
    document that the model refuses is set aside.
    """
    chunks = remaining_chunks(chunks, sources, call)
    titles = titles_of(chunks, documents, call)
    embedder: Embedder = call.services["embedder"]
    passages = by_document(chunks_to_make(chunks, "vectors", redo, call, changed=titles.changed(chunks)))

    def embed(document_ids: Sequence[str]) -> tuple[list[str], np.ndarray]:
        some = [chunk for document_id in document_ids for chunk in passages[document_id]]
        try:
            return [chunk.id for chunk in some], _embedded([titles.text_of(chunk) for chunk in some], embedder, call)
        except FatalError as error:
            embedder.embed_documents([_HARMLESS])
            # The model works: it is these documents that it refuses.
            raise DocumentRefused(str(error)) from error

    done = together(embed, list(passages), names_of(sources), call, doing="embedding it")
    chunk_ids = tuple(chunk_id for some, _ in done for chunk_id in some)
    return Embeddings(chunk_ids, _joined([vectors for _, vectors in done], embedder), embedder.name)


def _embedded(texts: Sequence[str], embedder: Embedder, call: Call) -> np.ndarray:
    parts: list[np.ndarray] = []
    done = 0
    for group in chunked(texts, AT_A_TIME):
        call.check_cancelled()
        parts.append(embedder.embed_documents(group))
        call.report_cost(chunks=len(group), tokens=sum(map(count_tokens, group)))
        done += len(group)
        call.report_progress(done, len(texts))
    return _joined(parts, embedder)


def _joined(parts: Sequence[np.ndarray], embedder: Embedder) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros((0, embedder.dim), dtype=np.float32)


@handler(writes="sparse", version="3")
def generate_sparse_embeddings(
    chunks: Sequence[Chunk],
    redo: Sequence[str] = (),
    sources: Sequence[SourceFile] = (),
    documents: Sequence[Document] = (),
    *,
    language: str = "auto",
    call: Call,
) -> tuple[SparseVector, ...]:
    """Term counts for each chunk that the index has none of, with title and headings; BM25 is computed from them later.

    Words are stemmed in the `language`, or in that of the document's tag `language`, or as its words show (`auto`);
    words in scripts that decide it, by their script. If `redo` names `terms`, all of them are counted again.
    """
    chunks = remaining_chunks(chunks, sources, call)
    titles = titles_of(chunks, documents, call)
    languages = _languages(by_document(chunks), sources, language)
    passages = by_document(chunks_to_make(chunks, "terms", redo, call, changed=titles.changed(chunks)))

    def count(document_id: str) -> list[SparseVector]:
        return [_terms_of(chunk, titles, languages[document_id]) for chunk in passages[document_id]]

    done = one_by_one(count, list(passages), names_of(sources), call, doing="counting its terms")
    return tuple(vector for vectors in done for vector in vectors)


def _languages(passages: Mapping[str, Sequence[Chunk]], sources: Sequence[SourceFile], language: str) -> dict[str, str]:
    """The language of each document by id.

    Raises:
        FatalError: `language` is none that is known.
    """
    if language != "auto":
        return dict.fromkeys(passages, check_language(language))
    tagged = {each.document_id: dict(each.tags).get(_LANGUAGE_TAG, "") for each in sources}
    found: dict[str, str] = {}
    for document_id, chunks in passages.items():
        given = language_called(tagged.get(document_id, ""))
        found[document_id] = given or detect("\n".join(chunk.text for chunk in chunks))
    return found


def _terms_of(chunk: Chunk, titles: Titles, language: str) -> SparseVector:
    text = titles.text_of(chunk)
    words = terms(text, language)
    counts = Counter(words) | Counter(compounds(text))
    if language != ENGLISH:
        counts[language_mark(language)] = 1
    # Names are counted beside the words in them, and make no passage longer.
    return SparseVector(chunk.id, tuple(sorted(counts.items())), len(words))
