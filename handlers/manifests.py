"""Manifests: parts of a listing, written down so that several runs can ingest them side by side."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from flows.errors import FatalError
from flows.storage import Storage
from handlers.records import Source

PREFIX = "manifest:"
"""What a source begins with that is not a folder but a manifest's URI."""
_A_DOCUMENT = 4096
"""What a document counts besides its bytes: also an empty one takes its time."""
_SLACK = 1.05


def is_manifest(source: str) -> bool:
    return source.startswith(PREFIX)


def partition(sources: Sequence[Source], shards: int) -> list[tuple[Source, ...]]:
    """At most `shards` parts, none empty, of about as many bytes; each in the order of `sources`.

    A document goes where the hash of its URI says, and to the next place by hash where that one is full: so most
    documents stay in their part when others come and go.
    Source: Mirrokni, Thorup & Zadimoghaddam, Consistent hashing with bounded loads, SODA 2018.
    """
    weights = {source.uri: source.size + _A_DOCUMENT for source in sources}
    most = _SLACK * sum(weights.values()) / shards
    loads = [0] * shards
    chosen: dict[str, int] = {}
    for source in sorted(sources, key=lambda each: (-each.size, each.uri)):
        weight = weights[source.uri]
        wishes = sorted(range(shards), key=lambda shard: _score(source.uri, shard))
        place = next((shard for shard in wishes if loads[shard] + weight <= most), None)
        place = min(wishes, key=lambda shard: loads[shard]) if place is None else place
        chosen[source.uri] = place
        loads[place] += weight
    parts = [tuple(source for source in sources if chosen[source.uri] == shard) for shard in range(shards)]
    return [part for part in parts if part]


def write_manifest(storage: Storage, uri: str, sources: Sequence[Source]) -> str:
    """Write a manifest; what to name as a source to ingest what it lists."""
    lines = [json.dumps(asdict(source), ensure_ascii=False) for source in sources]
    return PREFIX + storage.write(uri, ("\n".join(lines) + "\n").encode())


def read_manifest(storage: Storage, source: str) -> tuple[Source, ...]:
    """What a manifest lists.

    Raises:
        FatalError: it cannot be read as one.
    """
    uri = source.removeprefix(PREFIX)
    data = storage.read(uri)
    try:
        return tuple(_source(json.loads(line)) for line in data.decode().splitlines())
    except (ValueError, TypeError) as error:
        raise FatalError(f"{uri}: is not a manifest that `braid ingest --shards` has written: {error}") from error


def _source(values: dict[str, Any]) -> Source:
    return Source(**{**values, "tags": tuple((name, value) for name, value in values.get("tags", ()))})


def _score(uri: str, shard: int) -> bytes:
    return hashlib.blake2b(f"{shard} {uri}".encode(), digest_size=8).digest()
