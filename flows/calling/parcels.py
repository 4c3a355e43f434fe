"""How values travel between processes: pickled, with large arrays beside the pickle in a file that both sides map.

Pickle (protocol 5, PEP 574) hands out the memory of NumPy arrays, Arrow tables and the like instead of copying it. The
sender writes it once, and the receiver maps the file: its pages are shared until somebody changes them, so a change
stays in one process. Without this, a pipe copies each byte four times in pieces of 64 kB.
"""

import io
import mmap
import os
import pickle
import tempfile
from typing import Any

BESIDE = 256 * 1024
"""The bytes from which a buffer travels in the file."""
_ALIGNED = 64
"""Buffers begin at multiples of this, which is enough for every type of number."""


def pack(value: Any, folder: str | None) -> bytes:
    """Pickle a value; its large buffers go to a new file in `folder`, which must exist until the value is unpacked.

    Without a folder, or if the file cannot be written, everything is in the pickle.

    Raises:
        Exception: whatever pickle raises for a value that cannot be pickled.
    """
    large: list[pickle.PickleBuffer] = []

    def stays_inside(buffer: pickle.PickleBuffer) -> bool:
        if folder is None or memoryview(buffer).nbytes < BESIDE:
            return True
        large.append(buffer)
        return False

    packed = io.BytesIO()
    pickle.Pickler(packed, protocol=5, buffer_callback=stays_inside).dump(value)
    try:
        beside = _write(large, folder) if large else None
    except OSError:  # for example, the disk is full
        return pack(value, None)
    at = packed.tell()
    pickle.dump(beside, packed)
    packed.write(at.to_bytes(8, "little"))
    return packed.getvalue()


def unpack(packed: bytes) -> Any:
    """The value of a `pack`; its arrays are writable, and changing them changes no file."""
    end = len(packed) - 8
    at = int.from_bytes(packed[end:], "little")
    beside: tuple[str, list[tuple[int, int]]] | None = pickle.loads(memoryview(packed)[at:end])
    if beside is None:
        return pickle.loads(packed)
    path, spans = beside
    with open(path, "rb") as file:
        whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    return pickle.loads(packed, buffers=[whole[first:last] for first, last in spans])


def _write(buffers: list[pickle.PickleBuffer], folder: str | None) -> tuple[str, list[tuple[int, int]]]:
    """The file with the buffers, and where each begins and ends."""
    descriptor, path = tempfile.mkstemp(dir=folder)
    spans: list[tuple[int, int]] = []
    try:
        with open(descriptor, "wb", buffering=0) as file:
            at = 0
            for buffer in buffers:
                at += -at % _ALIGNED
                file.seek(at)
                raw = buffer.raw()
                while len(raw):
                    raw = raw[file.write(raw) :]
                spans.append((at, file.tell()))
                at = file.tell()
    except OSError:
        os.unlink(path)
        raise
    return path, spans
