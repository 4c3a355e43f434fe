"""The file that a document was made from, only as it was ingested: its tags were given to that content."""

import hashlib
import mimetypes
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

from flows.errors import OrchestrationError
from flows.storage import Storage

MOST_BYTES = 200_000_000
_IN_MEMORY, _BLOCK = 4_000_000, 1_000_000


class ChangedOriginal(OrchestrationError):
    """The file is not, or no longer, the one that was ingested."""


@dataclass(frozen=True)
class Original:
    """The content, to be read from its beginning, and how a browser should call it."""

    file: IO[bytes]
    name: str
    media_type: str
    size: int


def open_original(described: Mapping[str, Any], storage: Storage) -> Original:
    """The original of a document as `DocumentTable.described` has it; the caller closes the file.

    Raises:
        ChangedOriginal: it has changed since it was ingested, or is no file of its own.
        OrchestrationError: it is gone, too large, or cannot be read.
    """
    name = described["name"].rstrip("/").rpartition("/")[2] or "document"
    spool: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 (who reads it closes it)
    try:
        hashed, size = hashlib.sha256(), 0
        with storage.open(described["uri"]) as source:
            while block := source.read(_BLOCK):
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
