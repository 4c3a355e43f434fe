import pytest

from flows.loaders import PipelineBuilder, load_pipeline
from flows.loaders.templates import HYBRID_RAG, MULTI_STORAGE_WRITE, TEMPLATES
from flows.model import Handler, Parallel, Parameter, Pipeline, Policy, Sequential, handler_names
from tests.support.paths import EXAMPLES

FILES = EXAMPLES / "templates"


def step(spelling: str | Handler) -> Handler | Parallel:
    """`a` is a step, `a | b c` are branches, of which the second has two steps; a step with options is itself."""
    if isinstance(spelling, Handler):
        return spelling
    branches = [[Handler(handler=name) for name in branch.split()] for branch in spelling.split("|")]
    if len(branches) == 1:
        return branches[0][0]
    return Parallel(branches=tuple(b[0] if len(b) == 1 else Sequential(steps=tuple(b)) for b in branches))


SPELT_OUT = {
    "document_ingestion": [
        "extract_text",
        "partition_text",
        "generate_dense_embeddings",
        "store_documents",
        "store_dense_vectors",
        "publish_documents",
    ],
    "document_ingestion_with_graph": [
        "extract_text",
        "partition_text",
        "extract_entities",
        "generate_dense_embeddings",
        "store_documents",
        "store_dense_vectors",
        "store_graph",
        "publish_documents",
    ],
    "hybrid_rag": [
        "extract_text",
        "partition_text",
        "generate_dense_embeddings | generate_sparse_embeddings | extract_entities | generate_summary",
        "store_dense_vectors | store_sparse_vectors | store_graph",
    ],
    "hybrid_search": [
        "query_rewrite",
        "embed_query",
        "vector_search | graph_search | keyword_search",
        "hybrid_merge",
        "rerank",
        "filter_access",
    ],
    "graph_rag": [
        "extract_entities_from_query",
        "graph_traverse graph_search | embed_query vector_search",
        Handler(handler="hybrid_merge", options={"weights": {"graph": 1.0}}),
        "rerank",
    ],
    "multi_model_embedding": ["generate_openai_embeddings | generate_azure_embeddings | generate_bm25_embeddings"],
    "multi_source_retrieval": ["vector_search | graph_search | keyword_search"],
    "multi_storage_write": ["save_to_postgres | save_to_mongodb | save_to_s3"],
    "multi_stage": [
        "extract_text",
        "extract_tables | extract_images | extract_code_blocks",
        "merge_extractions",
        "generate_dense_embeddings | generate_sparse_embeddings",
        "save_to_vector_db | save_to_document_store",
    ],
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_value_and_yaml_are_one_pipeline(name):
    assert load_pipeline(FILES / f"{name}.yaml").pipeline == TEMPLATES[name]


def test_every_template_has_its_yaml_and_no_yaml_is_left_over():
    assert {file.stem for file in FILES.glob("*.yaml")} == set(TEMPLATES)


@pytest.mark.parametrize("name", SPELT_OUT)
def test_templates_are_the_steps_that_the_sources_name(name):
    assert TEMPLATES[name].steps == tuple(step(spelling) for spelling in SPELT_OUT[name])


def test_semantic_search_hands_what_it_finds_to_rerank():
    spelt = Pipeline(
        name="semantic_search",
        description=TEMPLATES["semantic_search"].description,
        parameters={"query": Parameter(required=True, description="The question, in plain words.")},
        steps=(
            Handler(handler="embed_query"),
            Handler(handler="vector_search", writes={"vector_hits": "results"}),
            Handler(handler="rerank"),
        ),
    )
    assert TEMPLATES["semantic_search"] == spelt


def test_hybrid_rag_has_the_nine_steps_of_its_source_and_any_builder_makes_it():
    assert len(handler_names(HYBRID_RAG.steps)) == 9
    sources = {
        "type": "list",
        "required": True,
        "description": "The folder or URL of the files to ingest, or their listing.",
    }
    built = (
        PipelineBuilder("hybrid_rag", description=HYBRID_RAG.description, parameters={"sources": sources})
        .add("extract_text")
        .add("partition_text")
        .parallel(
            lambda group: (
                group.add("generate_dense_embeddings")
                .add("generate_sparse_embeddings")
                .add("extract_entities")
                .add("generate_summary")
            )
        )
        .add({"parallel": ["store_dense_vectors", "store_sparse_vectors", "store_graph"]})
    )
    assert built.build() == HYBRID_RAG


def test_a_write_to_several_stores_is_all_or_nothing():
    (group,) = MULTI_STORAGE_WRITE.steps
    assert isinstance(group, Parallel)
    assert group.policy == Policy()
    assert group.policy.name == "all_or_nothing"
