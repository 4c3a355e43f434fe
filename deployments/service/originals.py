"""The original file of a document, served only if unchanged, since the document's tags were given to that content."""

import hashlib
import mimetypes
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from flows.errors import OrchestrationError
from flows.storage import path_below
from handlers.sources import Sources

MOST_BYTES = 200_000_000
_IN_MEMORY, _BLOCK = 4_000_000, 1_000_000


class ChangedOriginal(OrchestrationError):
    """The file is not the ingested one, or has changed since."""


@dataclass(frozen=True)
class Original:
    """The content as a stream at its beginning, with its media type and file name."""

    file: IO[bytes]
    name: str
    media_type: str
    size: int


def open_original(described: Mapping[str, Any], sources: Sources, roots: Iterable[str]) -> Original:
    """The original of a document as `DocumentTable.described` has it; the caller closes the file.

    `roots` are the sources of its index, from which a document that is not a file is fetched again.

    Raises:
        ChangedOriginal: it has changed since it was ingested, or is not a separate file.
        OrchestrationError: it is missing, too large, or unreadable.
    """
    uri: str = described["uri"]
    name = described["name"].rstrip("/").rpartition("/")[2] or "document"
    spool: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 (who reads it closes it)
    try:
        hashed, size = hashlib.sha256(), 0
        for block in _blocks(uri, sources, roots):
            size += len(block)
            if size > MOST_BYTES:
                raise OrchestrationError(f"{name} is larger than {MOST_BYTES:,} bytes; fetch it from its source")
            hashed.update(block)
            spool.write(block)
        if hashed.hexdigest() != described["sha256"]:
            raise ChangedOriginal(f"{name} is not the file that was ingested, or has changed since; ingest it again")
        spool.seek(0)
    except BaseException:
        spool.close()
        raise
    media_type = described["mime_type"] or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Original(spool, name, media_type, size)


def _blocks(uri: str, sources: Sources, roots: Iterable[str]) -> Iterator[bytes]:
    storage = sources.storage_of(uri)
    if storage is not None:
        with storage.open(uri) as file:
            while block := file.read(_BLOCK):
                yield block
        return
    holding = [root for root in roots if uri == root or path_below(root, uri) is not None]
    yield sources.fetch(uri, source=max(holding, key=len, default=""), max_bytes=MOST_BYTES).data
