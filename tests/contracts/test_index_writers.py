"""Concurrent runs on one document: each publishes only its own work, or nothing."""

from collections.abc import Callable, Sequence
from functools import partial

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from flows.errors import FatalError
from handlers.records import Chunk, Entity, SparseVector
from handlers.stores import IndexStore, Restatement
from handlers.stores.memory import MemoryIndexStore
from handlers.stores.rows import SweepCounts
from tests.support.index_stores import chunks_of, count_terms, document, embed, stage, vector
from tests.support.profiles import scaled


def told(model: str) -> str:
    """The fingerprint of a document whose facets were all made by a model."""
    return f"vectors={model} terms={model} graph={model}"


def writers(store: IndexStore, chunks: Sequence[Chunk], model: str, run: str) -> dict[str, Callable[[], object]]:
    """The functions with which a run stages facets of chunks; the values identify the model."""
    terms = [SparseVector(each.id, ((model, 1),), 1) for each in chunks]
    entities = [Entity(model, "NAME", each.document_id, each.id) for each in chunks]
    return {
        "vectors": lambda: store.put_vectors(chunks, embed(chunks, model, tokens=model != "two"), run_id=run),
        "terms": lambda: store.put_terms(chunks, terms, run_id=run),
        "facts": lambda: store.put_graph(chunks, entities, [], run_id=run),
    }


def made_by(store: IndexStore, text: str, model: str) -> None:
    """Stage and publish a document whose facets are all made by one model."""
    made = document("a", text)
    chunks = chunks_of(made)
    for write in writers(store, chunks, model, model).values():
        write()
    versions = store.put_documents([made], chunks, run_id=model, fingerprint=told(model))
    store.publish(versions, expect=("vectors", "terms", "facts"))


def test_what_a_run_stages_beside_another_stays_when_that_is_swept(store: IndexStore) -> None:
    made = document("a", "orchard\nstorm")
    chunks = chunks_of(made)
    store.put_vectors(chunks, embed(chunks, "other"), run_id="dead")
    store.put_terms(chunks, count_terms(chunks), run_id="alive")
    assert store.sweep(alive=["alive"], older_than_s=0) == SweepCounts(chunks=2)
    versions = store.put_documents([made], chunks, run_id="alive")
    with pytest.raises(FatalError, match="'a': 2 of its chunks have no vectors stored"):
        store.publish(versions, expect=("vectors", "terms"))
    store.put_vectors(chunks, embed(chunks), run_id="alive")
    assert store.sweep(alive=["alive"], older_than_s=0) == SweepCounts()
    store.publish(versions, expect=("vectors", "terms"))
    assert [hit.id for hit in store.search_terms({"storm": 1.0})] == [chunks[1].id]
    assert store.search_vectors(vector("orchard"), top_k=1)[0].id == chunks[0].id


def test_of_two_writers_of_a_document_one_wins(store: IndexStore) -> None:
    first = stage(store, [document("a", "storm\nriver")], run="one")
    second = stage(store, [document("a", "storm\nbridge")], run="two")
    store.publish(first, expect=("vectors", "terms"))
    with pytest.raises(FatalError, match="another run may have replaced it: ingest it again"):
        store.publish(second, expect=("vectors", "terms"))
    assert [chunk.text for chunk in store.chunks_of("a")] == ["storm", "river"]
    assert len(store.search_terms({"storm": 1.0, "bridge": 1.0})) == 1


def test_of_two_writers_of_the_same_the_other_has_nothing_left_to_do(store: IndexStore) -> None:
    first = stage(store, [document("a", "storm\nriver", tags=[("team", "x")])], run="one")
    second = stage(store, [document("a", "storm\nriver", tags=[("team", "x")])], run="two")
    other = stage(store, [document("a", "storm\nriver", tags=[("team", "y")])], run="three")
    assert store.publish(first, expect=("vectors", "terms", "facts")) == 1
    before = store.fingerprint()
    assert store.publish(second, expect=("vectors", "terms", "facts")) == 1
    with pytest.raises(FatalError, match="another run may have replaced it: ingest it again"):
        store.publish(other)
    assert store.fingerprint() == before
    store.restate([Restatement("a", fingerprint="vectors=2")])
    with pytest.raises(FatalError, match="another run may have replaced it: ingest it again"):
        store.publish(second)


@settings(max_examples=scaled(12), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_what_two_runs_make_in_different_ways_is_never_mixed(store: IndexStore, data: st.DataObject) -> None:
    store.delete(["a"])
    if data.draw(st.booleans(), label="visible before"):
        made_by(store, "storm\nriver", "before")
    made = document("a", "storm\nriver\nbridge")
    chunks = chunks_of(made)
    versions: dict[str, dict[str, str]] = {}

    def put(model: str) -> None:
        versions[model] = store.put_documents([made], chunks, run_id=model, fingerprint=told(model))

    def publish(model: str) -> None:
        try:
            store.publish(versions[model], expect=("vectors", "terms", "facts"))
        except FatalError as error:
            refused.append(str(error))
        else:
            published.append(model)

    def steps_of(model: str) -> list[Callable[[], object]]:
        ways = writers(store, chunks, model, model)
        steps = {**ways, "text": partial(put, model)}
        order = data.draw(st.permutations(sorted(steps)), label=model)
        return [*(steps[each] for each in order), partial(publish, model)]

    todo = {model: steps_of(model) for model in ("one", "two")}
    published: list[str] = []
    refused: list[str] = []
    while left := [model for model, steps in todo.items() if steps]:
        model = data.draw(st.sampled_from(left), label="next")
        run = todo[model].pop(0)
        run()
    [*_, last] = published  # one of them always gets there
    fresh = MemoryIndexStore()
    made_by(fresh, made.text, last)
    assert all("ingest it again" in each for each in refused)
    assert store.fingerprint() == fresh.fingerprint()
    store.sweep(older_than_s=0)
    assert store.fingerprint() == fresh.fingerprint()
    assert store.statistics() == fresh.statistics()


def test_staged_data_of_a_dead_run_is_not_published_with_that_of_the_next(store: IndexStore) -> None:
    made = document("a", "storm at York\nriver")
    stage(store, [made], run="dead")
    chunks = chunks_of(made)
    versions = store.put_documents([made], chunks, run_id="next")
    store.put_terms(chunks, count_terms(chunks), run_id="next")
    store.publish(versions, expect=("terms",))
    assert store.find_entities(["York"]) == {}
    assert store.search_vectors(vector("storm")) == []
    assert len(store.search_terms({"storm": 1.0})) == 1


def test_a_refresh_is_refused_when_another_run_has_made_something_anew_meanwhile(store: IndexStore) -> None:
    made_by(store, "storm\nriver", "zero")
    chunks = chunks_of(document("a", "storm\nriver"))
    writers(store, chunks, "one", "one")["vectors"]()
    writers(store, chunks, "two", "two")["terms"]()
    store.publish(stage(store, [document("b", "bridge")]))
    assert store.restate([Restatement("a", fingerprint="vectors=zero terms=two graph=zero", run_id="two")]) == 1
    before = store.fingerprint()
    with pytest.raises(FatalError, match="'a': another run has meanwhile replaced the terms of 2 of its chunks"):
        store.restate(
            [
                Restatement("b", revision="r"),
                Restatement("a", fingerprint="vectors=one terms=zero graph=zero", run_id="one"),
            ]
        )
    assert store.fingerprint() == before
    assert [state.revision for state in store.document_states()] == ["", ""]
    assert store.restate([Restatement("a", fingerprint="vectors=one terms=two graph=zero", run_id="one")]) == 1
    assert len(store.search_terms({"two": 1.0})) == 2
    assert len(store.search_vectors(vector("storm"), model="one")) == 2
