"""No retriever on any store returns a document that the filter excludes; `top_k` is filled with permitted ones."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import make_url

from flows.author import Call
from flows.state import Identity, Services
from handlers.ingestion.embeddings import generate_dense_embeddings, generate_sparse_embeddings
from handlers.ingestion.entities import extract_entities
from handlers.ingestion.storing import (
    publish_documents,
    store_dense_vectors,
    store_documents,
    store_graph,
    store_sparse_vectors,
)
from handlers.models import Completion
from handlers.models.chat import Message
from handlers.records import Chunk, Document, Hit, stable_id
from handlers.retrieval.expansion import hyde_search, multi_query_search
from handlers.retrieval.graph import graph_context, graph_search, graph_traverse
from handlers.retrieval.merging import filter_access, hybrid_merge
from handlers.retrieval.rewriting import extract_entities_from_query, query_rewrite
from handlers.retrieval.searching import embed_query, keyword_search, vector_search
from handlers.retrieval.understanding import read_question, suggest_wording
from handlers.stores import open_index
from handlers.text import terms
from tests.support.embedders import HashedWords
from tests.support.profiles import scaled

NAMES = ("Ada Lovelace", "Charles Babbage", "Ghent Pump Works (GPW)", "Great Polar Way (GPW)", "Villa Ocampo", "IAEA")
VALUES = ("sea", "law", "kitchen")
TAGS = {
    number: [
        ("team", VALUES[number % 3]),
        *([("level", "open")] if number % 2 else []),
        *([("team", "law")] if number % 5 == 0 else []),
    ]
    for number in range(24)
}


def text_of(number: int) -> str:
    first, second = NAMES[number % len(NAMES)], NAMES[(number * 5 + 1 + number // 6) % len(NAMES)]
    return f"In report {number} it says that {first} met {second} about the valve of tank {number % 4}."


@dataclass
class Parrot:
    """A language model that repeats the question and the text of a restricted document."""

    name: str = "parrot"

    def complete(self, messages: Sequence[Message], **_: Any) -> Completion:
        return Completion(f"{text_of(7)}\n{messages[-1]['content'].splitlines()[-1]}", 1, 1, model=self.name)


@pytest.fixture(scope="module", params=["memory", "sqlite", "postgres"])
def call(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Call]:
    folder: Path = tmp_path_factory.mktemp("access")
    match request.param:
        case "memory":
            url = "memory://access"
        case "sqlite":
            url = f"sqlite:///{folder}/index.db"
        case _:
            server = make_url(request.getfixturevalue("postgres_server"))
            url = server.update_query_dict({"index": uuid.uuid4().hex}).render_as_string(hide_password=False)
    store = open_index(url)
    services = Services({"index_store": lambda: store, "embedder": HashedWords, "chat": Parrot})
    made = Call(identity=Identity(run_id="r", index="access", services=services))
    documents = [
        Document(
            f"d{number}",
            f"d{number}.txt",
            "",
            "",
            "text/plain",
            text_of(number),
            stable_id(text_of(number)),
            tags=tuple(tags),
        )
        for number, tags in TAGS.items()
    ]
    chunks = [Chunk(stable_id(each.id), each.id, 0, each.text, 0, len(each.text)) for each in documents]
    facts = extract_entities(chunks, call=made)
    publish_documents(
        store_documents(documents, chunks, call=made),
        store_dense_vectors(chunks, generate_dense_embeddings(chunks, call=made), call=made),
        store_sparse_vectors(chunks, generate_sparse_embeddings(chunks, call=made), call=made),
        store_graph(chunks, facts["entities"], facts["relations"], call=made),  # pyright: ignore[reportArgumentType]
        call=made,
    )
    yield made
    services.close()


Wanted = Mapping[str, Sequence[str]]
values = st.lists(st.sampled_from([*VALUES, "open", "nobody"]), max_size=3)
filters = st.dictionaries(st.sampled_from(["team", "level", "user"]), values, max_size=2)
PARTS = [
    *NAMES,
    "GPW",
    "valve",
    "tank 3",
    "report 7",
    "who met",
    '"report 7"',
    "-Ada",
    "Lovelaec",
    "ocamp*",
    "team:law",
]
questions = st.lists(st.sampled_from(PARTS), max_size=4).map(" ".join)


def allowed(number: int, *wanted: Wanted) -> bool:
    """The meaning of filters, written a second time: AND over keys, OR over values."""
    return all(
        any((key, value) in TAGS[number] for value in each) for mapping in wanted for key, each in mapping.items()
    )


def searched(query: str, access: Wanted, narrowed: Wanted, top_k: int, call: Call) -> dict[str, list[Hit]]:
    where = (access, narrowed)
    queries = query_rewrite(query, *where, call=call)
    names = extract_entities_from_query(query, queries, *where, call=call)
    found = {
        "vector": vector_search(query or "x", embed_query(query or "x", call=call), *where, top_k=top_k, call=call),
        "keyword": keyword_search(query, queries, *where, top_k=top_k, call=call),
        "graph": graph_search(query, names, *where, top_k=top_k, call=call),
        "multi_query": multi_query_search(query, *where, top_k=top_k, call=call),
        "hyde": hyde_search(query, *where, top_k=top_k, call=call),
    }
    lists = list(found.values())
    for method in ("weighted", "rrf"):
        found[method] = hybrid_merge(query, None, queries, None, *lists, *where, method=method, call=call)["results"]
    return found


@settings(max_examples=scaled(15), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(query=questions, access=filters, narrowed=filters, top_k=st.integers(1, 30))
def test_nothing_that_a_filter_excludes_is_ever_found(
    call: Call, query: str, access: Wanted, narrowed: Wanted, top_k: int
) -> None:
    permitted = {f"d{number}" for number in TAGS if allowed(number, access, narrowed)}
    found = searched(query, access, narrowed, top_k, call)
    for retriever, hits in found.items():
        assert {hit.document_id for hit in hits} <= permitted, retriever
    # Filled with permitted chunks: every chunk has a vector, so as many are found as are permitted.
    assert len(found["hyde"]) == min(top_k, len(permitted))
    if "-Ada" not in query and "team:" not in query:  # which keep to fewer
        assert len(found["vector"]) == min(top_k, len(permitted))
    assert filter_access(found["weighted"], access, narrowed, call=call) == found["weighted"]


@settings(max_examples=scaled(15), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(query=questions, access=filters)
@example(query="Ghent Pump Works (GPW)", access={"team": ["sea"], "level": ["open"]})  # rewritten within itself
def test_nothing_that_only_excluded_documents_say_is_told(call: Call, query: str, access: Wanted) -> None:
    said = "\n".join(text_of(number) for number in TAGS if allowed(number, access))
    queries = query_rewrite(query, access, call=call)
    names = extract_entities_from_query(query, queries, access, call=call)
    reached = graph_traverse(names, access, call=call)
    for name in {
        *names,
        *reached,
        *(end for each in reached.values() for hop in each.path for end in (hop[0], hop[2])),
    }:
        assert name in said
    for rewritten in queries[1:]:
        for name in ("Ghent Pump Works", "Great Polar Way"):
            assert name in said or name in query or name not in rewritten
    for line in graph_context(reached):
        assert any(
            all(name in text_of(number) for name in names_in(line)) for number in TAGS if allowed(number, access)
        )


@settings(max_examples=scaled(15), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    query=st.sampled_from(["Lovelaec Babage", "Ocampp polra", "valvee -Ada", "reprot 7", "team:kitchen x"]),
    access=filters,
)
def test_what_is_read_into_a_question_comes_from_permitted_documents(call: Call, query: str, access: Wanted) -> None:
    permitted = [number for number in TAGS if allowed(number, access)]
    said = {term for number in permitted for term in terms(text_of(number))}
    question = read_question(query, access, call=call)
    corrected = {term for near in question.corrections.values() for term in near}
    assert corrected <= said
    searched = question.weights.keys() & said
    if question.occurs:
        assert searched
    elif searched:
        assert corrected  # only words near to some of the question's occur, which is not enough
    known = {value for number in permitted for name, value in TAGS[number] if name == "team"}
    assert question.filters == ({"team": ["kitchen"]} if query.startswith("team:") and known else {})
    hits = hybrid_merge(
        query, question, vector_hits=vector_search(query, None, access, call=call), access=access, call=call
    )["results"]
    suggested = suggest_wording(query, question, hits)
    assert set(terms(suggested or "")) <= said | set(terms(query))


def names_in(line: str) -> list[str]:
    for between in (" occurs with ", " stands for "):
        if between in line:
            return line.split(between)
    raise AssertionError(line)
