"""After every change by another process, an open index answers like a newly opened one."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from handlers.records import stable_id
from handlers.stores import IndexStore, Rename, Restatement, TermQuery, VectorQuery, Words, open_index
from handlers.stores.sql import changes
from handlers.stores.sqlite import snapshot
from handlers.tags import TagFilter
from tests.support.index_stores import (
    WORDS,
    chunks_of,
    count_terms,
    document,
    embed,
    index_url,
    ingest,
    stage,
    vector,
)
from tests.support.profiles import scaled

TEAMS = ("sea", "law")
LINES = ("storm river", "bridge train bridge", "violin", "orchard storm storm", "river", "train violin orchard")

names = st.sampled_from(["a", "b", "c", "d"])
texts = st.lists(st.sampled_from(LINES), min_size=1, max_size=4, unique=True).map("\n".join)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("ingest"), names, texts, st.sampled_from(TEAMS)),
        st.tuples(st.just("stage"), names, texts, st.sampled_from(TEAMS)),
        st.tuples(st.just("delete"), names),
        st.tuples(st.just("rename"), names, names),
        st.tuples(st.just("remake"), names),
        st.tuples(st.just("restate"), names, st.sampled_from(TEAMS)),
    ),
    min_size=1,
    max_size=7,
)


@contextmanager
def opened(url: str) -> Iterator[IndexStore]:
    store = open_index(url)
    try:
        yield store
    finally:
        store.close()


@pytest.fixture(params=["sqlite", "postgres"])
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Makes the URL of another index."""
    if request.param == "sqlite":
        return lambda: str(tmp_path / f"{uuid.uuid4().hex}.db")
    server = request.getfixturevalue("postgres_server")
    return lambda: index_url(server, uuid.uuid4().hex)


def apply(store: IndexStore, step: int, operation: Sequence[str]) -> None:
    match operation:
        case ("ingest", name, text, team):
            ingest(store, document(name, text, tags=[("team", team)]), run=f"r{step}")
        case ("stage", name, text, team):
            stage(store, [document(name, text, tags=[("team", team)])], run=f"r{step}")
        case ("delete", name):
            store.delete([name])
        case ("rename", old, new):
            states = {each.id: each for each in store.document_states()}
            if old in states and states[old].chunk_ids and (new not in states or not states[new].content_sha256):
                (stored,) = store.read_documents([old])
                moved = {each.id: stable_id(new, each.text) for each in stored.chunks}
                store.rename([Rename(old, replace(document(new, ""), tags=(("team", "law"),)), moved)])
        case ("restate", name, team):
            store.restate([Restatement(name, tags=(("team", team),))])
        case ("remake", name):  # vectors and terms of passages that stay
            (stored,) = store.read_documents([name]) or (None,)
            if stored and stored.chunks:
                other = [replace(each, text=f"violin {each.text}") for each in stored.chunks]
                store.put_vectors(other, embed(other), run_id=f"r{step}")
                store.put_terms(other, count_terms(other), run_id=f"r{step}")
                store.restate([Restatement(name, run_id=f"r{step}")])
        case _:
            raise AssertionError(operation)


def answers(store: IndexStore) -> list[Any]:
    found: list[Any] = []
    for where in (TagFilter(), TagFilter.all_of({"team": ["sea"]})):
        for top_k in (2, 50):
            for words in (Words(), Words(every=("storm",)), Words(none=("river",))):
                limits: dict[str, Any] = {"top_k": top_k, "where": where, "words": words}
                found.append(store.search_vectors(vector("river storm"), **limits))
                found.append(store.search_terms({"storm": 1.0, "river": 2.0, "train": 0.5}, **limits))
        ids = [chunk.id for name in "abcd" for chunk in chunks_of(document(name, "\n".join(LINES)))]
        found.append(store.scores(ids, VectorQuery(vector("train")), where=where))
        found.append(store.scores(ids, TermQuery({"train": 1.0, "violin": 1.0}), where=where))
        found.append(store.occurring(WORDS, where=where))
    return found


@settings(max_examples=scaled(6), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(made=operations, asked=st.lists(st.booleans(), min_size=7, max_size=7), most_changes=st.sampled_from([1, 3, 99]))
@example(made=[("remake", "a")], asked=[False] * 7, most_changes=99)
@example(made=[("rename", "a", "b"), ("restate", "b", "sea")], asked=[True] * 7, most_changes=99)
@example(
    made=[("ingest", "a", "river", "sea"), ("ingest", "a", "violin\nriver", "law"), ("delete", "a")],
    asked=[True] * 7,
    most_changes=99,
)
@example(
    made=[("ingest", "b", "\n".join(LINES[::-1]), "sea"), ("ingest", "c", "\n".join(LINES), "law"), ("delete", "b")],
    asked=[True] * 7,
    most_changes=99,
)
def test_an_index_that_is_searched_while_it_changes_answers_as_one_opened_anew(
    fresh_url: Any, made: list[tuple[str, ...]], asked: list[bool], most_changes: int
) -> None:
    url = fresh_url()
    with pytest.MonkeyPatch.context() as patch, opened(url) as writing, opened(url) as searched:
        patch.setattr(changes, "MOST_CHANGES", most_changes)
        patch.setattr(snapshot, "_FEW_HOLES", 2)
        ingest(writing, document("a", "storm river\ntrain", tags=[("team", "sea")]))
        answers(searched)
        for step, operation in enumerate(made):
            apply(writing, step, operation)
            if asked[step]:
                answers(searched)
        with opened(url) as anew:
            assert answers(searched) == answers(anew)
