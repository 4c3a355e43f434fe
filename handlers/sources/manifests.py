"""Manifests: parts of a listing, written down so that several runs can ingest them side by side."""

import hashlib
import json
from array import array
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from flows.errors import FatalError
from flows.state import DiskSequence, Spool
from flows.storage import Storage
from handlers.records import SourceFile

PREFIX = "manifest:"
"""What a source begins with that is not a folder but a manifest's URI."""
_A_DOCUMENT = 4096
"""What a document counts besides its bytes: also an empty one takes its time."""
_SLACK = 1.05


def is_manifest(source: str) -> bool:
    return source.startswith(PREFIX)


def partition(sources: Sequence[SourceFile], shards: int) -> list[Sequence[SourceFile]]:
    """At most `shards` parts, none empty, of about as many bytes; each in the order of `sources`.

    A document goes where the hash of its URI says, and to the next place by hash where that one is full: so most
    documents stay in their part when others come and go.
    Source: Mirrokni, Thorup & Zadimoghaddam, Consistent hashing with bounded loads, SODA 2018.
    """
    by_size = Spool[tuple[int, int, str]](key=lambda each: f"{10**18 - each[0]:019} {each[2]}")
    by_size.extend((source.size, position, source.uri) for position, source in enumerate(sources))
    most = _SLACK * sum(source.size + _A_DOCUMENT for source in sources) / shards
    loads = [0] * shards
    chosen = array("H", bytes(2 * len(sources)))
    for size, position, uri in by_size.finish():
        weight = size + _A_DOCUMENT
        wishes = sorted(range(shards), key=lambda shard: _score(uri, shard))
        place = next((shard for shard in wishes if loads[shard] + weight <= most), None)
        place = min(wishes, key=lambda shard: loads[shard]) if place is None else place
        chosen[position] = place
        loads[place] += weight
    parts = [Spool[SourceFile]() for _ in range(shards)]
    for place, source in zip(chosen, sources, strict=True):
        parts[place].add(source)
    return [part.finish() for part in parts if len(part)]


def write_manifest(storage: Storage, uri: str, sources: Sequence[SourceFile]) -> str:
    """Write a manifest; what to name as a source to ingest what it lists."""
    lines = (json.dumps(asdict(source), ensure_ascii=False) for source in sources)
    return PREFIX + storage.write(uri, b"".join(f"{line}\n".encode() for line in lines))


def read_manifest(storage: Storage, source: str) -> Sequence[SourceFile]:
    """What a manifest lists.

    Raises:
        FatalError: it cannot be read as one.
    """
    uri = source.removeprefix(PREFIX)
    try:
        with storage.open(uri) as lines:
            return DiskSequence(_source(json.loads(line)) for line in lines)
    except (ValueError, TypeError) as error:
        raise FatalError(f"{uri}: is not a manifest that `braid ingest --shards` has written: {error}") from error


def _source(values: dict[str, Any]) -> SourceFile:
    return SourceFile(**{**values, "tags": tuple((name, value) for name, value in values.get("tags", ()))})


def _score(uri: str, shard: int) -> bytes:
    return hashlib.blake2b(f"{shard} {uri}".encode(), digest_size=8).digest()
