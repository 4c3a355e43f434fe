"""Retrievers for other frameworks, with the real packages where they are installed."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments import Connection, connect
from deployments.settings import Settings
from tests.support.tagged_index import Tagged, make_index

DOCUMENTS = [Tagged(1, {"team": ["legal"]}), Tagged(2, {"team": ["sales"]})]
QUESTION = "How is the pump cleaned?"


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    settings = Settings(home=tmp_path, embedding_model="hashing")
    make_index(settings, "manuals", DOCUMENTS, tmp_path / "files")
    with connect("manuals", settings=settings) as made:
        yield made


def test_langchain(connection: Connection) -> None:
    pytest.importorskip("langchain_core", reason="needs the extra langchain")
    from deployments.retrievers.for_langchain import BraidRetriever

    retriever = BraidRetriever(connection=connection, top=2, filters={"team": ["legal"]})
    found = retriever.invoke(QUESTION)
    assert "pump" in found[0].page_content
    assert {each.metadata["document"] for each in found} == {DOCUMENTS[0].name}


@pytest.mark.filterwarnings("ignore")
def test_llama_index(connection: Connection) -> None:
    pytest.importorskip("llama_index.core", reason="needs the extra llama-index")
    from deployments.retrievers.for_llama_index import BraidRetriever

    found = BraidRetriever(connection, top=2, filters={"team": ["legal"]}).retrieve(QUESTION)
    assert "pump" in found[0].node.get_content()
    assert {each.node.metadata["document"] for each in found} == {DOCUMENTS[0].name}
    assert found[0].score == connection.search(QUESTION, top=2, filters={"team": ["legal"]}).hits[0].score


@pytest.mark.filterwarnings("ignore")
def test_haystack(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "HAYSTACK_TELEMETRY_ENABLED", "False")
    pytest.importorskip("haystack", reason="needs the extra haystack")
    from haystack import Pipeline  # pyright: ignore[reportMissingImports] (an extra)

    from deployments.retrievers.for_haystack import BraidRetriever

    pipeline = Pipeline()
    pipeline.add_component("braid", BraidRetriever(connection, top=2, filters={"team": ["legal"]}))
    found = pipeline.run({"braid": {"query": QUESTION}})["braid"]["documents"]
    assert "pump" in found[0].content
    assert {each.meta["document"] for each in found} == {DOCUMENTS[0].name}
