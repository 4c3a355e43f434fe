"""Typed questions and their results: phrases, names, exclusions, prefixes, tags, misspelt words, no result."""

from collections.abc import Sequence

import numpy as np
import pytest

from flows.author import Call
from flows.state import Identity, Services
from handlers.ingestion.embeddings import generate_dense_embeddings, generate_sparse_embeddings
from handlers.ingestion.storing import publish_documents, store_dense_vectors, store_documents, store_sparse_vectors
from handlers.records import Chunk, Document, Hit, SourceFile, stable_id
from handlers.retrieval.highlighting import highlight_matches
from handlers.retrieval.merging import hybrid_merge
from handlers.retrieval.nothing import refuse_unrelated
from handlers.retrieval.questions import TypedQuestion, read_typed
from handlers.retrieval.rewriting import query_rewrite
from handlers.retrieval.searching import embed_query, keyword_search, vector_search
from handlers.retrieval.understanding import read_question, suggest_wording
from handlers.stores.memory import MemoryIndexStore

TEXTS = {
    "pump": "The pump of the vessel is opened when the storm has passed. Version v2.3.1 of the valve is needed.",
    "valve": "Open the valve of the pump. The valve has version v2.3.10, and the valve is a valve.",
    "code": "Call foo_bar::baz from foo.bar or baz, and read /etc/ntp.conf in C++.",
    "prose": "Whether to be or not to be, that is the question of the play.",
    "twins": "To not be: or to be?",
    "lease": "The lease ends in June; the notice period of the lease is short.",
    "notice": "A notice hangs there for a period. Notice the period, and notice the notice.",
    "haus": "Die Häuser in der Stadt sind nicht groß, und die Straße ist auch nicht lang.",
}
TAGS = {"lease": [("team", "Law")], "notice": [("team", "sea"), ("level", "open")]}


class Constant:
    """An embedder that gives all passages the same cosine to every question."""

    name = "constant"
    dim = 2

    def __init__(self, cosine: float = 1.0) -> None:
        self.cosine = cosine

    def embed_documents(self, texts: Sequence[str]) -> np.ndarray:
        return np.tile(np.array([1.0, 0.0], dtype=np.float32), (len(texts), 1))

    def embed_query(self, text: str) -> np.ndarray:
        return np.array([self.cosine, (1 - self.cosine**2) ** 0.5], dtype=np.float32)


def a_call(cosine: float = 1.0) -> Call:
    store = MemoryIndexStore()
    services = Services({"index_store": lambda: store, "embedder": lambda: Constant(cosine)})
    call = Call(identity=Identity(run_id="r", index="typed", services=services))
    documents = [
        Document(name, f"{name}.txt", name, name, "text/plain", text, stable_id(text), tags=tuple(TAGS.get(name, ())))
        for name, text in TEXTS.items()
    ]
    chunks = [Chunk(stable_id(each.id), each.id, 0, each.text, 0, len(each.text)) for each in documents]
    publish_documents(
        store_documents(documents, chunks, call=call),
        store_dense_vectors(chunks, generate_dense_embeddings(chunks, call=call), call=call),
        store_sparse_vectors(chunks, generate_sparse_embeddings(chunks, call=call), call=call),
        call=call,
    )
    return call


@pytest.fixture(scope="module")
def call() -> Call:
    return a_call()


def search(query: str, call: Call, **options: object) -> list[Hit]:
    question = read_question(query, call=call)
    queries, vector = query_rewrite(query, question=question, call=call), embed_query(query, question, call=call)
    by_vector = vector_search(query, vector, question=question, with_text=False, call=call)
    by_words = keyword_search(query, queries, question=question, with_text=False, call=call)
    merged = hybrid_merge(query, question, queries, vector, by_vector, by_words, call=call, **options)["results"]
    return highlight_matches(query, merged, queries, question=question)


@pytest.mark.parametrize(
    ("query", "typed"),
    [
        ('"notice period" law -lease', TypedQuestion("notice period law", ("notice period",), none=("lease",))),
        ("storm AND NOT rain OR hail", TypedQuestion("storm hail", none=("rain",))),
        ('-"the lease" storm', TypedQuestion("storm", ("storm",), none=("the lease",))),
        ("team:law valve opens now", TypedQuestion("valve opens now", tags=(("team", "law"),))),
        ("note:law valve opens now", TypedQuestion("note:law valve opens now", compounds=("note:law",))),
        ("std::sort in v2.3.1?", TypedQuestion("std::sort in v2.3.1?", compounds=("std::sort", "v2.3.1"))),
        ("aero* wings of birds", TypedQuestion("aero wings of birds", prefixes=("aero",))),
        ("at -5 degrees it is cold", TypedQuestion("at -5 degrees it is cold")),
        ("boundary layer flow", TypedQuestion("boundary layer flow", ("boundary layer flow",))),
        ("DO NOT ENTER", TypedQuestion("DO NOT ENTER", ("DO NOT ENTER",))),
        ("-lease", TypedQuestion("lease")),
        ("", TypedQuestion("")),
    ],
)
def test_questions_are_read_as_they_are_typed(query: str, typed: TypedQuestion) -> None:
    assert read_typed(query, lambda name: name == "team") == typed


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("v2.3.1", "pump"),
        ("which valve has version v2.3.1", "pump"),
        ("foo_bar::baz", "code"),
        ("/etc/ntp.conf", "code"),
        ("C++", "code"),
        ('"notice period"', "lease"),
        ("notice period", "lease"),
        ("to be or not to be", "prose"),
        ("Haus", "haus"),
    ],
)
@pytest.mark.parametrize("method", ["weighted", "rrf"])
def test_what_was_typed_comes_first(call: Call, query: str, first: str, method: str) -> None:
    assert search(query, call, method=method)[0].document_id == first


def test_words_and_phrases_that_are_excluded_are_not_found(call: Call) -> None:
    assert {"lease", "notice"} <= {hit.document_id for hit in search("notice", call)}
    for query in ("notice -lease", "notice NOT lease", 'notice -"notice period"'):
        found = {hit.document_id for hit in search(query, call)}
        assert "notice" in found
        assert "lease" not in found


def test_a_prefix_stands_for_every_word_that_begins_with_it(call: Call) -> None:
    assert search("sto* has passed", call)[0].document_id == "pump"
    assert [hit.document_id for hit in keyword_search("vess*", call=call)] == ["pump"]
    assert read_question("vesse*", call=call).corrections == {}


def test_tags_are_typed_with_their_values_in_any_case(call: Call) -> None:
    assert {hit.document_id for hit in search("team:law notice", call)} == {"lease"}
    assert {hit.document_id for hit in search("team:law team:sea notice", call)} == {"lease", "notice"}
    assert {hit.document_id for hit in search("team:law level:open notice", call)} == set()
    assert "notice" in {hit.document_id for hit in search("nobody:law notice", call)}


def test_misspelt_words_are_searched_for_by_the_nearest_and_said(call: Call) -> None:
    question = read_question("the notcie of the leese", call=call)
    hits = search("the notcie of the leese", call)
    assert hits[0].document_id == "lease"
    assert suggest_wording("the notcie of the leese", question, hits) == "the notice of the lease"
    assert suggest_wording("notice", read_question("notice", call=call), hits) is None
    assert read_question("the notcie", corrections=False, call=call).corrections == {}


def test_a_short_question_with_a_misspelt_word_finds_first_what_was_meant(call: Call) -> None:
    for query in ("vesell", "quesiton", "leese"):
        [first, *others] = search(query, call)
        assert first.scores["exact"] == 1
        assert all("exact" not in hit.scores for hit in others)
    assert all("exact" not in hit.scores for hit in search("what is the quesiton of it", call))


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("valvse", "valv"),
        ("opennig", "open"),  # the mistake hides the ending from the stemmer
        ("quesitons", "question"),
        ("callback", None),  # they begin like a term, but do not end like a form of it
        ("valverde", None),
        ("stormy", "storm"),
        ("leafs", "leas"),
        ("periodss", "period"),
    ],
)
def test_a_word_is_replaced_only_by_words_that_a_mistake_or_two_make_of_it(
    call: Call, word: str, near: str | None
) -> None:
    found = read_question(word, call=call).corrections
    assert {term for terms in found.values() for term in terms} == ({near} if near else set())


def test_no_wording_is_suggested_that_led_to_nothing(call: Call) -> None:
    question = read_question("xylophone valvee", call=call)
    assert question.corrections
    assert suggest_wording("xylophone valvee", question, []) is None


def test_suggestions_come_from_permitted_documents_alone(call: Call) -> None:
    for access, words in (({"team": ["Law"]}, {"leas"}), ({"team": ["sea"]}, set[str]())):
        found = read_question("leese", access, call=call).corrections
        assert {term for near in found.values() for term in near} == words
    assert read_question("notice team:law", {"team": ["sea"]}, call=call).filters == {"team": ["law"]}


def test_nothing_is_found_where_no_word_occurs_and_nothing_is_near() -> None:
    far = a_call(cosine=0.2)
    for query, nothing in [
        ("xylophone quartets", True),
        ("xylophone pump", False),
        ("what is a valvee", False),
        ("xylophone valvee", True),  # similar to one word, which is not enough
    ]:
        question = read_question(query, call=far)
        found = refuse_unrelated(search(query, far), question, unrelated_below=0.5, call=far)
        assert found["nothing_found"] is nothing
        assert bool(found["results"]) is not nothing
        assert not refuse_unrelated(search(query, far), question, call=far)["nothing_found"]  # of an unknown model
        assert not refuse_unrelated(search(query, far), question, unrelated_below=0.1, call=far)["nothing_found"]
    assert not read_question("xylophone pump", {"team": ["sea"]}, call=far).occurs


def test_relevance_is_comparable_over_questions(call: Call) -> None:
    [best, *_] = search("storm vessel", call)
    assert best.relevance == pytest.approx(1.0)
    [half, *_] = search("storm xylophone", call)
    assert half.relevance == pytest.approx(0.75)


def test_a_tag_or_an_option_names_the_language(call: Call) -> None:
    chunk = Chunk("c", "d", 0, "Häuser", 0, 6)
    source = SourceFile("file:///d", "d.txt", 6, None, tags=(("language", "de"),))
    chunk = Chunk("c", source.document_id, 0, "Häuser", 0, 6)
    bare = Call(identity=Identity(services=Services({})))
    assert dict(generate_sparse_embeddings([chunk], sources=[source], call=bare)[0].counts) == {"haus": 1, "=german": 1}
    assert dict(generate_sparse_embeddings([chunk], language="fr", call=bare)[0].counts) == {"häus": 1, "=french": 1}
    assert dict(generate_sparse_embeddings([chunk], call=bare)[0].counts) == {"häuser": 1}
