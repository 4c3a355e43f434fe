"""The handlers that a team writes itself for the patterns in this folder; here they only pretend."""

from collections.abc import Sequence
from typing import Any

from flows import Call, handler
from handlers.ingestion.partition import partition_text
from handlers.records import Artifact, Document, Embeddings, SparseVector


@handler(effects="vector_db")
def save_to_vector_db(embeddings: Embeddings) -> int:
    return len(embeddings.chunk_ids)


@handler(effects="document_store")
def save_to_document_store(documents: Sequence[Document], sparse: Sequence[SparseVector]) -> int:
    return len(documents)


@handler(writes=("artifacts", "chunks"), override=True)
def merge_extractions(
    documents: Sequence[Document],
    tables: Sequence[Artifact] = (),
    images: Sequence[Artifact] = (),
    code_blocks: Sequence[Artifact] = (),
    *,
    call: Call,
) -> dict[str, Any]:
    """In place of the shipped handler, since this pattern has no step that makes passages."""
    return {"artifacts": (*tables, *images, *code_blocks), "chunks": partition_text(documents, call=call)}


@handler
def generate_openai_embeddings() -> str:
    return "dense"


@handler
def generate_azure_embeddings() -> str:
    return "dense, from the other one"


@handler
def generate_bm25_embeddings() -> str:
    return "sparse"


@handler(effects="postgres")
def save_to_postgres() -> str:
    return "a row"


@handler(effects="mongodb")
def save_to_mongodb() -> str:
    return "a document"


@handler(effects="s3")
def save_to_s3() -> str:
    return "an object"
