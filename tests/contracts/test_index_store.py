"""The contract of every index, in every store."""

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from flows.errors import FatalError
from handlers.records import Artifact, stable_id
from handlers.stores import (
    Bm25,
    FailedDocument,
    IndexSearch,
    IndexStore,
    TermQuery,
    VectorQuery,
    Words,
    open_index,
)
from handlers.stores.sqlite import SqliteIndexStore
from handlers.tags import TagFilter
from tests.support.index_stores import chunks_of, count_terms, document, embed, facts, ingest, stage, vector


def found_by_words(store: IndexSearch, *words: str, **options: object) -> list[str]:
    return [hit.content for hit in store.search_terms(dict.fromkeys(words, 1.0), **options)]  # pyright: ignore


def found_by_vector(store: IndexSearch, text: str, **options: object) -> list[str]:
    return [hit.content for hit in store.search_vectors(vector(text), **options) if hit.score > 0]  # pyright: ignore


def test_an_empty_index_answers_with_nothing(store: IndexStore) -> None:
    assert store.search_vectors(np.ones(3, dtype=np.float32)) == []
    assert store.search_terms({"storm": 1.0}) == []
    assert store.hits({"x": 1.0}, found_by="graph") == []
    assert store.find_entities(["x"]) == {}
    assert store.neighbours(["x"]) == store.mentions(["x"]) == store.documents() == []
    assert store.known(["x"]) == store.tags_of(["x"]) == {}
    assert set(store.statistics().values()) == {0}
    assert store.delete(["x"]) == 0


def test_nothing_is_found_before_it_is_published(store: IndexStore) -> None:
    versions = stage(store, [document("a", "storm over the river Ouse")])
    assert found_by_words(store, "storm") == found_by_vector(store, "storm") == []
    assert store.find_entities(["Ouse"]) == {}
    assert (
        store.hits({chunk.id: 1.0 for chunk in chunks_of(document("a", "storm over the river Ouse"))}, found_by="x")
        == []
    )
    assert [(row.status, row.searchable) for row in store.documents()] == [("pending", False)]
    assert store.publish(versions) == 1
    assert found_by_words(store, "storm") == found_by_vector(store, "storm") == ["storm over the river Ouse"]
    assert store.find_entities([" OUSE,"]) == {" OUSE,": "Ouse"}
    [row] = store.documents()
    assert (row.id, row.name, row.title, row.status, row.chunks) == ("a", "a.txt", "A", "processed", 1)
    assert row.content_sha256 == document("a", "storm over the river Ouse").content_sha256


def test_a_hit_has_its_place_in_the_document(store: IndexStore) -> None:
    ingest(store, document("a", "bridge\nthe violin"))
    [hit] = store.search_terms({"violin": 1.0})
    assert (hit.document_id, hit.name, hit.heading, hit.page, hit.found_by) == ("a", "a.txt", "H", 1, "keyword")
    assert (hit.start, hit.end) == (7, 17)
    [hit] = store.search_vectors(vector("violin"), top_k=1)
    assert (hit.content, hit.found_by, hit.score) == ("the violin", "vector", 1.0)


def test_keyword_scores_are_bm25(store: IndexStore) -> None:
    texts = ["storm storm river", "storm bridge train violin orchard", "river", "bridge bridge"]
    ingest(store, *(document(f"d{place}", text) for place, text in enumerate(texts)))
    hits = store.search_terms({"storm": 1.0, "river": 2.0}, bm25=Bm25(k1=1.2, b=0.75))
    average = np.mean([len(text.split()) for text in texts])
    expected = {}
    for text in texts:
        words, score = text.split(), 0.0
        for term, weight in (("storm", 1.0), ("river", 2.0)):
            containing, tally = sum(term in each.split() for each in texts), words.count(term)
            idf = np.log(1 + (len(texts) - containing + 0.5) / (containing + 0.5))
            score += weight * idf * tally * 2.2 / (tally + 1.2 * (1 - 0.75 + 0.75 * len(words) / average))
        expected[text] = score
    assert [hit.content for hit in hits] == sorted(texts[:3], key=lambda text: -expected[text])
    assert [hit.score for hit in hits] == pytest.approx([expected[hit.content] for hit in hits])


def test_a_filter_answers_as_an_index_without_the_others_does(store: IndexStore) -> None:
    """Neither a score nor an order depends on a document that the filter excludes: its existence may be secret."""
    permitted = [
        document("a", "storm storm river", tags=[("team", "sea")]),
        document("b", "storm bridge train violin orchard", tags=[("team", "sea"), ("level", "open")]),
        document("c", "river river\nviolin", tags=[("team", "sea")]),
    ]
    with_others = [
        *permitted,
        *(
            document(f"x{place}", f"storm number{place} " + "river " * place, tags=[("team", "law")])
            for place in range(9)
        ),
    ]
    ingest(store, *with_others)
    alone = open_index(f"memory://{stable_id('alone')}")
    ingest(alone, *permitted)
    where = TagFilter.of({"team": ["sea"]})
    for words in ({"storm": 1.0, "river": 2.0}, {"storm": 1.0}, {"violin": 0.5, "number3": 1.0}, {"number3": 1.0}):
        expected = alone.search_terms(words)
        found = store.search_terms(words, where=where)
        assert [hit.id for hit in found] == [hit.id for hit in expected]
        assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected])
        looked_up = store.scores([hit.id for hit in expected], TermQuery(words), where=where)
        assert looked_up == pytest.approx({hit.id: hit.score for hit in expected})
    alone.close()


def test_scores_of_given_chunks_are_those_of_the_searches(store: IndexStore) -> None:
    texts = ["storm storm river", "storm bridge train", "orchard", "bridge bridge", "storm violin"]
    ingest(store, *(document(f"d{place}", text, tags=[("n", str(place))]) for place, text in enumerate(texts)))
    everything = [stable_id(f"d{place}", text) for place, text in enumerate(texts)]
    by_words, by_meaning = TermQuery({"storm": 1.0, "river": 2.0}), VectorQuery(vector("storm bridge"))
    for some in (everything, everything[1:4], [*everything[:1], "unknown"], []):
        words = {hit.id: hit.score for hit in store.search_terms(by_words.weights)}
        meaning = {hit.id: hit.score for hit in store.search_vectors(by_meaning.vector)}
        assert store.scores(some, by_words) == pytest.approx({each: words[each] for each in some if each in words})
        assert store.scores(some, by_meaning) == pytest.approx(
            {each: meaning[each] for each in some if each in meaning}
        )
    where = TagFilter.of({"n": ["0", "3"]})
    permitted = {hit.id: hit.score for hit in store.search_terms(by_words.weights, where=where)}
    assert permitted.keys() == {everything[0]}
    assert store.scores(everything, by_words, where=where) == pytest.approx(permitted)
    assert store.scores(everything, by_meaning, where=where).keys() == {everything[0], everything[3]}
    assert store.scores(everything, TermQuery({"absent": 1.0})) == {}
    with pytest.raises(FatalError, match="3 dimensions and the index's 6"):
        store.scores(everything, VectorQuery(np.ones(3, dtype=np.float32), "words"))


def test_which_of_given_chunks_have_a_term(store: IndexStore) -> None:
    texts = ["storm river", "storm bridge", "orchard", "river violin"]
    ingest(store, *(document(f"d{place}", text, tags=[("n", str(place))]) for place, text in enumerate(texts)))
    a, b, c, d = (stable_id(f"d{place}", text) for place, text in enumerate(texts))
    terms = ["storm", "river", "absent"]
    assert store.having([a, b, c, d], terms) == {"storm": {a, b}, "river": {a, d}, "absent": set()}
    assert store.having([b, d, "unknown"], terms) == {"storm": {b}, "river": {d}, "absent": set()}
    assert store.having([a, b, d], terms, where=TagFilter.of({"n": ["1", "3"]}))["storm"] == {b}
    assert store.having([], terms) == {"storm": set(), "river": set(), "absent": set()}
    assert store.having([a], []) == {}


def test_a_search_keeps_to_chunks_with_and_without_words(store: IndexStore) -> None:
    ingest(store, *(document(f"d{place}", text) for place, text in enumerate(["storm river", "storm", "river bridge"])))
    for words, expected in [
        (Words(every=("storm",)), {"storm river", "storm"}),
        (Words(every=("storm", "river")), {"storm river"}),
        (Words(none=("storm",)), {"river bridge"}),
        (Words(every=("river",), none=("bridge",)), {"storm river"}),
        (Words(every=("absent",)), set[str]()),
        (Words(none=("absent",)), {"storm river", "storm", "river bridge"}),
    ]:
        assert set(found_by_words(store, "storm", "river", words=words)) == expected
        assert {hit.content for hit in store.search_vectors(vector("storm"), words=words)} == expected


def test_hits_without_text_have_ids_and_scores(store: IndexStore) -> None:
    ingest(store, document("a", "storm river"))
    for whole, light in [
        (store.search_terms({"storm": 1.0}), store.search_terms({"storm": 1.0}, with_text=False)),
        (store.search_vectors(vector("storm")), store.search_vectors(vector("storm"), with_text=False)),
    ]:
        assert [(hit.id, hit.document_id, hit.score, hit.found_by) for hit in whole] == [
            (hit.id, hit.document_id, hit.score, hit.found_by) for hit in light
        ]
        assert light[0].content == ""


def test_words_phrases_and_tags_are_known_as_far_as_they_are_visible(store: IndexStore) -> None:
    ingest(
        store,
        document("a", "storm over York", tags=[("team", "x")]),
        document("b", "stone by river", tags=[("team", "y")]),
    )
    stage(store, [document("c", "stork", tags=[("team", "z")])], run="r2")
    x = TagFilter.of({"team": "x"})
    assert store.occurring(["storm", "stone", "stork", "absent"]) == {"storm", "stone"}
    assert store.occurring(["storm", "stone"], where=x) == {"storm"}
    assert store.occurring([]) == set()
    assert store.occurring(map(str, range(300))) == set()
    assert [term for term in store.terms_from("sto") if term != "stork"] == ["stone", "storm"]
    assert store.terms_from("sto", limit=1) == ["stone"]
    assert store.terms_from("x") == []
    assert store.containing("STORM  over") == [stable_id("a", "storm over York")]
    assert store.containing("by river", where=x) == store.containing("stork") == store.containing("tone") == []
    assert store.tag_values("team") == ["x", "y"]
    assert store.tag_values("team", where=x) == ["x"]
    assert store.tag_values("nobody") == []


def test_the_best_come_first_and_ties_in_order_of_ids(store: IndexStore) -> None:
    ingest(store, *(document(f"d{place}", f"storm number{place}") for place in range(9)))
    ids = sorted(stable_id(f"d{place}", f"storm number{place}") for place in range(9))
    for top_k in (0, 1, 4, 9, 50):
        by_words = store.search_terms({"storm": 1.0}, top_k=top_k)
        by_vector = store.search_vectors(vector("storm"), top_k=top_k)
        assert len(by_words) == len(by_vector) == min(top_k, 9)
        assert [hit.id for hit in by_words] == sorted(hit.id for hit in by_words)
    assert [hit.id for hit in store.hits(dict.fromkeys(ids, 2.0), found_by="graph")] == ids


def test_replacing_a_document_removes_all_that_only_the_old_version_had(store: IndexStore) -> None:
    ingest(store, document("a", "storm at York\nbridge at Selby Leeds"), document("b", "train to York"))
    new = document("a", "bridge at Selby Leeds\nviolin in Goole")
    versions = stage(store, [new], run="r2")
    assert found_by_words(store, "storm") == ["storm at York"]
    assert found_by_words(store, "violin") == []
    assert [row.status for row in store.documents()] == ["processed", "processed"]
    store.publish(versions, expect=("vectors", "terms"))
    assert found_by_words(store, "storm") == found_by_vector(store, "storm") == []
    assert found_by_words(store, "violin") == found_by_vector(store, "violin") == ["violin in Goole"]
    assert [(chunk.position, chunk.text) for chunk in store.chunks_of("a")] == [
        (0, "bridge at Selby Leeds"),
        (1, "violin in Goole"),
    ]
    assert found_by_words(store, "bridge") == ["bridge at Selby Leeds"]
    assert [mention.name for mention in store.mentions(["York", "Selby", "Goole"])].count("York") == 1
    assert store.statistics() | {"pending": 0} == {
        "documents": 2,
        "chunks": 3,
        "vectors": 3,
        "token_vectors": 0,
        "terms": 3,
        "entities": 4,
        "relations": 1,
        "artifacts": 0,
        "summaries": 2,
        "tagged_documents": 0,
        "pending": 0,
        "processed": 2,
        "failed": 0,
    }


def test_an_unchanged_chunk_keeps_its_vector_and_terms(store: IndexStore) -> None:
    ingest(store, document("a", "storm\nbridge"))
    new = document("a", "storm\nviolin")
    versions = store.put_documents([new], chunks_of(new), run_id="r2")
    changed = chunks_of(new)[1:]
    store.put_vectors(changed, embed(changed), run_id="r2")
    store.put_terms(changed, count_terms(changed), run_id="r2")
    store.publish(versions, expect=("vectors", "terms"))
    assert found_by_vector(store, "storm") == ["storm"]
    assert found_by_words(store, "storm", "violin") == sorted(
        ["storm", "violin"], key=lambda text: stable_id("a", text)
    )


def test_facts_vanish_with_their_last_source(store: IndexStore) -> None:
    ingest(store, document("a", "Ada met Babbage"), document("b", "ada met  Babbage and Ada met Byron"))
    assert {(edge.start, edge.end): edge.weight for edge in store.neighbours(["ADA"])}[("Ada", "Babbage")] == 1.0
    assert [(mention.name, mention.times) for mention in store.mentions(["Ada"])] == [("Ada", 1), ("Ada", 1)]
    assert store.delete(["b", "unknown"]) == 1
    assert store.find_entities(["Byron", "Ada", "Babbage"]) == {"Ada": "Ada", "Babbage": "Babbage"}
    assert store.delete(["a"]) == 1
    assert set(store.statistics().values()) == {0}


def test_edges_add_up_over_documents_heaviest_first(store: IndexStore) -> None:
    ingest(store, document("a", "Ada Babbage"), document("b", "Ada Babbage Byron"), document("c", "Byron"))
    edges = store.neighbours(["babbage"])
    assert [tuple(edge) for edge in edges] == [("Ada", "Babbage", "near", 2.0), ("Babbage", "Byron", "near", 1.0)]
    assert store.neighbours(["babbage"], limit=1) == edges[:1]


def test_a_filter_holds_in_the_graph_too(store: IndexStore) -> None:
    ingest(
        store,
        document("a", "Ada Babbage", tags=[("team", "x")]),
        document("b", "Ada Babbage Byron", tags=[("team", "y")]),
    )
    where = TagFilter.of({"team": "x"})
    assert store.find_entities(["ada", "Byron"], where=where) == {"ada": "Ada"}
    assert [tuple(edge) for edge in store.neighbours(["Babbage"], where=where)] == [("Ada", "Babbage", "near", 1.0)]
    assert store.neighbours(["Byron"], where=where) == []
    assert [mention.chunk_id for mention in store.mentions(["Ada"], where=where)] == [stable_id("a", "Ada Babbage")]
    both = TagFilter.all_of({"team": ["x", "y"]}, {"team": "y"})
    assert store.find_entities(["Byron"], where=both) == {"Byron": "Byron"}
    assert store.find_entities(["Ada"], where=TagFilter.all_of({"team": "x"}, {"team": "y"})) == {}


def test_every_write_may_be_repeated(store: IndexStore) -> None:
    made = document("a", "storm at York Selby\nriver", tags=[("team", "x"), ("team", "x")])
    table = Artifact("t1", "a", "table", "|a|", page=2)
    versions = stage(store, [made], artifacts=[table, table][:1])
    before = store.publish(versions), store.statistics()
    assert stage(store, [made], artifacts=[table]) == versions
    assert (store.publish(versions), store.statistics()) == before
    assert store.publish(versions) == 1
    assert store.artifacts_of("a") == [table]
    assert store.summary_of("a") == "storm"


def test_publishing_refuses_what_is_not_complete(store: IndexStore) -> None:
    ingest(store, document("a", "storm"))
    new = document("a", "violin\nstorm")
    versions = store.put_documents([new], chunks_of(new), run_id="r2")
    with pytest.raises(FatalError, match=r"'a': 1 of its chunks have no vectors stored.*ingest it again"):
        store.publish(versions, expect=("vectors",))
    with pytest.raises(FatalError, match="'a': 1 of its chunks have no terms stored"):
        store.publish(versions, expect=("terms",))
    with pytest.raises(FatalError, match="version 'other' is not stored"):
        store.publish({"a": "other"})
    assert [chunk.text for chunk in store.chunks_of("a")] == ["storm"]


def test_what_a_crashed_run_left_is_repaired_by_the_next(store: IndexStore) -> None:
    stage(store, [document("a", "orchard of Ryde")], run="crashed")
    ingest(store, document("a", "violin"), run="next")
    assert store.statistics()["chunks"] == 1
    assert store.find_entities(["Ryde"]) == {}
    assert [row.status for row in store.documents()] == ["processed"]


def test_failures_are_in_the_table_and_leave_the_old_version(store: IndexStore) -> None:
    ingest(store, document("a", "storm"))
    failures = [FailedDocument("a", "a.txt", "u", "broken"), FailedDocument("b", "b.pdf", "v", "encrypted")]
    assert store.put_failures(failures, run_id="r2") == 2
    assert [(r.name, r.status, r.reason, r.searchable, r.run_id) for r in store.documents(status="failed")] == [
        ("a.txt", "failed", "broken", True, "r2"),
        ("b.pdf", "failed", "encrypted", False, "r2"),
    ]
    assert found_by_words(store, "storm") == ["storm"]
    ingest(store, document("a", "storm"), run="r3")
    assert store.known(["a", "nobody"])["a"].reason == ""
    assert store.statistics()["failed"] == 1


def test_the_document_table_comes_in_pages_by_name(store: IndexStore) -> None:
    ingest(store, *(document(name, "storm") for name in "edcba"))
    assert [row.id for row in store.documents(limit=2, offset=1)] == ["b", "c"]
    assert [row.id for row in store.documents(offset=4)] == ["e"]
    assert store.documents(status="failed") == []


def test_a_document_without_text_is_processed_and_replaces(store: IndexStore) -> None:
    ingest(store, document("a", "storm"))
    ingest(store, document("a", ""), run="r2")
    assert [(row.status, row.chunks, row.searchable) for row in store.documents()] == [("processed", 0, True)]
    assert store.statistics()["vectors"] == 0


def test_filters_hold_in_every_search(store: IndexStore) -> None:
    ingest(
        store,
        document("a", "storm at York Selby", tags=[("team", "x"), ("level", "open")]),
        document("b", "storm at York Selby", tags=[("team", "y"), ("level", "open")]),
        document("c", "storm at York Selby"),
    )
    for wanted, expected in [
        ({}, "abc"),
        ({"team": "x"}, "a"),
        ({"team": ["x", "y"]}, "ab"),
        ({"team": "x", "level": "open"}, "a"),
        ({"team": "y", "level": "secret"}, ""),
        ({"team": []}, ""),
        ({"nothing": "x"}, ""),
    ]:
        where = TagFilter.of(wanted)
        ids = {hit.id: 1.0 for hit in store.search_terms({"storm": 1.0})}
        for hits in (
            store.search_terms({"storm": 1.0}, where=where),
            store.search_vectors(vector("storm"), where=where),
            store.hits(ids, found_by="graph", where=where),
        ):
            assert "".join(sorted(hit.document_id for hit in hits)) == expected
        assert len(store.mentions(["York"], where=where)) == len(expected)
    assert store.tags_of(["a", "c", "d"]) == {"a": (("level", "open"), ("team", "x")), "c": ()}


def test_tags_of_a_staged_version_do_not_show(store: IndexStore) -> None:
    ingest(store, document("a", "storm", tags=[("team", "x")]))
    versions = stage(store, [document("a", "storm", tags=[("team", "y")])], run="r2")
    assert store.tags_of(["a"]) == {"a": (("team", "x"),)}
    store.publish(versions)
    assert store.tags_of(["a"]) == {"a": (("team", "y"),)}
    assert found_by_words(store, "storm", where=TagFilter.of({"team": "x"})) == []


def test_a_query_of_another_model_is_refused(store: IndexStore) -> None:
    ingest(store, document("a", "storm"))
    with pytest.raises(FatalError, match="3 dimensions and the index's 6"):
        store.search_vectors(np.ones(3, dtype=np.float32), model="words")
    with pytest.raises(FatalError, match=r"vectors of 'words'.*'other'"):
        store.search_vectors(vector("storm"), model="other")


@pytest.mark.parametrize("write", ["vectors", "terms", "graph"])
def test_rows_for_unknown_chunks_are_refused(store: IndexStore, write: str) -> None:
    chunks = chunks_of(document("a", "storm York"))
    puts: dict[str, Callable[[], int]] = {
        "vectors": lambda: store.put_vectors([], embed(chunks)),
        "terms": lambda: store.put_terms([], count_terms(chunks)),
        "graph": lambda: store.put_graph([], *facts(chunks)),
    }
    with pytest.raises(ValueError, match="is not among the chunks that were given"):
        puts[write]()


def test_threads_may_write_and_read_at_once(store: IndexStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = [document(f"d{place}", f"storm n{place}\nriver at York Selby") for place in range(24)]
        list(pool.map(lambda each: (ingest(store, each), found_by_vector(store, "storm")), made))
    assert store.statistics() == {
        "documents": 24,
        "chunks": 48,
        "vectors": 48,
        "token_vectors": 0,
        "terms": 48,
        "entities": 2,
        "relations": 24,
        "artifacts": 0,
        "summaries": 24,
        "tagged_documents": 0,
        "pending": 0,
        "processed": 24,
        "failed": 0,
    }
    assert len(found_by_words(store, "storm")) == 24


def test_a_reader_never_sees_a_mixture(store: IndexStore) -> None:
    ingest(store, document("a", "storm one\nstorm one bis"))
    versions = [("one", "two"), ("two", "one")] * 10

    def replace_often() -> None:
        for place, (_, new) in enumerate(versions):
            ingest(store, document("a", f"storm {new}\nstorm {new} bis"), run=f"w{place}")

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(replace_often)
        seen = []
        while not writing.done():
            seen.append(found_by_words(store, "storm") if len(seen) % 2 else found_by_vector(store, "storm"))
        writing.result()
    for texts in seen:
        assert sorted(texts) in (["storm one", "storm one bis"], ["storm two", "storm two bis"])


def test_open_index_tells_stores_by_their_address(tmp_path: Path) -> None:
    assert open_index("memory://x") is open_index("memory://x")
    assert open_index("memory://x") is not open_index("memory://y")
    for address in (str(tmp_path / "i.db"), f"sqlite:///{tmp_path}/i.db"):
        opened = open_index(address)
        assert isinstance(opened, SqliteIndexStore)
        assert opened.path == tmp_path / "i.db"
        assert pickle.loads(pickle.dumps(opened)).path == opened.path
    for address in ("mysql://x/y", "", "sqlite://"):
        with pytest.raises(FatalError, match="names no index"):
            open_index(address)
