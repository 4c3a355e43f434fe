"""The stored form of finished calls: their results as compressed pickles."""

import logging
import pickle
from dataclasses import dataclass

import cloudpickle  # pyright: ignore[reportMissingTypeStubs]
import zstandard

from flows.engine import FinishedCall

logger = logging.getLogger(__name__)
_MIN_BYTES_TO_COMPRESS = 4_000
_MAIN = b"\x8c\x08__main__"
"""How a pickle refers to a class of the main module; texts that mention `__main__` look different."""


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
    content = _pickled(call)
    # Texts and term counts shrink to a third or less, and compressing them takes less time than writing them.
    compress = len(content) >= _MIN_BYTES_TO_COMPRESS
    return StoredCall(call, zstandard.compress(content, level=1) if compress else content)


def _pickled(call: FinishedCall) -> bytes:
    """The pickle of a call, with classes of the main module by value, because other processes do not have them."""
    try:
        content = pickle.dumps(call, protocol=5)
        if _MAIN not in content:
            return content
    except Exception:
        logger.debug("%s: its result is pickled with its classes", call.step_id)
    return cloudpickle.dumps(call)  # pyright: ignore[reportUnknownMemberType]


def unpack(content: bytes) -> FinishedCall:
    """The finished call in bytes whose signature has been checked.

    Raises:
        Exception: any error that unpickling raises, for example for a class that no longer exists.
    """
    # No pickle begins like a frame of Zstandard.
    return pickle.loads(content if content[:1] == b"\x80" else zstandard.decompress(content))
