"""Turns chunks into vectors: dense ones for meaning, sparse ones for words."""

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
from handlers.models import Embedder, TokenEmbedder, count_tokens
from handlers.records import Chunk, Document, Embeddings, SourceFile, SparseVector
from handlers.text import compounds, terms
from handlers.token_vectors import pack

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
    token_vectors: bool = True,
    call: Call,
) -> Embeddings:
    """A vector for each chunk without one in the index, from the document's title, its headings and its text.

    Visible vectors of the same model and method are reused, unless `redo` names `vectors`. A document that the model
    refuses is set aside. With `token_vectors`, a model on this machine also gives a vector of each token, which search
    compares with those of the question (see docs/search.md).
    """
    chunks = remaining_chunks(chunks, sources, call)
    titles = titles_of(chunks, documents, call)
    embedder: Embedder = call.services["embedder"]
    passages = by_document(chunks_to_make(chunks, "vectors", redo, call, changed=titles.changed(chunks)))

    def embed(document_ids: Sequence[str]) -> Embeddings:
        some = [chunk for document_id in document_ids for chunk in passages[document_id]]
        texts = [titles.text_of(chunk) for chunk in some]
        try:
            vectors, tokens = _embedded(texts, embedder, call, token_vectors=token_vectors)
            return Embeddings(tuple(chunk.id for chunk in some), vectors, embedder.name, tokens)
        except FatalError as error:
            embedder.embed_documents([_HARMLESS])
            # The model works in general and refuses only these documents.
            raise DocumentRefused(str(error)) from error

    done = together(embed, list(passages), names_of(sources), call, doing="embedding it")
    return Embeddings(
        tuple(chunk_id for each in done for chunk_id in each.chunk_ids),
        _joined([each.vectors for each in done], embedder),
        embedder.name,
        tuple(tokens for each in done for tokens in each.tokens),
    )


def _embedded(
    texts: Sequence[str], embedder: Embedder, call: Call, *, token_vectors: bool
) -> tuple[np.ndarray, tuple[bytes, ...]]:
    """The vectors of texts, and the packed vectors of their tokens if requested and supported by the model."""
    parts: list[np.ndarray] = []
    packed: list[bytes] = []
    done = 0
    for group in chunked(texts, AT_A_TIME):
        call.check_cancelled()
        if token_vectors and isinstance(embedder, TokenEmbedder):
            vectors, tokens = embedder.embed_document_tokens(group)
            packed += map(pack, tokens or ())
        else:
            vectors = embedder.embed_documents(group)
        parts.append(vectors)
        call.report_cost(chunks=len(group), tokens=sum(map(count_tokens, group)))
        done += len(group)
        call.report_progress(done, len(texts))
    return _joined(parts, embedder), tuple(packed)


def _joined(parts: Sequence[np.ndarray], embedder: Embedder) -> np.ndarray:
    if len(parts) == 1:
        return parts[0]
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
    """Term counts for each chunk without them in the index, with title and headings; the input of BM25.

    Words are stemmed in the `language`, or that of the document's tag `language`, or the detected one (`auto`). A
    script that determines the language takes precedence. If `redo` names `terms`, all terms are counted again.
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
        FatalError: `language` is unknown.
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
    # Compounds are counted in addition to their words, and do not count towards a passage's length.
    return SparseVector(chunk.id, tuple(sorted(counts.items())), len(words))
