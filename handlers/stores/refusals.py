"""The checks of writes that every kind of index makes, with their messages."""

from collections.abc import Collection, Sequence

import numpy as np

from flows.errors import FatalError
from handlers.aside import DocumentOvertaken
from handlers.records import Embeddings
from handlers.stores.rows import Facet, Rename


def version_is_missing(document_id: str, name: str) -> DocumentOvertaken:
    return DocumentOvertaken(
        f"document {document_id!r}: version {name!r} is not stored; another run may have replaced it: ingest it again"
    )


def facet_is_missing(document_id: str, count: int, facet: Facet) -> DocumentOvertaken:
    return DocumentOvertaken(
        f"document {document_id!r}: {count} of its chunks have no {facet} stored; another run may have replaced them: "
        "ingest it again"
    )


def facet_was_remade(document_id: str, count: int, facet: Facet) -> DocumentOvertaken:
    return DocumentOvertaken(
        f"document {document_id!r}: another run has meanwhile replaced the {facet} of {count} of its chunks: "
        "ingest it again"
    )


def name_is_taken(rename: Rename) -> FatalError:
    return FatalError(
        f"document {rename.document_id!r} cannot be moved to {rename.document.name!r}: a document is searchable there "
        "already; remove that first, or ingest both"
    )


def check_new_ids(rename: Rename, chunk_ids: Collection[str]) -> None:
    """Every chunk of a document that moves needs a new id.

    Raises:
        ValueError: one has none.
    """
    missing = sorted(set(chunk_ids) - rename.chunk_ids.keys())
    if missing:
        raise ValueError(f"document {rename.document_id!r}: chunk {missing[0]!r} has no new id")


def check_tokens(embeddings: Embeddings) -> None:
    """Token vectors must be those of each chunk, or none at all.

    Raises:
        ValueError: they are not.
    """
    if embeddings.tokens and len(embeddings.tokens) != len(embeddings.chunk_ids):
        raise ValueError(f"{len(embeddings.tokens)} token vectors for {len(embeddings.chunk_ids)} chunks")


def check_chunk_ids(given: Collection[str], written: Sequence[str]) -> None:
    """Each written row must be of a chunk that was given with it, and the only one of that chunk.

    Raises:
        ValueError: it is not.
    """
    unknown = set(written) - set(given)
    if unknown:
        raise ValueError(f"chunk {min(unknown)!r} is not among the chunks that were given")
    if len(set(written)) != len(written):
        raise ValueError("a chunk is given more than once")


def check_shape(vectors: np.ndarray, count: int) -> None:
    """There must be one vector per chunk.

    Raises:
        ValueError: there is not.
    """
    if vectors.ndim != 2 or len(vectors) != count:
        raise ValueError(f"{count} chunks need as many vectors, not an array of shape {vectors.shape}")


def index_version_is_missing(name: str, names: Sequence[str]) -> FatalError:
    return FatalError(f"the index has no version {name!r}; it has {', '.join(map(repr, names))}")


def index_version_is_active(name: str) -> FatalError:
    return FatalError(f"version {name!r} is in use for questions: switch to another version first")


def index_version_is_being_built(name: str) -> FatalError:
    return FatalError(
        f"version {name!r} is being built already, and an index has two versions at most: "
        f"go on with it, or remove it (`braid index remove-version`)"
    )


def index_version_is_of_another_model(name: str, model: str, wanted: str) -> FatalError:
    return FatalError(
        f"version {name!r} is being built with the model {model!r}, not {wanted!r}: go on with that model, or remove "
        "the version (`braid index remove-version`)"
    )
