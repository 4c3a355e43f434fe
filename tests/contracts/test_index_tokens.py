"""Token vectors in every kind of index: they are stored and removed with the vectors, and score only permitted
passages.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from flows.author import Call
from flows.state import Identity, Services
from handlers.ingestion.embeddings import generate_dense_embeddings, generate_sparse_embeddings
from handlers.ingestion.storing import publish_documents, store_dense_vectors, store_documents, store_sparse_vectors
from handlers.records import Chunk, Document, Embeddings
from handlers.retrieval.merging import hybrid_merge
from handlers.retrieval.searching import keyword_search, vector_search
from handlers.stores import IndexStore, PinnedIndex, Restatement, TokenQuery, copy_index, prove
from handlers.stores.memory import MemoryIndexStore
from handlers.tags import TagFilter
from handlers.token_vectors import late_interaction, pack
from tests.support.embedders import HashedWords
from tests.support.index_stores import chunks_of, document, embed, token_vectors

MADE = [document("a", "storm river\nbridge", tags=[("team", "x")]), document("b", "storm train\nand so on")]
CHUNKS = [chunk for each in MADE for chunk in chunks_of(each)]
QUERY = TokenQuery(token_vectors("storm bridge"), "words")


def publish(store: IndexStore, documents: Sequence[Document], run: str = "r1", *, tokens: bool = True) -> None:
    chunks = [chunk for each in documents for chunk in chunks_of(each)]
    versions = store.put_documents(documents, chunks, run_id=run)
    store.put_vectors(chunks, embed(chunks, tokens=tokens), run_id=run)
    store.publish(versions, expect=("vectors",))


def scored(store: IndexStore, query: TokenQuery = QUERY, where: TagFilter | None = None) -> dict[str, float]:
    scores = store.scores([chunk.id for chunk in CHUNKS], query, where=where)
    return {chunk.text: scores[chunk.id] for chunk in CHUNKS if chunk.id in scores}


def test_given_chunks_are_scored_token_by_token(store: IndexStore) -> None:
    publish(store, MADE)
    expected = late_interaction(QUERY.tokens, embed(CHUNKS, tokens=True).tokens)
    assert expected[3] is None  # no word of it has a vector
    assert scored(store) == {c.text: score for c, score in zip(CHUNKS, expected, strict=True) if score is not None}
    assert store.statistics()["token_vectors"] == 3
    assert scored(store, TokenQuery(QUERY.tokens, "other")) == {}
    assert scored(store, TokenQuery(QUERY.tokens[:0], "words")) == {}
    assert scored(store, where=TagFilter.all_of({"team": ["x"]})).keys() == {"storm river", "bridge"}


def test_they_become_visible_with_the_version_and_go_with_the_vectors(store: IndexStore) -> None:
    publish(store, MADE, tokens=False)
    assert scored(store) == {}
    chunks = chunks_of(MADE[0])
    store.put_vectors(chunks, embed(chunks, tokens=True), run_id="r2")
    assert scored(store) == {}
    store.publish(store.put_documents(MADE[:1], chunks, run_id="r2"), expect=("vectors",))
    assert scored(store).keys() == {"storm river", "bridge"}
    store.put_vectors(chunks, embed(chunks, tokens=False), run_id="dead")
    store.sweep(older_than_s=0)
    assert scored(store).keys() == {"storm river", "bridge"}
    publish(store, MADE[:1], "r3", tokens=False)
    assert scored(store) == {}
    publish(store, MADE, "r4")
    store.delete(["a"])
    assert (scored(store).keys(), store.statistics()["token_vectors"]) == ({"storm train"}, 1)


def test_they_are_content(store: IndexStore) -> None:
    publish(store, MADE, tokens=False)
    without = store.fingerprint()
    publish(store, MADE, "r2")
    assert store.fingerprint() != without
    copy = MemoryIndexStore()
    assert copy_index(store, copy).matches
    assert scored(copy) == scored(store)


def embed_reversed(chunks: Sequence[Chunk]) -> Embeddings:
    """Token vectors as another model would return them."""
    rows = np.ascontiguousarray(embed(chunks).vectors[:, ::-1])
    packed = tuple(pack(np.ascontiguousarray(token_vectors(chunk.text)[:, ::-1])) for chunk in chunks)
    return Embeddings(tuple(chunk.id for chunk in chunks), rows, "reversed", packed)


def test_each_version_of_an_index_has_its_own(store: IndexStore) -> None:
    publish(store, MADE)
    old = scored(store)
    beside: Any = PinnedIndex(store, store.begin_version("reversed"))
    beside.note_way("vectors=new")
    for each in MADE:
        beside.put_vectors(chunks_of(each), embed_reversed(chunks_of(each)), run_id="r2")
        beside.restate([Restatement(each.id, fingerprint="vectors=new", run_id="r2")])
        assert scored(store) == old
    assert beside.unfinished() == []
    question = TokenQuery(np.ascontiguousarray(QUERY.tokens[:, ::-1]), "reversed")
    new = scored(beside, question)
    assert new.keys() == old.keys()
    fresh: dict[str, Any] = {}
    for name, made in (("1", embed(CHUNKS, tokens=True)), ("2", embed_reversed(CHUNKS))):
        other = MemoryIndexStore()
        versions = other.put_documents(MADE, CHUNKS, run_id="r1")
        other.put_vectors(CHUNKS, made, run_id="r1")
        other.publish(versions, expect=("vectors",))
        fresh[name] = other.read_documents(["a", "b"])
    for active in ("2", "1", "2"):  # switched to, rolled back, switched to again
        store.switch_version(active)
        assert scored(store, QUERY if active == "1" else question) == (old if active == "1" else new)
        assert store.statistics()["token_vectors"] == 3
        for name in fresh:
            assert prove(PinnedIndex(store, name), fresh[name]).holds  # pyright: ignore[reportArgumentType]: an index
    store.remove_version("1")
    assert (scored(store, question), scored(store)) == (new, {})
    assert prove(store, fresh["2"]).holds


def test_those_of_too_few_chunks_are_refused(store: IndexStore) -> None:
    given = embed(CHUNKS, tokens=True)
    with pytest.raises(ValueError, match="1 token vectors for 4 chunks"):
        store.put_vectors(CHUNKS, Embeddings(given.chunk_ids, given.vectors, given.model, given.tokens[:1]))


TEXTS = {
    "a": "the valve of the pump is opened slowly",
    "b": "opened slowly the lid of the tank",
    "c": "a pump and a valve and a tank",
    "d": "valve pump slowly",
    "e": "the tank has a lid",
}


def a_call(store: IndexStore) -> Call:
    services = Services({"index_store": lambda: store, "embedder": HashedWords})
    return Call(identity=Identity(run_id="r", index="tokens", services=services))


def ingest(call: Call, names: str, *, token_vectors: bool = True) -> None:
    documents = [document(name, TEXTS[name], tags=[("team", "x" if name in "abd" else "y")]) for name in names]
    chunks = [chunk for each in documents for chunk in chunks_of(each)]
    publish_documents(
        store_documents(documents, chunks, call=call),
        store_dense_vectors(
            chunks, generate_dense_embeddings(chunks, token_vectors=token_vectors, call=call), call=call
        ),
        store_sparse_vectors(chunks, generate_sparse_embeddings(chunks, call=call), call=call),
        call=call,
    )


def fused(
    call: Call, query: str, *, access: Mapping[str, Sequence[str]] | None = None, **fusion: Any
) -> dict[str, Any]:
    by_vector = vector_search(query, access=access, with_text=False, call=call)
    by_words = keyword_search(query, access=access, with_text=False, call=call)
    return hybrid_merge(query, vector_hits=by_vector, keyword_hits=by_words, access=access, call=call, **fusion)


def test_a_filter_fuses_as_in_an_index_without_the_others(store: IndexStore) -> None:
    ours, alone = a_call(store), a_call(MemoryIndexStore())
    ingest(ours, "abcde")
    ingest(alone, "abd")
    for query in ("opened the pump slowly", "valve", "lid of a tank"):
        found, wanted = fused(ours, query, access={"team": ["x"]}), fused(alone, query)
        assert [hit.id for hit in found["results"]] == [hit.id for hit in wanted["results"]]
        assert [hit.score for hit in found["results"]] == pytest.approx([hit.score for hit in wanted["results"]])
        assert found["candidates"] == wanted["candidates"]
        assert found["token_scores"] == pytest.approx(wanted["token_scores"])


def test_candidates_without_token_vectors_are_counted_and_fused(store: IndexStore) -> None:
    call = a_call(store)
    ingest(call, "ace", token_vectors=True)
    ingest(call, "bd", token_vectors=False)
    found = fused(call, "opened the pump slowly")
    assert (found["candidates"], len(found["token_scores"])) == (5, 3)
    have = {hit.document_id for hit in found["results"] if "token" in hit.scores}
    assert have == set("ace")
    assert np.all(np.diff(list(found["token_scores"].values())) <= 0)
    without = fused(call, "opened the pump slowly", weights={"token": 0})
    assert without["token_scores"] == {}
    order = [hit.document_id for hit in found["results"] if hit.document_id in "bd"]
    assert order == [hit.document_id for hit in without["results"] if hit.document_id in "bd"]
