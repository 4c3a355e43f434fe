import pytest

from flows.author import load_modules
from flows.loaders.templates import TEMPLATES
from flows.planning import make_plan

GIVEN = {
    "document_ingestion": ["sources"],
    "document_ingestion_with_graph": ["sources"],
    "hybrid_rag": ["sources"],
    "semantic_search": ["query"],
    "hybrid_search": ["query"],
    "graph_rag": ["query"],
    "multi_source_retrieval": ["query", "query_vector"],
}


@pytest.mark.parametrize("name", GIVEN)
def test_the_handlers_of_a_template_exist_and_give_each_other_what_they_read(name):
    load_modules(["handlers"])
    planned = make_plan(TEMPLATES[name], given=GIVEN[name])
    assert planned.leaves
    assert [str(warning) for warning in planned.warnings] == []
