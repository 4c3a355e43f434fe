"""Tracks: files beside the artifacts that list the shards of a sharded ingestion, so that it can be continued."""

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from flows.engine import new_run_id
from flows.errors import ObjectExists
from flows.storage import Storage
from handlers.records import SourceFile
from handlers.sources import partition, write_manifest

_FILE = re.compile(r"(\d+)\.(json|done)")


@dataclass(frozen=True)
class Shard:
    """One part of the listing."""

    number: int
    """The number of the shard, counted from 1."""
    source: str
    """The URI of its manifest, which is the source of its run."""
    documents: int
    bytes: int


@dataclass(frozen=True)
class Track:
    """A sharded ingestion; the same command finds it again until it has ended."""

    id: str
    shards: tuple[Shard, ...]
    uri: str
    """The URI of its file without the suffix."""

    def finish(self, storage: Storage) -> None:
        """Record the end: from now on, the same command begins a new track."""
        storage.write(f"{self.uri}.done", b"")


class Tracks:
    """The tracks of one command: source, index, parameters and number of shards."""

    def __init__(self, storage: Storage, root: str, command: Mapping[str, Any]) -> None:
        key = hashlib.sha256(json.dumps(command, sort_keys=True, default=str).encode()).hexdigest()[:12]
        self._storage, self._folder = storage, Storage.join(root, "shards", key)

    def unfinished(self) -> Track | None:
        """The unfinished track of this command, if any."""
        number = self._newest()
        if number == 0 or self._storage.exists(f"{self._uri(number)}.done"):
            return None
        return self._read(number)

    def begin(self, files: Sequence[SourceFile], shards: int) -> Track:
        """Create a track with its manifests, or return the track of another coordinator that was faster."""
        id, number = new_run_id(), self._newest() + 1
        parts = partition(files, shards)
        made = [
            Shard(
                position,
                write_manifest(self._storage, Storage.join(self._folder, id, f"{position}.jsonl"), part),
                len(part),
                sum(file.size for file in part),
            )
            for position, part in enumerate(parts, 1)
        ]
        text = json.dumps({"id": id, "shards": [asdict(shard) for shard in made]}, indent=1)
        # Written last, so that a visible track is complete.
        with contextlib.suppress(ObjectExists):
            self._storage.write(f"{self._uri(number)}.json", text.encode(), exclusive=True)
        return self._read(number)

    def _read(self, number: int) -> Track:
        data = json.loads(self._storage.read(f"{self._uri(number)}.json"))
        return Track(data["id"], tuple(Shard(**shard) for shard in data["shards"]), self._uri(number))

    def _newest(self) -> int:
        if not self._storage.exists(self._folder):
            return 0
        listed = (_FILE.fullmatch(found.name) for found in self._storage.list(self._folder, pattern="*"))
        return max((int(match[1]) for match in listed if match), default=0)

    def _uri(self, number: int) -> str:
        return f"{self._folder}/{number:06d}"
