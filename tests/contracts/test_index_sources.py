"""The sources of an index and the names of its documents, the same in every store."""

import unicodedata
from dataclasses import replace

import pytest

from handlers.records import LeftOut
from handlers.stores import FailedDocument, IndexStore, Restatement, SourceRecord, copy_index
from handlers.stores.memory import MemoryIndexStore
from tests.support.index_stores import document, ingest, vector

DOCS = SourceRecord(
    "file:///docs", exclude=("**/~$*",), tags=(("team", "legal"), ("team", "sales")), run_id="r1", balance={"seen": 3}
)
PDFS = SourceRecord("file:///docs", "**/*.pdf", run_id="r2")
ONE = SourceRecord("s3://bucket/ü.txt", is_folder=False)
LEFT_OUT = [
    LeftOut("file:///docs/a.jpg", "a.jpg", "format", ".jpg"),
    LeftOut("file:///docs/.git", ".git/", "hidden", "its name begins with a dot"),
    LeftOut("file:///docs/b\\udcff.gif", "b\\udcff.gif", "name", "its name is not UTF-8; rename it"),
    LeftOut("file:///docs/c.jpg", "c.jpg", "format", ".jpg"),
]


def known(store: IndexStore) -> list[SourceRecord]:
    return [replace(each, updated_at=0.0) for each in store.sources()]


def test_sources_are_kept_by_uri_and_pattern(store: IndexStore) -> None:
    assert store.sources() == []
    for each in (ONE, PDFS, DOCS):
        store.put_source(each)
    assert known(store) == [DOCS, PDFS, ONE]
    assert all(each.updated_at > 0 for each in store.sources())
    changed = replace(DOCS, tags=(), balance={"seen": 4, "left_out": {"format": 1}})
    store.put_source(changed)
    assert known(store) == [changed, PDFS, ONE]
    assert store.forget_sources([("file:///docs", "**/*"), ("file:///docs", "*.md")]) == 1
    assert known(store) == [PDFS, ONE]


def test_what_a_source_leaves_out_is_paged_and_replaced(store: IndexStore) -> None:
    store.put_source(DOCS, LEFT_OUT)
    store.put_source(PDFS, LEFT_OUT[:1])
    assert store.left_out("file:///docs", "**/*") == LEFT_OUT
    assert store.left_out("file:///docs", "**/*", limit=2, offset=1) == LEFT_OUT[1:3]
    assert store.left_out("file:///docs", "**/*", rule="format", limit=1, offset=1) == LEFT_OUT[3:]
    assert store.left_out("file:///docs", "*.md") == []
    store.put_source(replace(DOCS, run_id="r3"))
    assert store.left_out("file:///docs", "**/*") == LEFT_OUT, "they stay when only the source is noted"
    store.put_source(DOCS, (each for each in LEFT_OUT[:1]))
    assert store.left_out("file:///docs", "**/*") == LEFT_OUT[:1]
    store.forget_sources([("file:///docs", "**/*")])
    assert store.left_out("file:///docs", "**/*") == []
    assert store.left_out("file:///docs", "**/*.pdf") == LEFT_OUT[:1]


@pytest.fixture
def filled(store: IndexStore) -> IndexStore:
    made = [
        replace(document("d1", "storm"), name="one/readme.md", uri="file:///srv/one/readme.md"),
        replace(document("d2", "river"), name="two/readme.md", uri="file:///srv/two/readme.md"),
        replace(document("d3", "train"), name="Überblick.txt", uri="file:///srv/one/Überblick.txt"),
        replace(document("d4", "violin"), name="100%_a.txt", uri="file:///srv/one/sub/100%_a.txt"),
    ]
    ingest(store, *made)
    store.put_failures([FailedDocument("d5", "broken.pdf", "file:///srv/one/broken.pdf", "damaged")])
    return store


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("one/readme.md", ["d1"]),
        ("readme.md", ["d1", "d2"]),
        ("README.md", []),
        ("d2", ["d2"]),
        ("file:///srv/two/readme.md", ["d2"]),
        ("file:///srv/two/../two//readme.md", ["d2"]),
        ("srv/one/readme.md", ["d1"]),
        (unicodedata.normalize("NFD", "Überblick.txt"), ["d3"]),
        ("sub/100%_a.txt", ["d4"]),
        ("100xxa.txt", []),
        ("eadme.md", []),
        ("broken.pdf", ["d5"]),
        ("one/broken.pdf", ["d5"]),
    ],
)
def test_a_document_is_found_by_its_name_the_end_of_it_its_uri_or_its_id(
    filled: IndexStore, name: str, ids: list[str]
) -> None:
    assert [row.id for row in filled.lookup(name)] == ids
    assert [row.id for row in filled.lookup(name, limit=1)] == ids[:1]


def test_documents_are_named_whatever_their_status(filled: IndexStore) -> None:
    before = filled.statistics()
    assert filled.name_documents({"d1": "new/a.md", "d5": "new/b.pdf", "unknown": "c"}) == 2
    assert [(each.id, each.name) for each in filled.document_places(limit=3)] == [
        ("d1", "new/a.md"),
        ("d2", "two/readme.md"),
        ("d3", "Überblick.txt"),
    ]
    assert [each.id for each in filled.document_places(after="d3")] == ["d4", "d5"]
    assert {hit.name for hit in filled.search_vectors(vector("storm"), top_k=1)} == {"new/a.md"}
    assert {row.name for row in filled.documents(status="failed")} == {"new/b.pdf"}
    assert filled.statistics() == before


def test_a_document_whose_new_facets_are_confirmed_is_processed(filled: IndexStore) -> None:
    failure = FailedDocument("d1", "one/readme.md", "file:///srv/one/readme.md", "its batch failed")
    filled.put_failures([failure])
    filled.restate([Restatement("d1", revision="r")])
    assert filled.known(["d1"])["d1"].status == "failed"
    filled.restate([Restatement("d1", fingerprint="", run_id="r1")])
    row = filled.known(["d1"])["d1"]
    assert (row.status, row.reason) == ("processed", "")


def test_a_copy_has_the_sources_too(filled: IndexStore) -> None:
    filled.put_source(DOCS, LEFT_OUT)
    copy = MemoryIndexStore()
    assert copy_index(filled, copy).matches
    assert known(copy) == [DOCS]
    assert copy.left_out("file:///docs", "**/*") == LEFT_OUT
