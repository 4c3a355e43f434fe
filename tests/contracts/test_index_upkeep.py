"""The operations of every index for recurring ingestion and copies: states, renames, sweeps, a hash of the content."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from sqlalchemy import select

from flows.errors import FatalError
from handlers.records import Artifact, Document, Entity, Relation, SparseVector, stable_id
from handlers.stores import ChunkState, FailedDocument, IndexStore, Rename, Restatement, copy_index
from handlers.stores.memory import MemoryIndexStore
from handlers.stores.rows import Edge, SweepCounts
from handlers.stores.sql.index import SqlIndexStore
from handlers.stores.sql.schema import passages, postings
from handlers.tags import TagFilter
from tests.support.index_stores import chunks_of, count_terms, document, embed, facts, ingest, make_store, stage, vector
from tests.support.profiles import scaled


def moved(store: IndexStore, old: str, new: Document, **options: Any) -> Rename:
    """The rename of a document whose chunks change only their ids."""
    pairs = zip(store.chunks_of(old), chunks_of(new), strict=True)
    return Rename(old, new, {before.id: after.id for before, after in pairs}, **options)


def rebuilt(*documents: Document) -> IndexStore:
    made = MemoryIndexStore()
    for each in documents:
        ingest(made, each)
    return made


def test_states_tell_what_was_made_of_which_content(store: IndexStore) -> None:
    made = document("a", "storm\nriver\nbridge")
    versions = store.put_documents([made], chunks_of(made), run_id="r1", fingerprint="v1", revisions={"a": "etag-1"})
    store.publish(versions)
    ingest(store, document("b", ""))
    store.put_failures([FailedDocument("c", "c.txt", "u", "broken")])
    stage(store, [document("d", "train")])
    states = store.document_states()
    assert [(each.id, each.status, each.fingerprint, each.revision) for each in states] == [
        ("a", "processed", "v1", "etag-1"),
        ("b", "processed", "", ""),
        ("c", "failed", "", ""),
        ("d", "pending", "", ""),
    ]
    assert states[0].chunk_ids == tuple(chunk.id for chunk in chunks_of(made))
    assert (states[0].content_sha256, states[0].name, states[0].uri) == (made.content_sha256, made.name, made.uri)
    assert states[2].chunk_ids == states[3].chunk_ids == ()
    assert [each.id for each in store.document_states(limit=2)] == ["a", "b"]
    assert [each.id for each in store.document_states(after="b", limit=2)] == ["c", "d"]
    assert store.document_states(after="d") == []


def test_chunks_tell_what_is_stored_of_them(store: IndexStore) -> None:
    chunks = chunks_of(document("a", "storm\nriver\nAda Byron\nquiet"))
    store.put_vectors(chunks[:1], embed(chunks[:1], "small"))
    store.put_terms(chunks[1:2], count_terms(chunks[1:2]))
    store.put_graph(chunks[2:], *facts(chunks[2:]))
    assert store.chunk_states([*(chunk.id for chunk in chunks), "unknown"]) == {
        chunks[0].id: ChunkState("small", terms=False, facts=False),
        chunks[1].id: ChunkState(None, terms=True, facts=False),
        chunks[2].id: ChunkState(None, terms=False, facts=True),
        chunks[3].id: ChunkState(None, terms=False, facts=True),  # recorded as processed, without facts
    }


def test_facts_can_be_expected_of_a_version(store: IndexStore) -> None:
    made = document("a", "Ada Byron\nquiet")
    chunks = chunks_of(made)
    versions = store.put_documents([made], chunks)
    store.put_graph(chunks[:1], *facts(chunks[:1]))
    with pytest.raises(FatalError, match="1 of its chunks have no facts stored"):
        store.publish(versions, expect=("facts",))
    store.put_graph(chunks[1:], [], [])
    assert store.publish(versions, expect=("facts",)) == 1


def test_a_renamed_document_keeps_everything(store: IndexStore) -> None:
    old = document("a", "storm at York Selby\nbridge", tags=[("team", "x")])
    table = Artifact("t1", "a", "table", "|a|", page=2)
    store.publish(stage(store, [old], artifacts=[table]))
    ingest(store, document("other", "river to York"))
    new = document("b", old.text, tags=[("team", "y")])
    stage(store, [new], run="crashed")
    rename = moved(store, "a", new, revision="etag-2")
    assert store.rename([replace(rename, artifact_ids={"t1": "t2"})]) == 1
    fresh = MemoryIndexStore()
    fresh.publish(stage(fresh, [new], artifacts=[replace(table, id="t2", document_id="b")]))
    ingest(fresh, document("other", "river to York"))
    assert store.fingerprint() == fresh.fingerprint()
    assert store.known(["a", "b"]).keys() == {"b"}
    assert [hit.document_id for hit in store.search_vectors(vector("storm"), top_k=1)] == ["b"]
    assert [hit.document_id for hit in store.search_terms({"storm": 1.0})] == ["b"]
    assert {mention.chunk_id for mention in store.mentions(["Selby"])} == {chunks_of(new)[0].id}
    assert store.document_states(limit=1)[0].revision == "etag-2"
    assert store.sweep(older_than_s=0) == SweepCounts()


def test_a_document_that_could_not_be_read_where_it_was_is_whole_where_it_is_found(store: IndexStore) -> None:
    ingest(store, document("a", "storm"))
    store.put_failures([FailedDocument("a", "a.txt", "u", "no such file", tried="etag-1")])
    assert store.rename([moved(store, "a", document("b", "storm"))]) == 1
    (state,) = store.document_states()
    assert (state.id, state.status, state.tried) == ("b", "processed", "")
    assert store.known(["b"])["b"].reason == ""
    assert store.fingerprint() == rebuilt(document("b", "storm")).fingerprint()


def test_renames_that_cannot_be_are_refused_whole(store: IndexStore) -> None:
    ingest(store, document("a", "storm"))
    ingest(store, document("b", "storm"))
    before = store.fingerprint()
    good = moved(store, "a", document("z", "storm"))
    with pytest.raises(FatalError, match="'b' cannot be moved to 'z.txt': a document is searchable there already"):
        store.rename([good, moved(store, "b", document("z", "storm"))])
    with pytest.raises(ValueError, match="has no new id"):
        store.rename([replace(good, chunk_ids={})])
    assert store.fingerprint() == before
    stage(store, [document("c", "storm")])
    assert store.rename([replace(good, document_id="c"), replace(good, document_id="unknown")]) == 0
    # Where one has left, another may move in.
    assert store.rename([good, moved(store, "b", document("a", "storm"))]) == 2
    assert store.fingerprint() == rebuilt(document("a", "storm"), document("z", "storm")).fingerprint()


def test_a_sweep_removes_data_of_dead_runs_and_nothing_else(store: IndexStore) -> None:
    ingest(store, document("a", "storm of York"))
    before = store.fingerprint()
    stage(store, [document("a", "violin of Goole")], run="dead")
    stage(store, [document("b", "orchard of Ryde\nnew")], run="dead")
    alive = stage(store, [document("c", "train")], run="alive")
    orphan = chunks_of(document("d", "bridge"))
    store.put_vectors(orphan, embed(orphan), run_id="dead")
    assert store.sweep() == SweepCounts()  # nothing is a day old
    assert store.sweep(alive=["alive", "dead"], older_than_s=0) == SweepCounts()
    assert store.sweep(alive=["alive"], older_than_s=0) == SweepCounts(versions=2, chunks=4, documents=2)
    assert [state.id for state in store.document_states()] == ["a", "c"]
    assert store.chunk_states([chunk.id for chunk in orphan]) == {}
    assert store.fingerprint() == before
    assert store.publish(alive, expect=("vectors", "terms")) == 1
    assert store.sweep(older_than_s=0) == SweepCounts()


def test_one_version_that_cannot_be_published_keeps_only_itself_and_those_after_it_back(store: IndexStore) -> None:
    staged = stage(store, [document("a", "storm"), document("c", "train")])
    versions = {"a": staged["a"], "b": "never staged", "c": staged["c"]}
    with pytest.raises(FatalError, match="document 'b': version 'never staged' is not stored"):
        store.publish(versions, expect=("vectors", "terms"))
    assert [each.id for each in store.documents(status="processed")] == ["a"]
    bare = store.put_documents([document("d", "violin")], chunks_of(document("d", "violin")))
    with pytest.raises(FatalError, match="document 'd': 1 of its chunks have no vectors stored"):
        store.publish({"c": staged["c"], **bare}, expect=("vectors",))
    assert {each.id for each in store.documents(status="processed")} == {"a", "c"}


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_terms_vanish_with_their_passages(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    with make_store(kind, request, tmp_path) as store:
        assert isinstance(store, SqlIndexStore)
        ingest(store, document("a", "storm\nriver"), document("b", "bridge"), document("e", "orchard"))
        ingest(store, document("a", "storm\ntrain"))
        stage(store, [document("c", "violin")])
        store.rename([moved(store, "b", document("c", "bridge"))])
        ingest(store, document("a", "storm\ntrain"), run="once more")
        stage(store, [document("d", "river"), document("a", "storm\norchard")], run="dead")
        store.sweep(dead=["dead"], older_than_s=0)
        store.delete(["e"])
        with store._read() as connection:
            held = connection.execute(
                select(postings.c.term, passages.c.visible)
                .join(passages, passages.c.key == postings.c.passage, isouter=True)
                .order_by(postings.c.term)
            ).all()
        assert [tuple(row) for row in held] == [("bridge", True), ("storm", True), ("train", True)]


def test_the_fingerprint_tells_every_difference_and_no_order(store: IndexStore) -> None:
    one, two = document("a", "storm at York Selby\nriver", tags=[("team", "x")]), document("b", "bridge of Goole")
    empty = store.fingerprint()
    ingest(store, two, run="r7")
    ingest(store, document("a", "train"), run="r8")
    ingest(store, one, run="r9")
    assert store.fingerprint() == rebuilt(one, two).fingerprint() != empty
    different: list[IndexStore] = [
        rebuilt(one),
        rebuilt(one, replace(two, name="c.txt")),
        rebuilt(replace(one, tags=()), two),
        rebuilt(replace(one, text="storm at York Selby"), two),
        rebuilt(one, replace(two, metadata=(("k", "v"),))),
    ]
    chunks = chunks_of(two)
    for change in range(4):
        made = rebuilt(one, two)
        match change:
            case 0:
                made.put_vectors(chunks, replace(embed(chunks), vectors=embed(chunks).vectors * np.float32(0.5)))
            case 1:
                made.put_terms(chunks, [replace(each, length=9) for each in count_terms(chunks)])
            case 2:
                made.put_graph(chunks, [], [])
            case _:
                made.put_failures([FailedDocument("c", "c.txt", "u", "broken")])
        made.restate([Restatement("b", run_id="")])
        different.append(made)
    hashes = [each.fingerprint() for each in different]
    assert len({*hashes, store.fingerprint(), empty}) == len(different) + 2
    stage(store, [document("c", "violin"), document("a", "violin")], run="later")
    assert store.fingerprint() == rebuilt(one, two).fingerprint()


@pytest.mark.parametrize("target", ["memory", "sqlite", "postgres"])
def test_a_copy_has_the_same_content(
    store: IndexStore, target: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    table = Artifact("t1", "d3", "table", "|a|", page=2, language="x")
    documents = [document(f"d{place}", f"storm {place} at York Selby\nriver", tags=[("n", "x")]) for place in range(7)]
    store.publish(stage(store, documents[:4], artifacts=[table]))
    store.publish(
        store.put_documents(
            [documents[4]], chunks_of(documents[4]), fingerprint="v2", run_id="r5", revisions={"d4": "etag"}
        )
    )
    chunks = chunks_of(documents[4])
    store.put_vectors(chunks, embed(chunks, "another model"), run_id="r5")
    store.restate([Restatement("d4", fingerprint="v2", run_id="r5")])
    store.put_failures([FailedDocument("d0", "d0.txt", "u", "broken"), FailedDocument("z", "z.txt", "v", "locked")])
    stage(store, documents[5:])
    done: list[int] = []
    with make_store(target, request, tmp_path) as other:
        copied = copy_index(store, other, batch_size=3, progress=done.append)
        assert copied.matches
        assert (copied.documents, done[-1]) == (6, 6)
        assert store.fingerprint() == other.fingerprint()
        assert other.read_documents(["d4"])[0].fingerprint == "v2"
        wanted = [
            (each.id, each.status, each.revision, each.chunk_ids)
            for each in store.document_states()
            if each.status != "pending"
        ]
        assert [(each.id, each.status, each.revision, each.chunk_ids) for each in other.document_states()] == wanted
        assert [replace(hit, score=0) for hit in other.search_terms({"storm": 1.0})] == [
            replace(hit, score=0) for hit in store.search_terms({"storm": 1.0})
        ]
        assert copy_index(store, other).matches  # again: nothing changes
        other.delete(["d1"])
        assert not replace(copied, after=other.statistics()).matches


def test_what_was_stored_first_makes_no_difference_to_answers(store: IndexStore) -> None:
    documents = [document(f"d{place}", f"storm ada Babbage{place}\nAda Babbage{place}") for place in range(8)]
    for each in reversed(documents):
        ingest(store, each)
    ingest(store, replace(documents[3], text="storm"))
    ingest(store, documents[3])
    fresh = rebuilt(*documents)
    for top_k in (1, 3, 5):
        assert [hit.id for hit in store.search_terms({"storm": 1.0}, top_k=top_k)] == [
            hit.id for hit in fresh.search_terms({"storm": 1.0}, top_k=top_k)
        ]
        assert [hit.id for hit in store.search_vectors(vector("storm"), top_k=top_k)] == [
            hit.id for hit in fresh.search_vectors(vector("storm"), top_k=top_k)
        ]
    assert store.find_entities(["ADA"]) == {"ADA": "Ada"}
    assert store.neighbours(["ada"]) == fresh.neighbours(["ada"])


def test_the_spelling_of_an_entity_is_one_that_is_visible(store: IndexStore) -> None:
    ingest(store, document("a", "ADA"), document("b", "Ada"))
    assert store.find_entities(["ada"]) == {"ada": "ADA"}
    assert store.statistics()["entities"] == 1
    store.delete(["a"])
    assert store.find_entities(["ada"]) == {"ada": "Ada"}
    assert [tuple(mention)[1:] for mention in store.mentions(["ada"])] == [("Ada", 1)]


def test_texts_that_databases_refuse_are_stored_without_what_they_refuse(store: IndexStore) -> None:
    made = document("a", "storm\0 \ud800 of York")
    endless = "x" * 5000
    chunks = chunks_of(made)
    versions = store.put_documents([made], chunks)
    store.put_vectors(chunks, embed(chunks))
    store.put_terms(chunks, [SparseVector(chunks[0].id, ((endless, 1), ("storm", 1)), 2)])
    store.publish(versions)
    assert [chunk.text for chunk in store.chunks_of("a")] == ["storm\N{REPLACEMENT CHARACTER} ? of York"]
    assert len(store.search_terms({endless: 1.0})) == 1
    other = MemoryIndexStore()
    assert copy_index(store, other).matches


def test_the_size_grows_with_the_content(store: IndexStore) -> None:
    store.statistics()
    before = store.size_bytes()
    rng = np.random.default_rng(1)
    text = "\n".join(
        f"storm number {place} " + " ".join(map(str, rng.integers(10**9, size=40))) for place in range(200)
    )
    ingest(store, document("a", text))
    assert store.size_bytes() > before + 50_000


NAMES = ("a", "b", "c")
TEXTS = (
    "",
    "storm at York",
    "storm at York\nriver by York Selby",
    "violin of yorK Selby\nriver by York Selby",
    "x\ny\nx2",
)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("ingest"), st.sampled_from(NAMES), st.sampled_from(TEXTS)),
        st.tuples(st.just("crash"), st.sampled_from(NAMES), st.sampled_from(TEXTS)),
        st.tuples(st.just("delete"), st.sampled_from(NAMES), st.just("")),
        st.tuples(st.just("rename"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
        st.tuples(st.just("sweep"), st.just(""), st.just("")),
    ),
    max_size=12,
)


@settings(max_examples=scaled(10), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(actions=ACTIONS)
def test_after_any_history_an_index_is_as_if_made_anew(
    store: IndexStore, actions: Sequence[tuple[str, str, str]]
) -> None:
    store.delete([state.id for state in store.document_states()])
    truth: dict[str, Document] = {}
    for place, (action, name, value) in enumerate(actions):
        match action:
            case "ingest":
                truth[name] = document(name, value)
                ingest(store, truth[name], run=f"r{place}")
            case "crash":
                stage(store, [document(name, value)], run=f"r{place}")
            case "delete":
                store.delete([name])
                truth.pop(name, None)
            case "rename":
                if name in truth and (value == name or value not in truth):
                    new = document(value, truth.pop(name).text)
                    new = replace(new, content_sha256=stable_id(new.text) * 2)
                    assert store.rename([moved(store, name, new)]) == 1
                    truth[value] = new
            case _:
                store.sweep(older_than_s=0)
    fresh = rebuilt(*truth.values())
    assert store.fingerprint() == fresh.fingerprint()
    store.sweep(older_than_s=0)
    assert store.fingerprint() == fresh.fingerprint()
    assert store.statistics() == fresh.statistics()
    hits = [store.search_terms({"river": 1.0, "storm": 2.0}), fresh.search_terms({"river": 1.0, "storm": 2.0})]
    assert [(hit.id, round(hit.score, 9)) for hit in hits[0]] == [(hit.id, round(hit.score, 9)) for hit in hits[1]]
    assert store.neighbours(["York"]) == fresh.neighbours(["York"])


def test_what_is_new_of_a_document_is_noted_without_touching_its_content(store: IndexStore) -> None:
    made = [document(name, f"storm {name}", tags=[("team", "x")]) for name in ("a", "b")]
    store.publish(stage(store, made))
    before = store.fingerprint()
    noted = Restatement("a", revision="r", fingerprint="f", tags=(("team", "y"),), uri="file:///new")
    assert store.restate([noted, Restatement("b", revision="s"), Restatement("unknown", revision="t")]) == 2
    first, second = store.document_states()
    assert (first.revision, first.fingerprint, first.tags, first.uri) == ("r", "f", (("team", "y"),), "file:///new")
    assert (second.revision, second.tags, second.uri) == ("s", (("team", "x"),), "file:///b.txt")
    assert store.tags_of(["a"]) == {"a": (("team", "y"),)}
    assert store.fingerprint() != before
    chunk = chunks_of(made[0])[0]
    assert store.chunk_states([chunk.id])[chunk.id].fingerprint == "f"
    assert len(store.search_terms({"storm": 1.0}, where=TagFilter.of({"team": "y"}))) == 1


def test_what_is_staged_over_visible_passages_is_seen_only_with_its_version(store: IndexStore) -> None:
    made, new = document("a", "storm at York\nold"), document("a", "storm at York\nnew at Hull")
    ingest(store, made, run="r1")
    before = store.fingerprint()
    chunks = chunks_of(new)
    other = [replace(each, text=each.text.replace("York", "Ryde Selby").replace("storm", "violin")) for each in chunks]
    versions = store.put_documents([new], chunks, run_id="r2", summaries={"a": "storm"})
    store.put_vectors(chunks, embed(other), run_id="r2")
    store.put_terms(chunks, count_terms(other), run_id="r2")
    store.put_graph(chunks, *facts(other), run_id="r2")
    store.put_graph(chunks[:1], [], [], run_id="dead")
    assert store.fingerprint() == before
    assert (store.find_entities(["Ryde", "Hull"]), found(store, "storm"), found(store, "violin")) == (
        {},
        [chunks[0].id],
        [],
    )
    store.publish(versions, expect=("vectors", "terms", "facts"))
    assert store.find_entities(["Ryde", "York", "Hull"]) == {"Ryde": "Ryde", "Hull": "Hull"}
    assert store.neighbours(["Ryde"]) == [Edge("Ryde", "Selby", "near", 1.0)]
    assert (found(store, "storm"), found(store, "violin")) == ([], [chunks[0].id])
    assert store.statistics()["relations"] == 1
    # Again for what is staged without a version, and what nobody publishes is swept.
    store.put_graph(chunks, *facts(chunks), run_id="r3")
    assert store.restate([Restatement("a", fingerprint="f")]) == 1
    assert store.find_entities(["York"]) == {}
    assert store.restate([Restatement("a", fingerprint="g", run_id="r3")]) == 1
    assert store.find_entities(["Ryde", "York"]) == {"York": "York"}
    now = store.fingerprint()
    assert store.sweep(older_than_s=0).chunks >= 1
    assert store.sweep(older_than_s=0) == SweepCounts()
    assert store.fingerprint() == now


def test_readers_see_the_facts_of_one_version_and_one_place_only(store: IndexStore) -> None:
    """The passage that two versions share has other facts in each, as when a model answers differently."""

    def versioned(place: int) -> None:
        made = document("a", f"storm at York\nriver {place}")
        chunks, name = chunks_of(made), f"v{place}"
        linked = [Relation("York", f"{name}-{each.position}", "near", "a", each.id) for each in chunks]
        versions = store.put_documents([made], chunks, run_id=name)
        store.put_vectors(chunks, embed(chunks), run_id=name)
        store.put_terms(chunks, count_terms(chunks), run_id=name)
        store.put_graph(chunks, [Entity("York", name, "a", each.id) for each in chunks], linked, run_id=name)
        store.publish(versions, expect=("vectors", "terms", "facts"))

    begin = Barrier(3)

    def write() -> None:
        begin.wait(60)
        for place in range(1, 9):
            versioned(place)
            there = document("b", f"storm at York\nriver {place}", tags=[("team", "x")])
            assert store.rename([moved(store, "a", there)]) == 1
            store.restate([Restatement("b", tags=(("team", "y"), ("floor", "y")))])
            assert store.rename([moved(store, "b", document("a", there.text))]) == 1

    versioned(0)
    seen: list[tuple[list[str], list[str]]] = []
    with ThreadPoolExecutor(3) as pool:
        writing = pool.submit(write)

        def read() -> None:
            begin.wait(60)
            while not (writing.done() and seen):
                edges = [edge.end for edge in store.neighbours(["York"])]
                seen.append((edges, [hit.document_id for hit in store.search_terms({"storm": 1.0, "river": 1.0})]))

        readers = [pool.submit(read) for _ in range(2)]
        for each in (writing, *readers):
            each.result()
    assert {len(edges) for edges, _ in seen} == {2}
    assert {len({edge.partition("-")[0] for edge in edges}) for edges, _ in seen} == {1}
    assert {(len(documents), len(set(documents))) for _, documents in seen} == {(2, 1)}


def found(store: IndexStore, word: str) -> list[str]:
    by_words = [hit.id for hit in store.search_terms({word: 1.0})]
    assert by_words == [hit.id for hit in store.search_vectors(vector(word)) if hit.score > 0]
    return by_words


def test_a_failed_document_says_what_was_tried_until_it_is_requeued(store: IndexStore) -> None:
    store.put_failures([FailedDocument("a", "a.txt", "u", "broken", tried="v1")])
    assert [(state.status, state.tried) for state in store.document_states()] == [("failed", "v1")]
    assert store.requeue(["a", "unknown"]) == 1
    assert [(state.status, state.tried) for state in store.document_states()] == [("pending", "")]
    assert store.requeue(["a"]) == 0


def test_a_sweep_immediately_removes_data_of_runs_known_to_be_dead(store: IndexStore) -> None:
    stage(store, [document("a", "storm")], run="dead")
    stage(store, [document("b", "river")], run="elsewhere")
    assert store.sweep(alive=["me"], dead=["dead"]).versions == 1
    assert [state.id for state in store.document_states()] in (["b"], ["a", "b"])
    assert store.sweep(alive=["me"], dead=["dead"]).versions == 0
