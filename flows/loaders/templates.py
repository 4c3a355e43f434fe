"""Ready pipelines, as values: copy one, or start from its YAML in `examples/templates/`.

Some steps of the specifications correspond to several of our handlers, or to one under another name:

| step in the specifications | here |
|---|---|
| `generate_embeddings` | `generate_dense_embeddings` |
| `save_records` | `store_documents`, `store_dense_vectors`, `publish_documents` |
| `build_graph` | `store_graph` (before publishing: a document becomes visible whole) |
| `generate_query_embedding` | `embed_query` |
| `graph_traverse` | `graph_traverse` (the neighbourhood), `graph_search` (the passages it leads to) |

The patterns name handlers that a team writes itself (`save_to_postgres`, …): `examples/templates/pattern_handlers.py`.
"""

from types import MappingProxyType
from typing import Final

from flows.loaders.builder import PipelineBuilder
from flows.model import Pipeline

_SOURCES: Final = {
    "sources": {
        "type": "list",
        "required": True,
        "description": "The folder or URL of the files to ingest, or their listing.",
    }
}
_QUERY: Final = {"query": {"required": True, "description": "The question, in plain words."}}

DOCUMENT_INGESTION: Final = (
    PipelineBuilder("document_ingestion", description="Documents in, searchable by meaning.", parameters=_SOURCES)
    .add("extract_text")
    .add("partition_text")
    .add("generate_dense_embeddings")
    .add("store_documents")
    .add("store_dense_vectors")
    .add("publish_documents")
    .build()
)

DOCUMENT_INGESTION_WITH_GRAPH: Final = (
    PipelineBuilder(
        "document_ingestion_with_graph",
        description="Documents in, searchable by meaning and by entity.",
        parameters=_SOURCES,
    )
    .add("extract_text")
    .add("partition_text")
    .add("extract_entities")
    .add("generate_dense_embeddings")
    .add("store_documents")
    .add("store_dense_vectors")
    .add("store_graph")
    .add("publish_documents")
    .build()
)

HYBRID_RAG: Final = (
    PipelineBuilder(
        "hybrid_rag",
        description="The nine steps of hybrid ingestion; a searchable index also stores and publishes the documents.",
        parameters=_SOURCES,
    )
    .add("extract_text")
    .add("partition_text")
    .parallel("generate_dense_embeddings", "generate_sparse_embeddings", "extract_entities", "generate_summary")
    .parallel("store_dense_vectors", "store_sparse_vectors", "store_graph")
    .build()
)

SEMANTIC_SEARCH: Final = (
    PipelineBuilder("semantic_search", description="Search by meaning.", parameters=_QUERY)
    .add("embed_query")
    .add("vector_search", writes={"vector_hits": "results"})
    .add("rerank")
    .build()
)

HYBRID_SEARCH: Final = (
    PipelineBuilder(
        "hybrid_search",
        description="Search by meaning, by entity and by word, and fuse the results.",
        parameters=_QUERY,
    )
    .add("query_rewrite")
    .add("embed_query")
    .parallel("vector_search", "graph_search", "keyword_search")
    .add("hybrid_merge")
    .add("rerank")
    .add("filter_access")
    .build()
)

GRAPH_RAG: Final = (
    PipelineBuilder(
        "graph_rag",
        description="Search by meaning, and around the entities of the question.",
        parameters=_QUERY,
    )
    .add("extract_entities_from_query")
    .parallel(["graph_traverse", "graph_search"], ["embed_query", "vector_search"])
    .add("hybrid_merge", options={"weights": {"graph": 1.0}})
    .add("rerank")
    .build()
)

MULTI_MODEL_EMBEDDING: Final = (
    PipelineBuilder("multi_model_embedding", description="Pattern 1: several models embed the same chunks.")
    .parallel("generate_openai_embeddings", "generate_azure_embeddings", "generate_bm25_embeddings")
    .build()
)

MULTI_SOURCE_RETRIEVAL: Final = (
    PipelineBuilder(
        "multi_source_retrieval", description="Pattern 2: several sources answer the same question.", parameters=_QUERY
    )
    .parallel("vector_search", "graph_search", "keyword_search")
    .build()
)

MULTI_STORAGE_WRITE: Final = (
    PipelineBuilder(
        "multi_storage_write",
        description="Pattern 3: one record in several stores; handlers with `undo` undo their write if one fails.",
    )
    .parallel("save_to_postgres", "save_to_mongodb", "save_to_s3", policy="all_or_nothing")
    .build()
)

MULTI_STAGE: Final = (
    PipelineBuilder(
        "multi_stage",
        description="Pattern 4: several parallel stages, each a barrier for the next.",
        parameters=_SOURCES,
    )
    .add("extract_text")
    .parallel("extract_tables", "extract_images", "extract_code_blocks")
    .add("merge_extractions")
    .parallel("generate_dense_embeddings", "generate_sparse_embeddings")
    .parallel("save_to_vector_db", "save_to_document_store")
    .build()
)

TEMPLATES: Final = MappingProxyType[str, Pipeline](
    {
        template.name: template
        for template in (
            DOCUMENT_INGESTION,
            DOCUMENT_INGESTION_WITH_GRAPH,
            HYBRID_RAG,
            SEMANTIC_SEARCH,
            HYBRID_SEARCH,
            GRAPH_RAG,
            MULTI_MODEL_EMBEDDING,
            MULTI_SOURCE_RETRIEVAL,
            MULTI_STORAGE_WRITE,
            MULTI_STAGE,
        )
    }
)
"""All templates by name."""
