"""`find_changes`, with tables on disk, agrees with a comparison of dictionaries."""

import hashlib
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.author import Call
from flows.state import DiskSequence, Identity, Services
from flows.storage import Storage, StoredObject
from handlers.ingestion.batching import Batching, make_batches
from handlers.ingestion.changes import find_changes
from handlers.records import Document, SourceFile
from handlers.sources import list_sources
from handlers.stores.memory import MemoryIndexStore
from tests.support.profiles import scaled

names = st.sampled_from(["a.txt", "b.txt", "ab.txt", "d/a.txt", "d/é.txt", "d-e.txt", "skip/a.txt"])
contents = st.sampled_from(["one", "two", "three", "four"])
files = st.dictionaries(names, contents)
ROOT, OTHER = "memory://changes/in", "memory://changes/other"


def source_of(name: str, content: str, root: str = ROOT) -> SourceFile:
    return SourceFile(f"{root}/{name}", name, len(content), 1.0, etag=None, certain=False)


def indexed(store: MemoryIndexStore, old: dict[str, str], root: str) -> None:
    for name, content in old.items():
        source = source_of(name, content, root)
        digest = hashlib.sha256(content.encode()).hexdigest()
        document = Document(source.document_id, name, source.uri, name, "text/plain", content, digest)
        store.publish(store.put_documents([document], [], revisions={source.document_id: source.revision}))


def call_on(old: dict[str, str], new: dict[str, str], elsewhere: dict[str, str]) -> Call:
    store, storage = MemoryIndexStore(), Storage()
    indexed(store, elsewhere, OTHER)
    indexed(store, old, ROOT)
    for name, content in new.items():
        storage.write(f"{ROOT}/{name}", content.encode())
    return Call(identity=Identity(services=Services({"storage": lambda: storage, "index_store": lambda: store})))


@given(old=files, new=st.dictionaries(names, contents, min_size=1), elsewhere=files, force=st.booleans())
@settings(max_examples=scaled(40))
def test_it_finds_what_a_comparison_of_dictionaries_finds(
    old: dict[str, str], new: dict[str, str], elsewhere: dict[str, str], force: bool
) -> None:
    call = call_on(old, new, elsewhere)
    found = find_changes(
        DiskSequence(source_of(name, new[name]) for name in sorted(new)),
        ROOT,
        force,
        exclude=["skip/**"],
        prune=True,
        max_prune_share=1.0,
        call=call,
    )
    # What is elsewhere under the same name makes no difference.
    changed = {name for name in new if name in old and (force or old[name] != new[name])}
    missing = {name for name in old if name not in new and name != "skip/a.txt"}
    added = sorted(name for name in new if name not in old)
    gone, come = Counter(old[name] for name in missing), Counter(new[name] for name in added)
    moved = Counter[str]() if force else gone & come
    processed = [source.uri.removeprefix(f"{ROOT}/") for batch in found["batches"] for source in batch]
    # Of several added files with one content, any may be the moved one.
    targets = [move.document.uri.removeprefix(f"{ROOT}/") for move in found["moves"]]
    assert Counter(new[name] for name in targets) == moved
    assert set(targets) <= set(added)
    assert sorted(processed) == sorted(changed | set(added) - set(targets))
    ids = {source_of(name, "").document_id for name in missing} - {move.document_id for move in found["moves"]}
    assert list(found["vanished"]) == sorted(ids)
    assert list(found["restatements"]) == []
    counts = found["changes"]
    assert counts["unchanged"] == len(new) - len(processed)
    assert counts["listed"] == counts["unchanged"] + counts["process"] + counts["refresh"] + counts["quarantined"]


@given(
    st.lists(st.integers(0, 50), max_size=60),
    st.builds(Batching, st.integers(1, 30), st.integers(0, 60), st.integers(1, 5), st.integers(1, 90)),
)
def test_batches_hold_all_in_order_and_no_more_than_they_may(sizes: list[int], batching: Batching) -> None:
    sources = [SourceFile(f"u{n}", f"{n}", size) for n, size in enumerate(sizes)]
    batches = make_batches(sources, batching)
    assert [source for batch in batches for source in batch] == sources
    for batch, following in pairwise(batches):
        size = sum(each.size for each in batch)
        larger = size + following[0].size
        assert len(batch) == 1 or size <= batching.batch_bytes
        assert len(batch) <= max(batching.fill_documents, batching.batch_documents)
        if len(batch) < batching.batch_documents:
            assert larger > batching.batch_bytes
        elif len(batch) < min(batching.fill_documents, len(sources) / 2):
            assert larger > min(batching.fill_bytes, batching.batch_bytes)


@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        ([1000] * 7, [7]),
        ([1000] * 12, [8, 4]),
        ([1000] * 40, [20, 20]),
        ([1000] * 100, [50, 50]),
        ([1000] * 400, [64] * 6 + [16]),
        ([20_000] * 40, [12, 12, 12, 4]),
        ([200_000] * 30, [8, 8, 8, 6]),
        ([900_000] * 5, [2, 2, 1]),
        ([1000, 5_000_000, 1000], [1, 1, 1]),
    ],
)
def test_small_documents_fill_batches_up_and_two_workers_share_them(sizes: list[int], batches: list[int]) -> None:
    sources = [SourceFile(f"u{n}", f"{n}", size) for n, size in enumerate(sizes)]
    made = make_batches(sources, Batching(fill_documents=64, fill_bytes=256_000, batch_bytes=2_000_000))
    assert [len(batch) for batch in made] == batches


def test_a_listing_longer_than_a_page_is_compared_whole() -> None:
    old = {f"{number:04}.txt": "same" for number in range(1200)}
    new = {f"{number:04}.txt": "same" for number in range(100, 1300)}
    call = call_on(old, new, {})
    changes = find_changes([source_of(name, new[name]) for name in sorted(new)], ROOT, prune=True, call=call)["changes"]
    assert changes == {
        "listed": 1200,
        "unchanged": 1200,
        "process": 0,
        "changed": 0,
        "refresh": 0,
        "quarantined": 0,
        "restate": 0,
        "move": 100,
        "adopt": 0,
        "name": 0,
        "vanished": 0,
        "removed": 0,
        "kept": 0,
    }


class Endless(Storage):
    """A storage that lists as many files as it is told, and has none."""

    def __init__(self, files: int) -> None:
        super().__init__()
        self.files = files

    def survey(self, url: str, **_: object) -> Iterator[StoredObject]:
        for number in range(self.files):
            name = f"{number:07}.txt"
            yield StoredObject(f"{url}/{name}", name, 1000, 1.0, None)


def peak_bytes(files: int) -> int:
    """What listing and comparing so many files takes of Python's memory at most."""
    store, storage = MemoryIndexStore(), Endless(files)
    call = Call(identity=Identity(services=Services({"storage": lambda: storage, "index_store": lambda: store})))
    tracemalloc.start()
    try:
        found = find_changes(list_sources(ROOT, tags={"team": "legal"}, call=call), ROOT, batch_bytes=8000, call=call)
        assert sum(map(len, found["batches"])) == files
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_longer_listing_takes_no_more_memory() -> None:
    # 1,500 files more would take at least 600 kB every time if they were kept; what is buffered differs by less than
    # 100. What the interpreter itself makes once (its table of strings grows by 2 MB at a time), it makes in one try.
    assert any(peak_bytes(2500) < peak_bytes(1000) + 100_000 for _ in range(4))
