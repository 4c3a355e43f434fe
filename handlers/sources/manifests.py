"""Manifests: parts of a listing in files, so that several runs can ingest them in parallel."""

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

MANIFEST = "manifest:"
"""A source with this prefix is the URI of a manifest."""
_A_DOCUMENT = 4096
"""The bytes that are added for every document, since an empty one takes time too."""
_SLACK = 1.05


def is_manifest(source: str) -> bool:
    return source.startswith(MANIFEST)


def partition(sources: Sequence[SourceFile], shards: int) -> list[Sequence[SourceFile]]:
    """At most `shards` parts, none empty, of about as many bytes; each in the order of `sources`.

    The hash of its URI assigns a document to a part, or to the next one by hash if that part is full. So most documents
    stay in their part when others are added or removed.
    Source: Mirrokni, Thorup & Zadimoghaddam, Consistent hashing with bounded loads, SODA 2018.
    """
    by_size = Spool[tuple[int, int, str]](key=lambda each: f"{10**18 - each[0]:019} {each[2]}")
    by_size.extend((source.size, position, source.uri) for position, source in enumerate(sources))
    most = _SLACK * sum(source.size + _A_DOCUMENT for source in sources) / shards
    loads = [0] * shards
    chosen = array("H", bytes(2 * len(sources)))
    for size, position, uri in by_size.finish():
        weight = size + _A_DOCUMENT
        preferred = sorted(range(shards), key=lambda shard: _score(uri, shard))
        shard = next((each for each in preferred if loads[each] + weight <= most), None)
        shard = min(preferred, key=lambda each: loads[each]) if shard is None else shard
        chosen[position] = shard
        loads[shard] += weight
    parts = [Spool[SourceFile]() for _ in range(shards)]
    for shard, source in zip(chosen, sources, strict=True):
        parts[shard].add(source)
    return [part.finish() for part in parts if len(part)]


def write_manifest(storage: Storage, uri: str, sources: Sequence[SourceFile]) -> str:
    """Write a manifest; returns the source that ingests the files in it."""
    lines = (json.dumps(asdict(source), ensure_ascii=False) for source in sources)
    return MANIFEST + storage.write(uri, b"".join(f"{line}\n".encode() for line in lines))


def read_manifest(storage: Storage, source: str) -> Sequence[SourceFile]:
    """The files in a manifest.

    Raises:
        FatalError: it cannot be read as one.
    """
    uri = source.removeprefix(MANIFEST)
    try:
        with storage.open(uri) as lines:
            return DiskSequence(_source(json.loads(line)) for line in lines)
    except (ValueError, TypeError) as error:
        raise FatalError(f"{uri}: is not a manifest of `braid ingest --shards`: {error}") from error


def _source(values: dict[str, Any]) -> SourceFile:
    return SourceFile(**{**values, "tags": tuple((name, value) for name, value in values.get("tags", ()))})


def _score(uri: str, shard: int) -> bytes:
    return hashlib.blake2b(f"{shard} {uri}".encode(), digest_size=8).digest()
