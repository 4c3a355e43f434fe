"""Finished calls as the run store keeps them: their results as compressed pickles."""

import pickle
import zlib
from dataclasses import dataclass

import cloudpickle  # pyright: ignore[reportMissingTypeStubs]

from flows.engine import FinishedCall

_MIN_BYTES_TO_COMPRESS = 4_000


@dataclass(frozen=True)
class CallSummary:
    """A finished call without its result."""

    key: str
    step_id: str
    chained_fingerprint: str
    own_fingerprint: str
    run_id: str


@dataclass(frozen=True)
class StoredCall:
    """A finished call, and the bytes that are stored for it."""

    call: FinishedCall
    content: bytes


def pack(call: FinishedCall) -> StoredCall:
    """A finished call, ready to be stored.

    Raises:
        Exception: any error that pickling raises for a value that cannot be pickled.
    """
    content = cloudpickle.dumps(call)  # pyright: ignore[reportUnknownMemberType]
    # Texts and term counts shrink to a third, and compressing them takes less time than writing them.
    compress = len(content) >= _MIN_BYTES_TO_COMPRESS
    return StoredCall(call, zlib.compress(content, level=1) if compress else content)


def unpack(content: bytes) -> FinishedCall:
    """The finished call in bytes whose signature has been checked.

    Raises:
        Exception: any error that unpickling raises, for example for a class that no longer exists.
    """
    # No pickle begins like a zlib stream.
    return pickle.loads(content if content[:1] == b"\x80" else zlib.decompress(content))
