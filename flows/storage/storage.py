"""Storage: the one place where Braid touches files and objects, in folders, in memory and in S3 buckets.

A URL is a plain path, `file://`, `memory://` or `s3://bucket/key`. As everywhere in fsspec, URLs are raw: what
follows the scheme is the path itself, and a `%` in it is a `%`. Everything `Storage` returns is canonical (absolute,
with its scheme), so two URIs are equal exactly when they name the same place.
"""

import os
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from typing import IO, Protocol
from urllib.parse import quote

from flows.errors import StorageError
from flows.storage.globs import EVERYTHING, glob_filter
from flows.storage.locations import Location, Scheme, StorageOptions, StoredObject, parse_file, parse_url


class Backend(Protocol):
    """What a kind of storage offers; its errors are anything that `explaining` turns into ours."""

    def explaining(self, uri: str) -> AbstractContextManager[None]: ...
    def scan(
        self, location: Location, accepts: Callable[[str], bool], shown: Collection[str] = ()
    ) -> Iterator[StoredObject]: ...
    def read(self, location: Location, max_bytes: int | None) -> bytes: ...
    def write(self, location: Location, data: bytes, exclusive: bool) -> None: ...
    def exists(self, location: Location) -> bool: ...
    def delete(self, location: Location, recursive: bool) -> None: ...
    def open(self, location: Location) -> IO[bytes]: ...


class Storage:
    """Files and objects by URL, from any thread; pickled, it carries its options and connects anew.

    Every method raises:
        StorageError: with the URI and the cure; `MissingObject` (also a FileNotFoundError) when nothing is there.
        TransientError: throttling, timeouts, dropped connections, and a server that answered before and is now down.
    """

    def __init__(self, options: StorageOptions | None = None) -> None:
        self.options = options or StorageOptions()
        self._backends: dict[tuple[int, Scheme], Backend] = {}

    def __repr__(self) -> str:
        return f"Storage({self.options!r})"

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return (type(self), (self.options,))

    def list(self, url: str, *, pattern: str = EVERYTHING, shown: Collection[str] = ()) -> Iterator[StoredObject]:
        """Yield the files below `url`, or the one file that `url` names.

        Always in the same order: sorted by name, in S3 as the server sorts (AWS by key, SeaweedFS folder by folder).

        `pattern` is matched against the name (`*` stays within a folder, `**/` is any number of folders) and does not
        apply to a single file. Hidden files and folders (but for files called as in `shown`, whatever the pattern), and
        links that lead out of the folder, are left out. An
        S3 prefix is listed page by page as the iteration goes, an empty one is an error.
        """
        accepts = glob_filter(pattern)
        location = parse_url(url)
        backend = self._backend(location)
        with backend.explaining(location.uri):
            yield from backend.scan(location, accepts, shown)

    def read(self, uri: str, *, max_bytes: int | None = None) -> bytes:
        """The whole content; a StorageError, never a shortened content, when it is longer than `max_bytes`."""
        location = parse_file(uri)
        backend = self._backend(location)
        with backend.explaining(location.uri):
            data = backend.read(location, max_bytes)
        if max_bytes is not None and len(data) > max_bytes:
            raise StorageError(f"{location.uri}: is longer than the {max_bytes} bytes allowed here")
        return data

    def write(self, uri: str, data: bytes, *, exclusive: bool = False) -> str:
        """Write all or nothing, creating folders as needed, and return the canonical URI.

        Raises:
            ObjectExists: (also a FileExistsError) with `exclusive`, when it is there already. Of several exclusive
                writers one succeeds.
        """
        location = parse_file(uri)
        backend = self._backend(location)
        with backend.explaining(location.uri):
            backend.write(location, data, exclusive)
        return location.uri

    def exists(self, uri: str) -> bool:
        """Whether there is a file, or a folder or prefix with something in it."""
        location = parse_url(uri)
        backend = self._backend(location)
        with backend.explaining(location.uri):
            return backend.exists(location)

    def delete(self, uri: str, *, recursive: bool = False) -> None:
        """Delete a file, or with `recursive` a folder and all in it; what is gone already is no error."""
        location = parse_url(uri)
        if location.is_root:
            raise StorageError(f"{location.uri}: a whole bucket or disk is never deleted; name a folder in it")
        backend = self._backend(location)
        with backend.explaining(location.uri):
            backend.delete(location, recursive)

    def open(self, uri: str) -> IO[bytes]:
        """A seekable stream of the content, read in blocks; close it."""
        location = parse_file(uri)
        backend = self._backend(location)
        with backend.explaining(location.uri):
            return backend.open(location)

    @staticmethod
    def join(root: str, *parts: str) -> str:
        """The URI of the name `"/".join(parts)` below `root`: never outside it, and another one for every other name.

        Without parts, it is `root` made canonical. Characters that some storage treats specially are percent-encoded
        (also a leading dot, which would hide the file), so `urllib.parse.unquote` gives the name back.

        Raises:
            StorageError: a part is empty, absolute, or contains `..` or NUL.
        """
        location = parse_url(root)
        for part in parts:
            if not part or part.startswith("/") or "\0" in part or ".." in part.split("/"):
                raise StorageError(f"{location.uri}: {part!r} does not name anything below it; use a relative path")
        if not parts:
            return location.uri
        return location.child_uri("/".join(_encode_segment(segment) for segment in "/".join(parts).split("/")))

    def _backend(self, location: Location) -> Backend:
        # Keyed by process: the connections of a parent do not survive a fork. `setdefault` settles races of threads.
        key = (os.getpid(), location.scheme)
        found = self._backends.get(key)
        return found if found is not None else self._backends.setdefault(key, _connect(location.scheme, self.options))


_UNSAFE = re.compile(r"[^\w.,;=+@()!&$'~^ -]")


def _encode_segment(segment: str) -> str:
    if not segment:
        return "%"  # `a//b` must differ from `a/b`; a `%` of the name itself reads %25
    encoded = _UNSAFE.sub(lambda found: _percent(found[0]), segment)
    if encoded[0] in ". ~":
        encoded = _percent(encoded[0]) + encoded[1:]
    if encoded[-1] in ". ":
        encoded = encoded[:-1] + _percent(encoded[-1])
    return encoded


def _percent(character: str) -> str:
    # `quote` keeps the dot and the tilde whatever it is told.
    return f"%{ord(character):02X}" if character in ".~" else quote(character, safe="", errors="surrogatepass")


def _connect(scheme: Scheme, options: StorageOptions) -> Backend:
    # Imported on first use: fsspec takes a tenth of a second and s3fs one.
    match scheme:
        case "file":
            from flows.storage.files import LocalFiles

            return LocalFiles()
        case "memory":
            from flows.storage.files import MemoryFiles

            return MemoryFiles()
        case "s3":
            from flows.storage.s3 import S3Objects

            return S3Objects(options)
