"""Tracks: found again until they are finished, and created only once by concurrent processes."""

import uuid

from deployments.shards.tracks import Tracks
from flows.storage import Storage
from handlers.records import SourceFile
from handlers.sources import read_manifest

SOURCES = tuple(SourceFile(f"file:///d/{n}.txt", f"{n}.txt", n) for n in range(20))


def test_the_same_command_finds_its_track_until_it_is_done() -> None:
    storage, root = Storage(), f"memory://{uuid.uuid4().hex}"
    tracks = Tracks(storage, root, {"source": "d", "shards": 3})
    assert tracks.unfinished() is None
    begun = tracks.begin(SOURCES, 3)
    again = Tracks(Storage(), root, {"shards": 3, "source": "d"})
    assert again.unfinished() == begun
    assert Tracks(storage, root, {"source": "d", "shards": 4}).unfinished() is None
    listed = [source for shard in begun.shards for source in read_manifest(storage, shard.source)]
    assert sorted(listed, key=lambda one: one.size) == list(SOURCES)
    assert [(shard.number, shard.documents) for shard in begun.shards] == [
        (number, len(read_manifest(storage, shard.source))) for number, shard in enumerate(begun.shards, 1)
    ]
    begun.finish(storage)
    assert again.unfinished() is None
    assert again.begin(SOURCES, 3).id != begun.id


def test_of_two_coordinators_that_begin_at_once_both_follow_the_first() -> None:
    storage, root = Storage(), f"memory://{uuid.uuid4().hex}"
    late = Tracks(storage, root, {})
    late._newest = lambda: 0  # type: ignore[method-assign]  (it looked before the other one wrote)
    first = Tracks(storage, root, {}).begin(SOURCES, 2)
    assert late.begin(SOURCES[:5], 2) == first
