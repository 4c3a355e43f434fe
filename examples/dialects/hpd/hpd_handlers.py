"""Handlers that the HPD pipelines in this folder name and Braid does not have, as their authors would write them."""

from collections.abc import Sequence
from typing import Any

from flows import Call, Context, handler
from handlers.extraction import extract_text
from handlers.ingestion.embeddings import generate_dense_embeddings, generate_sparse_embeddings
from handlers.ingestion.partition import partition_text
from handlers.ingestion.storing import store_dense_vectors, store_documents
from handlers.records import Artifact, Chunk, Document, Embeddings, SourceFile, SparseVector

# Other names for shipped handlers.


@handler(writes=("documents", "unreadable"))
def extract(sources: Sequence[SourceFile], *, call: Call) -> Any:
    return extract_text(sources, call=call)


@handler(writes="chunks")
def partition(documents: Sequence[Document], *, call: Call) -> tuple[Chunk, ...]:
    return partition_text(documents, call=call)


@handler(writes="embeddings")
def embed(chunks: Sequence[Chunk], *, call: Call) -> Embeddings:
    return generate_dense_embeddings(chunks, call=call)


@handler(writes="embeddings")
def embed_dense(chunks: Sequence[Chunk], *, call: Call) -> Embeddings:
    return generate_dense_embeddings(chunks, call=call)


@handler(writes="sparse")
def embed_sparse(chunks: Sequence[Chunk], *, call: Call) -> tuple[SparseVector, ...]:
    return generate_sparse_embeddings(chunks, call=call)


@handler(writes="embeddings")
def generate_embeddings(chunks: Sequence[Chunk], *, call: Call) -> Embeddings:
    return generate_dense_embeddings(chunks, call=call)


@handler(writes="stored_vectors", effects="index.vectors")
def store_vector(documents: Sequence[Document], chunks: Sequence[Chunk], embeddings: Embeddings, *, call: Call) -> int:
    store_documents(documents, chunks, call=call)
    return store_dense_vectors(chunks, embeddings, call=call)


# A handler of the shipped name that does something else: here, passages are made with the extracted parts.


@handler(writes=("artifacts", "chunks"), override=True)
def merge_extractions(
    documents: Sequence[Document],
    tables: Sequence[Artifact] = (),
    images: Sequence[Artifact] = (),
    code_blocks: Sequence[Artifact] = (),
    *,
    call: Call,
) -> dict[str, Any]:
    return {"artifacts": (*tables, *images, *code_blocks), "chunks": partition_text(documents, call=call)}


# Handlers that take the whole context, as in HPD.


@handler
def save_records(context: Context) -> None:
    if context.already_processed_by("save_records"):
        return
    context.data["saved"] = sorted(name for name in context.data if name.endswith(("embeddings", "_embed")))
    context.log("save_records", "saved")
    context.mark_processed_by("save_records")


@handler
def merge_results(context: Context) -> None:
    found = [*context.data.get("vector_hits", ()), *context.data.get("graph_hits", ())]
    context.data["results"] = list({hit.id: hit for hit in found}.values())


@handler(writes="stored_in_vector_db", effects="vector_db")
def save_to_vector_db(embeddings: Embeddings) -> int:
    return len(embeddings.chunk_ids)


@handler(writes="stored_in_document_store", effects="document_store")
def save_to_document_store(documents: Sequence[Document], sparse: Sequence[SparseVector]) -> int:
    return len(documents)


# Made-up services: each answers for itself, so that the branches have something to merge.


@handler
def vector_embed(documents: Sequence[Document]) -> list[int]:
    return [len(document.text) for document in documents]


@handler
def sparse_embed(documents: Sequence[Document]) -> list[int]:
    return [len(set(document.text.split())) for document in documents]


@handler
def multimodal_embed(documents: Sequence[Document]) -> list[str]:
    return [document.name for document in documents]


def _answering(name: str) -> None:
    def answer() -> str:
        return f"{name} was here"

    answer.__name__ = answer.__qualname__ = name
    handler(name=name, writes=name, effects=name)(answer)


for _name in (
    *("generate_openai_embeddings", "generate_azure_embeddings", "generate_bm25_embeddings"),
    *("openai_embedding_batch1", "openai_embedding_batch2", "openai_embedding_batch3", "openai_embedding_batch4"),
    *("call_openai_api", "call_azure_api", "call_anthropic_api", "call_cohere_api"),
    *("write_index", "write_archive", "add_summary", "add_keywords"),
    *("ask_first_model", "ask_second_model", "ask_third_model"),
    *("save_to_postgres", "save_to_mongodb", "save_to_s3"),
):
    _answering(_name)
