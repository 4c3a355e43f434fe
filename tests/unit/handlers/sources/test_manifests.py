"""Parts of a listing: balanced, complete, mostly the same when documents come and go, and read back as written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.errors import FatalError
from flows.storage import Storage
from handlers.records import SourceFile
from handlers.sources import list_sources, partition, read_manifest, write_manifest
from handlers.sources.manifests import MANIFEST
from tests.support.documents import make_call

sizes = st.lists(st.integers(0, 2_000_000), min_size=1, max_size=60)


def listing(sizes: list[int]) -> tuple[SourceFile, ...]:
    return tuple(SourceFile(f"s3://b/{n}", f"{n}.txt", size, 12.5, f"e{n}") for n, size in enumerate(sizes))


@given(sizes, st.integers(1, 9))
def test_every_document_is_in_one_part_and_none_is_much_larger_than_the_others(sizes: list[int], shards: int) -> None:
    sources = listing(sizes)
    parts = partition(sources, shards)
    assert sorted((one for part in parts for one in part), key=sources.index) == list(sources)
    assert all(list(part) == sorted(part, key=sources.index) and part for part in parts)
    assert len(parts) <= shards
    loads = [sum(one.size + 4096 for one in part) for part in parts]
    assert max(loads) <= 1.05 * sum(loads) / shards + max(sizes) + 4096


def test_most_documents_stay_in_their_part_when_one_is_added() -> None:
    before = partition(listing([1000] * 1000), 4)
    after = partition(listing([1000] * 1001), 4)
    place = {one.uri: number for number, part in enumerate(before) for one in part}
    moved = sum(1 for number, part in enumerate(after) for one in part if place.get(one.uri, number) != number)
    assert moved < 50
    assert partition(listing([1000] * 1000), 4) == before


def test_a_manifest_is_listed_as_it_was_written() -> None:
    call, root = make_call({"a.txt": b"text", "b.md": b"more"})
    storage: Storage = call.services["storage"]
    sources = list_sources(root, tags={"team": "legal"}, call=call)
    assert [one.tags for one in sources] == [(("team", "legal"),)] * 2
    named = write_manifest(storage, f"{root}/../m.jsonl".replace("/in/..", ""), sources)
    assert named.startswith(MANIFEST)
    assert list_sources(named, call=call) == sources


def test_what_is_no_manifest_is_named() -> None:
    storage = Storage()
    storage.write("memory://manifests/x.jsonl", b'{"uri": 1}\n')
    with pytest.raises(FatalError, match=r"memory://manifests/x\.jsonl: is not a manifest of `braid ingest"):
        read_manifest(storage, "manifest:memory://manifests/x.jsonl")
