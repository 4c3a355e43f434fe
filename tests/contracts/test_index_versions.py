"""Two versions of an index side by side: built beside the active one, switched, gone back to and removed, in every store."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flows.errors import FatalError
from handlers.records import Chunk, Document, Embeddings, stable_id
from handlers.stores import IndexStore, IndexWriter, PinnedIndex, Rename, Restatement, StoredDocument
from tests.support.index_stores import (
    WORDS,
    chunks_of,
    count_terms,
    document,
    embed,
    facts,
    ingest,
    make_store,
    stage,
    vector,
)

pytest_plugins = ["tests.support.index_stores"]
OLD, NEW = "words", "reversed"
WAY = {OLD: "documents=1 graph=1 terms=1 vectors=old", NEW: "documents=1 graph=1 terms=1 vectors=new"}
TEXTS = ("storm river\nbridge train", "orchard Ada met Byron\nviolin", "river\nbridge", "train violin\nstorm\norchard")


def embedded(chunks: Sequence[Chunk], model: str) -> Embeddings:
    made = embed(chunks)
    return replace(made, model=model, vectors=made.vectors[:, ::-1].copy() if model == NEW else made.vectors)


def write(store: IndexWriter, *documents: Document, model: str = OLD, run: str = "r1") -> None:
    """Ingest documents as a pipeline with a model does."""
    chunks = [chunk for made in documents for chunk in chunks_of(made)]
    versions = store.put_documents(documents, chunks, run_id=run, fingerprint=WAY[model])
    store.put_vectors(chunks, embedded(chunks, model), run_id=run)
    store.put_terms(chunks, count_terms(chunks), run_id=run)
    store.put_graph(chunks, *facts(chunks), run_id=run)
    store.publish(versions, expect=("vectors", "terms", "facts"))


def refresh(store: IndexStore, *ids: str, model: str = NEW, run: str = "refresh") -> None:
    """Recompute the vectors of stored documents, like a pipeline with another model."""
    for document_id in ids:
        chunks = store.chunks_of(document_id)
        store.put_vectors(chunks, embedded(chunks, model), run_id=run)
        store.restate([Restatement(document_id, fingerprint=WAY[model], run_id=run)])


def begin(store: IndexStore, model: str = NEW, name: str | None = None) -> IndexStore:
    made = store.begin_version(model, name)
    beside: IndexStore = PinnedIndex(store, made)  # pyright: ignore[reportAssignmentType]: it passes every call on
    beside.note_way(WAY[model])
    return beside


def content(store: IndexStore) -> list[StoredDocument]:
    """The content of a version of an index, without vectors, times and run ids."""
    ids = [state.id for state in store.document_states()]
    read = [each for each in store.read_documents(ids) if each.searchable]
    return [replace(each, vectors={}, run_id="", fingerprint="") for each in read]


def filled(store: IndexStore) -> list[Document]:
    made = [document(f"d{number}", text, tags=[("team", "x")]) for number, text in enumerate(TEXTS)]
    write(store, *made)
    return made


def test_a_model_is_built_beside_the_old_one_and_switched_to(store: IndexStore) -> None:
    documents = filled(store)
    before, question = store.fingerprint(), vector("river storm")
    found = store.search_vectors(question, model=OLD)
    beside = begin(store)
    assert [(each.name, each.state, each.model) for each in store.versions()] == [
        ("1", "active", OLD),
        ("2", "being built", NEW),
    ]
    for number, each in enumerate(documents):
        assert len(beside.unfinished()) == len(documents) - number
        refresh(beside, each.id)
        assert store.fingerprint() == before
        assert store.search_vectors(question, model=OLD) == found
    assert beside.unfinished() == []
    assert beside.statistics()["vectors"] == store.statistics()["vectors"]
    assert store.switch_version("2") == "1"
    assert store.search_vectors(question[::-1].copy(), model=NEW) == found
    with pytest.raises(FatalError, match=f"vectors of '{NEW}'"):
        store.search_vectors(question, model=OLD)
    assert store.switch_version("1") == "2"
    assert store.fingerprint() == before
    store.switch_version("2")
    store.remove_version("1")
    assert [(each.name, each.state, each.model) for each in store.versions()] == [("2", "active", NEW)]
    assert store.search_vectors(question[::-1].copy()) == found
    assert {model for each in store.read_documents(["d0"]) for model, _ in each.vectors.values()} == {NEW}
    begin(store, OLD)
    store.remove_version("3")
    assert store.search_vectors(question[::-1].copy()) == found


def test_a_new_version_shares_what_is_the_same(store: IndexStore) -> None:
    filled(store)
    before = store.size_bytes()
    beside = begin(store, OLD)
    assert content(beside) == content(store)
    assert beside.statistics() == store.statistics()
    write(beside, document("d0", "storm river\nviolin"))
    ids = [{chunk.id for chunk in each.chunks_of("d0")} for each in (store, beside)]
    assert len(ids[0] & ids[1]) == 1
    assert store.size_bytes() <= 1.5 * before + 50_000


def test_what_the_active_version_gets_lands_in_both(store: IndexStore) -> None:
    filled(store)
    beside = begin(store)
    refresh(beside, "d0", "d1", "d2", "d3")
    write(store, document("d0", "orchard train"), document("d9", "bridge"), run="r2")
    store.delete(["d1"])
    store.restate([Restatement("d2", tags=(("team", "y"),))])
    store.name_documents({"d3": "three.txt"})
    assert content(beside) == content(store)
    assert beside.unfinished() == ["d0", "d9"]
    assert beside.tags_of(["d2"]) == {"d2": (("team", "y"),)}
    refresh(beside, "d0", "d9")
    assert beside.unfinished() == []


def test_what_belongs_to_documents_as_such_changes_in_both(store: IndexStore) -> None:
    filled(store)
    beside = begin(store)
    refresh(beside, "d0")
    beside.restate([Restatement("d0", tags=(("team", "z"),)), Restatement("d1", tags=(("team", "z"),))])
    moved = document("moved", TEXTS[2])
    ids = {chunk.id: stable_id("moved", chunk.text) for chunk in beside.chunks_of("d2")}
    beside.rename([Rename("d2", moved, ids)])
    beside.delete(["d3"])
    for each in (store, beside):
        assert [state.id for state in each.document_states()] == ["d0", "d1", "moved"]
        assert set(each.tags_of(["d0", "d1"]).values()) == {(("team", "z"),)}


def test_a_document_of_two_versions_moves_with_both(store: IndexStore) -> None:
    filled(store)
    beside = begin(store, OLD)
    write(beside, document("d0", "storm river\nviolin"), run="r2")
    texts = [[chunk.text for chunk in each.chunks_of("d0")] for each in (store, beside)]
    ids = {chunk.id: stable_id("moved", chunk.text) for chunk in beside.chunks_of("d0")}
    assert beside.rename([Rename("d0", document("moved", "storm river\nviolin"), ids)]) == 1
    assert [[chunk.text for chunk in each.chunks_of("moved")] for each in (store, beside)] == texts
    for each in (store, beside):
        assert {hit.document_id for hit in each.search_terms({"storm": 1.0})} == {"moved", "d3"}
        assert each.chunks_of("d0") == []


def test_terms_made_anew_beside_are_no_longer_vouched_for_by_the_active_version(store: IndexStore) -> None:
    filled(store)
    beside = begin(store)
    chunks = beside.chunks_of("d0")
    beside.put_terms(chunks, count_terms(chunks), run_id="r2")
    beside.put_vectors(chunks, embedded(chunks, NEW), run_id="r2")
    way = WAY[NEW].replace("terms=1", "terms=2")
    beside.restate([Restatement("d0", fingerprint=way, run_id="r2")])
    made = {each.id: each.fingerprint for each in store.document_states()}
    assert made["d0"] == WAY[OLD].replace(" terms=1", "")
    assert made["d1"] == WAY[OLD]
    assert {each.id: each.fingerprint for each in beside.document_states()}["d0"] == way


def test_only_two_versions_are_there_at_a_time(store: IndexStore) -> None:
    filled(store)
    begin(store)
    assert store.begin_version(NEW) == "2"
    with pytest.raises(FatalError, match="version '2' is being built with the model"):
        store.begin_version("third")
    with pytest.raises(FatalError, match="version '2' is being built already"):
        store.begin_version(NEW, "other")
    with pytest.raises(FatalError, match="no version '7'; it has '1', '2'"):
        store.switch_version("7")
    with pytest.raises(FatalError, match="version '1' is in use for questions"):
        store.remove_version("1")
    store.switch_version("2")
    assert store.begin_version("third", "chosen") == "chosen"
    assert [each.name for each in store.versions()] == ["2", "chosen"]
    gone: IndexStore = PinnedIndex(store, "1")  # pyright: ignore[reportAssignmentType]
    with pytest.raises(FatalError, match="no version '1'"):
        gone.statistics()


def test_what_two_runs_stage_for_two_versions_does_not_mix(store: IndexStore) -> None:
    filled(store)
    beside = begin(store, OLD)
    write(beside, document("d0", "storm river\nviolin"), run="b0")
    mine, theirs = document("d0", "storm river\norchard"), document("d0", "violin\ntrain")
    staged = stage(store, [mine], run="active")
    write(beside, theirs, run="beside")
    assert [chunk.text for chunk in beside.chunks_of("d0")] == ["violin", "train"]
    assert [chunk.text for chunk in store.chunks_of("d0")] == TEXTS[0].split("\n")
    store.publish(staged, expect=("vectors", "terms", "facts"))
    assert content(store) == content(beside)
    assert [chunk.text for chunk in store.chunks_of("d0")] == ["storm river", "orchard"]


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.booleans(), st.integers(0, 3), st.integers(0, 3)),
        st.tuples(st.just("refresh"), st.booleans(), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("tag"), st.booleans(), st.integers(0, 3), st.integers(0, 3)),
        st.tuples(st.just("delete"), st.booleans(), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("switch"), st.booleans(), st.just(0), st.just(0)),
    ),
    max_size=8,
)


@pytest.mark.parametrize("kind", ["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=OPERATIONS)
@example([("write", True, 0, 0), ("delete", False, 1, 0), ("write", False, 1, 0), ("tag", True, 1, 0)])
def test_two_versions_are_as_two_indexes(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, operations: list[tuple[str, bool, int, int]]
) -> None:
    """Each version equals a separate index with the same writes."""
    with (
        make_store(kind, request, tmp_path) as store,
        make_store("memory", request, tmp_path) as one,
        make_store("memory", request, tmp_path) as other,
    ):
        for each in (store, one, other):
            filled(each)
        begin(store)
        alone, active = {"1": one, "2": other}, "1"
        for number, (what, is_active, which, text) in enumerate(operations):
            name = active if is_active else ({"1", "2"} - {active}).pop()
            model = OLD if name == "1" else NEW
            pinned: IndexStore = PinnedIndex(store, name)  # pyright: ignore[reportAssignmentType]
            changed = list(alone.values()) if is_active or what in ("tag", "delete") else [alone[name]]
            match what:
                case "write":
                    made = document(f"d{which}", TEXTS[text], tags=[("team", f"w{text}")])
                    for each in (pinned, *changed):
                        write(each, made, model=model, run=f"r{number}")
                case "refresh":
                    if pinned.known([f"d{which}"]):
                        refresh(pinned, f"d{which}", model=model, run=f"r{number}")
                case "tag":
                    # Tags of a document that this version lacks stay as they are in the other one.
                    here = any(each.searchable for each in pinned.read_documents([f"d{which}"]))
                    for each in (pinned, *changed) if here else ():
                        each.restate([Restatement(f"d{which}", tags=(("team", f"t{text}"),))])
                case "delete":
                    for each in (pinned, *changed):
                        each.delete([f"d{which}"])
                case _:
                    store.switch_version(name)
                    active = name
            for version, expected in alone.items():
                seen: IndexStore = PinnedIndex(store, version)  # pyright: ignore[reportAssignmentType]
                assert content(seen) == content(expected)
                for terms in ({"river": 1.0}, {"violin": 1.0, "storm": 0.5}):
                    assert seen.search_terms(terms) == expected.search_terms(terms)
                assert seen.find_entities(["Ada", "Byron"]) == expected.find_entities(["Ada", "Byron"])
                assert seen.tag_values("team") == expected.tag_values("team")
        store.remove_version(({"1", "2"} - {active}).pop())
        assert content(store) == content(alone[active])
        assert store.search_terms({"river": 1.0}) == alone[active].search_terms({"river": 1.0})
        assert store.sweep(older_than_s=0).chunks == 0


def test_questions_during_a_change_of_model_are_neither_mixed_nor_failed(store: IndexStore) -> None:
    """The long form is `bench/change_of_model.py`."""
    documents = [document(f"d{number}", f"{WORDS[number % 6]} old\nshared {WORDS[number % 5]}") for number in range(12)]
    write(store, *documents)
    failures: list[BaseException] = []
    asked, done = [0], threading.Event()

    def ask() -> None:
        try:
            while not done.is_set() or asked[0] < 300:
                active = store.versions()[0]
                pinned: IndexStore = PinnedIndex(store, active.name)  # pyright: ignore[reportAssignmentType]
                question = vector("river storm")
                by_meaning = pinned.search_vectors(
                    question[::-1] if active.model == NEW else question, model=active.model
                )
                by_words = pinned.search_terms({"old": 1.0, "new": 1.0})
                assert len(by_meaning) == 24
                assert {"new" if active.model == NEW else "old"} == {hit.content.split()[1] for hit in by_words}
                scored = pinned.scores([hit.id for hit in by_words], _query(question, active.model))
                assert len(scored) == len(by_words) == 12
                asked[0] += 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for each in threads:
        each.start()
    beside = begin(store)
    for number, each in enumerate(documents):
        changed = document(each.id, each.text.replace(" old", " new"))
        write(beside, changed, model=NEW, run=f"b{number}")
    assert beside.unfinished() == []
    for name in ("2", "1", "2"):
        store.switch_version(name)
    done.set()
    for each in threads:
        each.join()
    assert not failures
    assert asked[0] >= 300


def _query(question: np.ndarray, model: str):
    from handlers.stores import VectorQuery

    return VectorQuery(question[::-1].copy() if model == NEW else question, model)


def test_an_index_without_vectors_has_versions_too(store: IndexStore) -> None:
    ingest(store, document("a", ""))
    beside = begin(store)
    assert beside.unfinished() == ["a"]
    assert store.switch_version("2") == "1"
