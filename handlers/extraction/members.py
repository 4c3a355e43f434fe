"""Documents inside files: the contents of archives and the attachments of mails become separate documents.

The URI of a member is the URI of its container, `!/` and its path there; containers may be nested.
"""

import atexit
import hashlib
import io
import posixpath
import shutil
import tempfile
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Protocol

from flows.author import Call
from flows.errors import MissingObject, StorageError
from flows.storage import Storage
from handlers.extraction.formats import RawFile, Unreadable
from handlers.extraction.parsing import blaming, parsed
from handlers.extraction.readers.archive import BROKEN, ArchiveLimits, Member, archived
from handlers.extraction.registry import container_kind, mime_type_of, read_file
from handlers.records import Fetched

MARK = "!/"
LIMITS = ArchiveLimits()
_KEPT = 4
"""How many unpacked containers are kept; few suffice, since documents come in the order of their names."""
_LONGEST_NAME = 200


def inside(container: str, member: str) -> str:
    """The URI, or the name, of a member of a container."""
    return f"{container}{MARK}{member}"


def split_member(uri: str) -> tuple[str, tuple[str, ...]]:
    """The stored file, and the path through its containers to the document; the path is empty for most documents."""
    if MARK not in uri:
        return uri, ()
    first, *rest = uri.split(MARK)
    found = [first]
    for part in rest:
        if container_kind(found[-1]) is not None:
            found.append(part)
        else:  # a folder whose name ends with an exclamation mark
            found[-1] = inside(found[-1], part)
    return found[0], tuple(found[1:])


def parent_of(uri: str) -> str | None:
    """The URI, or the name, of the container that a document is in; None for most."""
    stored, path = split_member(uri)
    return MARK.join([stored, *path[:-1]]) if path else None


def members_of(path: str, name: str) -> list[Member]:
    """The files in the container at `path`, whose name is `name`, sorted by their own names.

    Raises:
        Unreadable: it is broken, or its contents exceed the limits.
    """
    return sorted((member for member, _ in _opened(path, name)), key=lambda each: each.name)


def unpack(path: str, name: str, folder: str) -> dict[str, str]:
    """Write the files in a container into a folder; the names of the written files by those of the members.

    Members of unsupported formats are left out, and so are damaged and encrypted ones.

    Raises:
        Unreadable: as `members_of`.
    """
    written: dict[str, str] = {}
    for member, stream in _opened(path, name):
        if mime_type_of(member.name) is None:
            continue
        target = Path(folder, str(len(written)))
        try:
            with target.open("wb") as file:
                shutil.copyfileobj(stream, file, 1 << 20)
        except (*BROKEN, NotImplementedError, RuntimeError):  # RuntimeError: it needs a password
            target.unlink()
            continue
        if target.stat().st_size > member.size:
            raise Unreadable("unpacks to more than its archive declares, like a decompression bomb")
        written[member.name] = target.name
    return written


def _opened(path: str, name: str) -> Iterator[tuple[Member, IO[bytes]]]:
    taken = Counter[str]()
    found = _attached(path, name) if container_kind(name) == "mail" else archived(path, name, LIMITS)
    for member, stream in found:
        yield Member(_own_name(member.name, taken), member.size, member.mark, member.modified), stream


def _attached(path: str, name: str) -> Iterator[tuple[Member, IO[bytes]]]:
    mime_type = mime_type_of(name) or ""
    for each in read_file(RawFile(Path(path).read_bytes(), name, mime_type)).attachments:
        mark = hashlib.sha256(each.data).hexdigest()[:16]
        yield Member(each.name, len(each.data), mark), io.BytesIO(each.data)


def _own_name(name: str, taken: Counter[str]) -> str:
    """A unique path inside the container, which never leads out of it."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    clean = "/".join(parts).replace("\0", "").replace(MARK, "%21/") or "unnamed"
    if len(clean) > _LONGEST_NAME and "/" not in clean:
        stem, suffix = posixpath.splitext(clean)
        clean = stem[: _LONGEST_NAME - len(suffix)] + suffix
    taken[clean] += 1
    if taken[clean] == 1:
        return clean
    stem, suffix = posixpath.splitext(clean)
    return _own_name(f"{stem} ({taken[clean]}){suffix}", taken)


class _Cache:
    """The most recently used containers, unpacked on this machine's disk."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._kept: OrderedDict[tuple[object, ...], tuple[str, dict[str, str]]] = OrderedDict()

    def file(self, key: tuple[object, ...], name: str, fill: Callable[[str], dict[str, str]]) -> str | None:
        """The path of the file that `fill` wrote under that name, or None. Hold the lock when calling it."""
        if key not in self._kept:
            atexit.unregister(self.clear)
            atexit.register(self.clear)
            folder = tempfile.mkdtemp(prefix="braid-unpacked-")
            try:
                self._kept[key] = folder, fill(folder)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            self.clear(_KEPT)
        self._kept.move_to_end(key)
        folder, files = self._kept[key]
        return str(Path(folder, files[name])) if name in files else None

    def clear(self, kept: int = 0) -> None:
        """Remove all but the containers that were used last."""
        while len(self._kept) > kept:
            shutil.rmtree(self._kept.popitem(last=False)[1][0], ignore_errors=True)


_CACHE = _Cache()


class Contents(Protocol):
    """The service `sources`: where documents are fetched from."""

    def fetch(self, uri: str, *, source: str = "", max_bytes: int | None = None) -> Fetched: ...

    def storage_of(self, uri: str, *, source: str = "") -> Storage | None:
        """The storage of a document that is a file; None if its source is of another kind."""
        ...


def fetch_source(uri: str, call: Call, *, source: str = "", max_bytes: int | None = None) -> Fetched:
    """The content of a document, also of one inside a container; `source` is the root of its source, if known.

    Raises:
        StorageError: it is not there, or is longer than `max_bytes`.
        Unreadable: its container cannot be opened.
    """
    if not split_member(uri)[1]:
        storage = _storage_of(uri, call, source)
        if storage is not None:
            return Fetched(storage.read(uri, max_bytes=max_bytes))
        contents: Contents = call.services["sources"]
        return contents.fetch(uri, source=source, max_bytes=max_bytes)
    with _CACHE.lock:
        path = Path(_local_path(uri, call, source))
        if max_bytes is not None and path.stat().st_size > max_bytes:
            raise StorageError(f"{uri}: is longer than the {max_bytes} bytes allowed here")
        return Fetched(path.read_bytes())


def hash_source(uri: str, call: Call, *, source: str = "") -> str:
    """The SHA-256 of a document's content, in hex; a file is read as a stream. Raises the same errors as
    `fetch_source`.
    """
    storage = None if split_member(uri)[1] else _storage_of(uri, call, source)
    if storage is None:
        return hashlib.sha256(fetch_source(uri, call, source=source).data).hexdigest()
    with storage.open(uri) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()  # pyright: ignore[reportArgumentType]


def _storage_of(uri: str, call: Call, source: str) -> Storage | None:
    if "sources" not in call.services:
        return call.services["storage"]
    contents: Contents = call.services["sources"]
    return contents.storage_of(uri, source=source)


def list_members(uri: str, call: Call, *, source: str = "") -> list[Member]:
    """The files in the container of this URI.

    Raises:
        StorageError: it is not there.
        Unreadable: it is broken, or its contents exceed the limits.
    """
    with _CACHE.lock:
        path = _local_path(uri, call, source)
        with blaming(uri):
            return parsed(call, members_of, path, uri)


def _local_path(uri: str, call: Call, source: str) -> str:
    """A local file with the content of a document; it exists as long as the cache's lock is held."""
    stored, path = split_member(uri)
    storage = _storage_of(stored, call, source)
    version, here = ("of the run", call.run_id), stored
    if storage is not None:
        now = next(iter(storage.list(stored)), None)
        if now is None:
            raise MissingObject(f"{stored}: is no longer there")
        version, here = (now.size, now.modified, now.etag), now.uri
    if here.startswith("file://"):
        here = here.removeprefix("file://")
    else:

        def copy(folder: str) -> dict[str, str]:
            Path(folder, "copy").write_bytes(fetch_source(stored, call, source=source).data)
            return {"copy": "copy"}

        here = str(_CACHE.file(("copy", stored, version), "copy", copy))
    container = stored
    for member in path:

        def fill(folder: str, opened: str = here, name: str = container) -> dict[str, str]:
            with blaming(name):
                return parsed(call, unpack, opened, name, folder)

        found = _CACHE.file((container, version), member, fill)
        if found is None:
            raise Unreadable("is damaged inside its archive, or needs a password")
        here, container = found, inside(container, member)
    return here
