"""Retrieval over a small index: each search, access, rewriting, and all of it together with the real embedder."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.author import Call, ItemFailure
from flows.errors import FatalError
from flows.state import Identity, Services
from handlers.ingestion.embeddings import generate_dense_embeddings, generate_sparse_embeddings
from handlers.ingestion.entities import extract_entities
from handlers.ingestion.storing import (
    publish_documents,
    record_failures,
    remove_documents,
    store_dense_vectors,
    store_documents,
    store_graph,
    store_sparse_vectors,
)
from handlers.models.embedding import HashingEmbedder, LocalEmbedder
from handlers.records import Chunk, Document, Entity, Hit, SourceFile, stable_id
from handlers.retrieval.graph import Neighbour, graph_search, graph_traverse
from handlers.retrieval.merging import filter_access, hybrid_merge, rerank
from handlers.retrieval.rewriting import extract_entities_from_query, named_entities, query_rewrite
from handlers.retrieval.searching import embed_query, keyword_search, vector_search
from handlers.stores.memory import MemoryIndexStore

TEXTS = {
    "tides": ("The Moon pulls the ocean, and the water rises twice a day.", [("team", "sea")]),
    "bread": ("Knead the dough, let it rise overnight, then bake the loaf.", [("team", "kitchen")]),
    "atom": ("The International Atomic Energy Agency (IAEA) inspects reactors for Rafael Grossi.", [("team", "law")]),
    "grossi": ("Before that, Rafael Grossi was a diplomat at Villa Ocampo.", [("team", "law")]),
    "ocampo": ("Tango was danced at Villa Ocampo until the morning.", []),
    "it": ("Broken printers are repaired by IT.", [("team", "law"), ("team", "sea")]),
}


@dataclass
class WordOverlap:
    """A reranker that counts shared words."""

    def score(self, query: str, texts: Sequence[str]) -> np.ndarray:
        return np.array([len(set(query.lower().split()) & set(text.lower().split())) for text in texts])


def a_call(**services: object) -> Call:
    factories = {name: (lambda made=made: made) for name, made in services.items()}
    return Call(identity=Identity(run_id="run-1", index="test", services=Services(factories)))


def fill(call: Call) -> None:
    documents = [
        Document(name, f"{name}.txt", f"file:///{name}", name, "text/plain", text, stable_id(text), tags=tuple(tags))
        for name, (text, tags) in TEXTS.items()
    ]
    chunks = [Chunk(stable_id(d.id, d.text), d.id, 0, d.text, 0, len(d.text)) for d in documents]
    facts = extract_entities(chunks, call=call)
    stored = store_documents(documents, chunks, {"tides": "Tides."}, call=call)
    publish_documents(
        stored,
        store_dense_vectors(chunks, generate_dense_embeddings(chunks, call=call), call=call),
        store_sparse_vectors(chunks, generate_sparse_embeddings(chunks, call=call), call=call),
        store_graph(chunks, facts["entities"], facts["relations"], call=call),  # pyright: ignore[reportArgumentType]
        call=call,
    )


@pytest.fixture(scope="module")
def call() -> Call:
    made = a_call(index_store=MemoryIndexStore(), embedder=HashingEmbedder(), reranker=WordOverlap())
    fill(made)
    return made


def found(hits: Sequence[Hit]) -> list[str]:
    return [hit.document_id for hit in hits]


def test_words_find_their_inflections(call: Call) -> None:
    assert found(keyword_search("rising inspections", call=call))[0] == "atom"
    assert set(found(keyword_search("rising", call=call))) == {"tides", "bread"}
    assert found(keyword_search("the of and", call=call)) == []


def test_words_of_rewritings_count_less_than_the_questions(call: Call) -> None:
    [plain] = keyword_search("tango", call=call)
    hits = keyword_search("tango", ["printers"], call=call)
    assert found(hits) == ["ocampo", "it"]
    assert hits[0].score == plain.score


def test_vectors_find_the_nearest(call: Call) -> None:
    vector = embed_query("ocean water Moon", call=call)
    assert found(vector_search("tides", vector, call=call, top_k=1)) == ["tides"]


@pytest.mark.parametrize(
    ("query", "entities"),
    [
        ("what does the iaea do?", ["IAEA"]),
        ("Who is Rafael Grossi, of the IAEA?", ["Rafael Grossi", "IAEA"]),
        ("does it rise", []),
        ("nothing known", []),
        ("", []),
    ],
)
def test_entities_are_found_in_questions(call: Call, query: str, entities: list[str]) -> None:
    assert extract_entities_from_query(query, call=call) == entities


def test_a_name_that_looks_like_a_stop_word_must_be_written_as_it_is() -> None:
    store = MemoryIndexStore()
    chunk = Chunk("c", "d", 0, "Ask IT.", 0, 7)
    store.put_graph([chunk], [Entity("IT", "ACRONYM", "d", "c")], [])
    store.publish(store.put_documents([Document("d", "d", "d", "d", "text/plain", chunk.text, "0")], [chunk]))
    assert named_entities(store, "is IT open?") == ["IT"]
    assert named_entities(store, "is it open?") == []


def test_acronyms_are_written_out_from_the_graph(call: Call) -> None:
    assert query_rewrite("  what  is the IAEA?", call=call) == [
        "what is the IAEA?",
        "what is the International Atomic Energy Agency?",
    ]
    assert query_rewrite("what is IT?", call=call) == ["what is IT?"]
    assert query_rewrite("iaea", most=1, call=call) == ["iaea"]


def test_the_graph_reaches_two_relations_far_and_less_with_each(call: Call) -> None:
    near = graph_traverse(["iaea"], call=call)
    assert near["IAEA"] == Neighbour(1.0)
    assert 1.0 > near["Rafael Grossi"].nearness > near["Villa Ocampo"].nearness > 0.0
    assert [set(hop) for hop in near["Villa Ocampo"].path] == [
        {"IAEA", "co_occurs", "Rafael Grossi"},
        {"Rafael Grossi", "co_occurs", "Villa Ocampo"},
    ]
    hits = graph_search("what is the IAEA?", call=call)
    assert found(hits) == ["atom", "grossi", "ocampo"]
    assert {hit.found_by for hit in hits} == {"graph"}
    assert set(found(graph_search("", ["IAEA"], hops=1, call=call))) == {"atom", "grossi"}
    assert found(graph_search("", ["IAEA"], hops=0, call=call)) == ["atom"]
    assert graph_search("iaea", [], call=call) == graph_search("", ["Nobody"], call=call) == []


def test_access_holds_in_every_search(call: Call) -> None:
    access = {"team": ["law"]}
    vector = embed_query("rise", call=call)
    for hits in (
        keyword_search("rise Grossi printers", access=access, call=call),
        vector_search("tides", vector, access, call=call),
        graph_search("", ["IAEA"], access, call=call),
    ):
        assert hits
        assert set(found(hits)) <= {"atom", "grossi", "it"}


def all_hits() -> list[Hit]:
    return [Hit(stable_id(name, text), name, 1.0, text, "vector") for name, (text, _) in TEXTS.items()]


tags = st.dictionaries(
    st.sampled_from(["team", "level"]), st.lists(st.sampled_from(["sea", "law", "kitchen"]), max_size=2)
)


@given(access=tags, fixed=tags)
def test_filtering_never_leaks(call: Call, access: Mapping[str, Sequence[str]], fixed: dict[str, list[str]]) -> None:
    for hit in filter_access(all_hits(), access, tags=fixed, call=call):
        for wanted in (access, fixed):
            for key, values in wanted.items():
                assert set(values) & {value for name, value in TEXTS[hit.document_id][1] if name == key}


def test_filtering_keeps_order_and_drops_the_unknown(call: Call) -> None:
    gone = Hit("x", "removed", 9.0, "secret", "vector")
    assert found(filter_access([gone, *all_hits()], {"team": ["law"]}, call=call)) == ["atom", "grossi", "it"]
    assert found(filter_access(all_hits(), limit=2, call=call)) == ["tides", "bread"]
    with pytest.raises(FatalError, match="needs the parameter `access`"):
        filter_access(all_hits(), required=True, call=call)
    with pytest.raises(FatalError, match="needs the parameter `access`"):
        filter_access(all_hits(), {}, required=True, tags={"team": ["law"]}, call=call)


def test_reranking_is_off_until_enabled_and_keeps_the_tail(call: Call) -> None:
    hits = all_hits()
    assert rerank("repaired by IT", hits, call=call) == hits
    again = rerank("rafael diplomat was", hits, enabled=True, top_k=5, call=call)
    assert found(again) == ["grossi", "atom", "ocampo", "tides", "bread", "it"]
    assert dict(again[0].scores) == {"vector": 1.0, "rerank": 3.0}


def test_failures_land_in_the_document_table_and_documents_go() -> None:
    store = MemoryIndexStore()
    call = a_call(index_store=store, embedder=HashingEmbedder())
    fill(call)
    source = SourceFile("file:///broken.pdf", "broken.pdf", 3, None)
    failures = [ItemFailure("broken.pdf", "no PDF at all"), ItemFailure("other", "too large")]
    assert record_failures(failures, [source], call=call) == 2
    [broken, other] = store.documents(status="failed")
    assert (broken.id, broken.uri, broken.reason) == (source.document_id, source.uri, "no PDF at all")
    assert (other.name, other.reason) == ("other", "too large")
    assert remove_documents(["atom", "nobody"], call=call) == 1
    assert extract_entities_from_query("IAEA Rafael Grossi", call=call) == ["Rafael Grossi"]


@pytest.fixture(scope="module")
def real() -> Iterator[Call]:
    embedder = LocalEmbedder(workers=1)
    call = a_call(index_store=MemoryIndexStore(), embedder=embedder)
    fill(call)
    yield call
    embedder.close()


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("why does the sea level change with the lunar cycle?", "tides"),
        ("making sourdough", "bread"),
        ("nuclear inspectors of the IAEA", "atom"),
        ("who fixes broken office equipment?", "it"),
    ],
)
def test_the_right_text_comes_first_with_the_real_embedder(real: Call, query: str, first: str) -> None:
    queries = query_rewrite(query, call=real)
    results = hybrid_merge(
        query,
        vector_hits=vector_search(query, embed_query(query, call=real), call=real),
        keyword_hits=keyword_search(query, queries, call=real),
        graph_hits=graph_search(query, extract_entities_from_query(query, queries, call=real), call=real),
        call=real,
    )["results"]
    assert found(results)[0] == first
    assert results[0].score == max(hit.score for hit in results)
    assert results[0].scores.keys() <= {"vector", "keyword", "token", "exact"}
