"""Archives: ZIP, TAR and single compressed files, within limits, since a small archive may unpack to any size."""

import bz2
import gzip
import hashlib
import lzma
import stat
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from handlers.extraction.formats import Extracted, RawFile, Unreadable
from handlers.records import Block

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".gz", ".tbz2", ".bz2", ".txz", ".xz")
BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)
"""The errors of the standard library for damaged archives and members."""
_OPENERS: dict[str, Callable[[str], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_TOO_MUCH = (
    "unpacks to more than is allowed, like a decompression bomb; if it is harmless, unpack it and ingest the folder"
)
_BLOCK = 1 << 20
_ALWAYS_FINE_BYTES = 50_000_000


@dataclass(frozen=True)
class ArchiveLimits:
    """The limits of one archive; an archive that exceeds them is set aside as a whole."""

    members: int = 10_000
    unpacked_bytes: int = 4_000_000_000
    ratio: float = 200.0
    """The largest ratio of unpacked to packed bytes, checked above 50 MB of unpacked bytes."""
    depth: int = 3
    """How deep archives and mails may be nested."""


@dataclass(frozen=True)
class Member:
    """A file in an archive or a mail: its path there; `mark` differs for different contents."""

    name: str
    size: int
    mark: str
    modified: float | None = None


def read_archive(file: RawFile) -> Extracted:
    """The list of the files in an archive, as its text; the files themselves are separate documents.

    Raises:
        Unreadable: it is broken or empty, or its contents exceed the limits.
    """
    with tempfile.NamedTemporaryFile(prefix="braid-archive-") as kept:
        kept.write(file.data)
        kept.flush()
        found = sorted(member.name for member, _ in archived(kept.name, file.name))
    if not found:
        raise Unreadable("holds no files")
    title = PurePosixPath(file.name).name
    text = f"Files in {title}:\n" + "\n".join(f"- {name}" for name in found)
    return Extracted(text, (Block("list", 0, len(text)),), title, (("members", str(len(found))),))


def archived(path: str, name: str, limits: ArchiveLimits | None = None) -> Iterator[tuple[Member, IO[bytes]]]:
    """Yield each file in an archive, with a stream of its content that must be read before the next file is requested.

    Links, devices and folders are skipped; nothing is written to disk.

    Raises:
        Unreadable: it is broken, or its contents exceed the limits.
    """
    limits = limits or ArchiveLimits()
    budget = _Budget(path, limits)
    try:
        for number, (member, stream) in enumerate(_files(path, name, budget), 1):
            if number > limits.members:
                raise Unreadable(f"holds more than the {limits.members:,} files that are allowed in an archive")
            yield member, stream
    except BROKEN as error:
        raise Unreadable(f"is damaged: its archive is cut off or broken ({error}); get a whole copy of it") from error


class _Budget:
    """The number of bytes that may still be unpacked from an archive."""

    def __init__(self, path: str, limits: ArchiveLimits) -> None:
        by_ratio = int(limits.ratio * Path(path).stat().st_size)
        self.left = min(limits.unpacked_bytes, max(by_ratio, _ALWAYS_FINE_BYTES))

    def take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise Unreadable(_TOO_MUCH)


def _files(path: str, name: str, budget: _Budget) -> Iterator[tuple[Member, IO[bytes]]]:
    path_in = PurePosixPath(name.lower())
    if zipfile.is_zipfile(path) and path_in.suffix == ".zip":
        return _zipped(path, budget)
    if path_in.suffix in _OPENERS and not path_in.stem.endswith(".tar"):
        return _compressed(path, name, budget)
    return _tarred(path, budget)


def _zipped(path: str, budget: _Budget) -> Iterator[tuple[Member, IO[bytes]]]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.is_dir() or stat.S_ISLNK(info.external_attr >> 16):
                continue
            budget.take(info.file_size)
            member = Member(info.filename, info.file_size, f"{info.CRC:08x}", _time_of(info))
            yield member, cast("IO[bytes]", _Lazy(lambda info=info: archive.open(info)))


def _time_of(info: zipfile.ZipInfo) -> float | None:
    try:
        return time.mktime((*info.date_time, 0, 0, -1))
    except (ValueError, OverflowError):
        return None


def _tarred(path: str, budget: _Budget) -> Iterator[tuple[Member, IO[bytes]]]:
    with tarfile.open(path, "r:*") as archive:
        for info in archive:
            budget.take(info.size)
            stream = archive.extractfile(info) if info.isfile() else None
            if stream is not None:
                mark = hashlib.file_digest(cast("Any", stream), "sha256").hexdigest()[:16]
                stream.seek(0)
                yield Member(info.name, info.size, mark, float(info.mtime)), stream


def _compressed(path: str, name: str, budget: _Budget) -> Iterator[tuple[Member, IO[bytes]]]:
    """The one file in `report.txt.gz`."""
    opened = _OPENERS[PurePosixPath(name.lower()).suffix]
    digest, size = hashlib.sha256(), 0
    with opened(path) as stream:
        while block := stream.read(_BLOCK):
            budget.take(len(block))
            digest.update(block)
            size += len(block)
    with opened(path) as stream:
        yield Member(PurePosixPath(name).stem, size, digest.hexdigest()[:16]), stream


class _Lazy:
    """A stream that is opened when it is first read, so that skipped members cost nothing."""

    def __init__(self, opened: Callable[[], IO[bytes]]) -> None:
        self._open = opened
        self._stream: IO[bytes] | None = None

    def read(self, size: int = -1) -> bytes:
        self._stream = self._stream or self._open()
        return self._stream.read(size)
