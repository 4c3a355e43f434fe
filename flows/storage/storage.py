"""Files and objects in folders, in memory and in S3 buckets; Braid accesses all of them through this module.

A URL is a plain path, `file://`, `memory://`, `s3://bucket/key`, or one of another storage that fsspec knows. As
everywhere in fsspec, URLs are raw: the text after the scheme is the path itself, and a `%` in it is a `%`. All URIs
that `Storage` returns are canonical (absolute, with the scheme), so two of them are equal exactly when they name the
same file.
"""

import logging
import os
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from typing import IO, Protocol
from urllib.parse import quote

from flows.errors import StorageError
from flows.storage.globs import EVERYTHING, glob_filter
from flows.storage.locations import Location, PassedOver, StorageOptions, StoredObject, parse_file, parse_url

logger = logging.getLogger(__name__)


class Backend(Protocol):
    """One kind of storage; its methods may raise any error that `explaining` can translate into ours."""

    def explaining(self, uri: str) -> AbstractContextManager[None]: ...
    def scan(
        self, location: Location, accepts: Callable[[str], bool], including: Collection[str] = ()
    ) -> Iterator[StoredObject | PassedOver]: ...
    def read(self, location: Location, max_bytes: int | None) -> bytes: ...
    def write(self, location: Location, data: bytes, exclusive: bool) -> None: ...
    def exists(self, location: Location) -> bool: ...
    def delete(self, location: Location, recursive: bool) -> None: ...
    def open(self, location: Location) -> IO[bytes]: ...


class Storage:
    """Files and objects by URL, usable from any thread; a pickled storage keeps its options and reconnects.

    Every method raises:
        StorageError: with the URI and the cure; `MissingObject` (also a FileNotFoundError) if nothing is there.
        TransientError: throttling, timeouts, dropped connections, and a server that answered before and is now down.
    """

    def __init__(self, options: StorageOptions | None = None) -> None:
        self.options = options or StorageOptions()
        self._backends: dict[tuple[int, str], Backend] = {}

    def __repr__(self) -> str:
        return f"Storage({self.options!r})"

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return (type(self), (self.options,))

    def list(self, url: str, *, pattern: str = EVERYTHING, including: Collection[str] = ()) -> Iterator[StoredObject]:
        """Yield the files below `url`, or the one file that `url` names.

        The order is always the same: sorted by name, or as an S3 server sorts (AWS by key, SeaweedFS by folder).

        Only files whose names fit `pattern` are listed (`*` stays within a folder, `**/` is any number of folders);
        the pattern does not apply to a single file. Hidden files and folders are left out, and so are links that lead
        out of the folder. Files with a name in `including` are listed in any case, even if hidden. An S3 prefix is
        listed page by page during the iteration; an empty prefix is an error.
        """
        location = parse_url(url)
        backend = self._backend(location)
        for found in self.survey(url, pattern=pattern, including=including):
            if isinstance(found, StoredObject):
                yield found
            elif found.error is not None:
                with backend.explaining(location.uri):
                    raise found.error
            elif found.rule in ("link", "name", "permission"):
                logger.warning("%s: skipped, %s", found.uri.removeprefix("file://"), found.reason)

    def survey(
        self,
        url: str,
        *,
        pattern: str = EVERYTHING,
        accepts: Callable[[str], bool] | None = None,
        including: Collection[str] = (),
    ) -> Iterator[StoredObject | PassedOver]:
        """As `list`, plus every object that `list` leaves out or cannot read, in order, with the reason.

        A folder that is hidden, unreadable or has an invalid name counts as one object. Files deleted since their
        folder was listed, and the keys that S3 consoles create for empty folders, are not reported. `accepts` decides
        about names instead of `pattern`.
        """
        accepts = accepts or glob_filter(pattern)
        location = parse_url(url)
        backend = self._backend(location)
        with backend.explaining(location.uri):
            yield from backend.scan(location, accepts, including)

    def read(self, uri: str, *, max_bytes: int | None = None) -> bytes:
        """The whole content; if it is longer than `max_bytes`, a StorageError, never a part of it."""
        location = parse_file(uri)
        backend = self._backend(location)
        with backend.explaining(location.uri):
            data = backend.read(location, max_bytes)
        if max_bytes is not None and len(data) > max_bytes:
            raise StorageError(f"{location.uri}: is longer than the {max_bytes} bytes allowed here")
        return data

    def write(self, uri: str, data: bytes, *, exclusive: bool = False) -> str:
        """Write the file completely or not at all, create missing folders, and return the canonical URI.

        Raises:
            ObjectExists: (also a FileExistsError) with `exclusive`, if the file exists already. Of several exclusive
                writers exactly one succeeds.
        """
        location = parse_file(uri)
        backend = self._backend(location)
        with backend.explaining(location.uri):
            backend.write(location, data, exclusive)
        return location.uri

    def exists(self, uri: str) -> bool:
        """Whether a file with that URI exists, or a folder or prefix that is not empty."""
        location = parse_url(uri)
        backend = self._backend(location)
        with backend.explaining(location.uri):
            return backend.exists(location)

    def delete(self, uri: str, *, recursive: bool = False) -> None:
        """Delete a file, or with `recursive` a folder and everything in it; a missing one is not an error."""
        location = parse_url(uri)
        if location.is_root:
            raise StorageError(f"{location.uri}: a whole bucket or disk is never deleted; name a folder in it")
        backend = self._backend(location)
        with backend.explaining(location.uri):
            backend.delete(location, recursive)

    def open(self, uri: str) -> IO[bytes]:
        """A seekable stream of the content, which is read in blocks; the caller closes it."""
        location = parse_file(uri)
        backend = self._backend(location)
        with backend.explaining(location.uri):
            return backend.open(location)

    @staticmethod
    def join(root: str, *parts: str) -> str:
        """The URI of the name `"/".join(parts)` below `root`: never outside `root`, and different for every name.

        Without parts, it is the canonical `root`. Characters that some storage treats specially are percent-encoded
        (also a leading dot, which would hide the file), so `urllib.parse.unquote` returns the name.

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
        # Keyed by process, since connections do not survive a fork. If threads race, `setdefault` keeps the first
        # value.
        key = (os.getpid(), location.scheme)
        found = self._backends.get(key)
        return found if found is not None else self._backends.setdefault(key, _connect(location.scheme, self.options))


# Safe are letters and digits of every script and these characters; others are special to a shell, a glob, a URL or
# Windows.
_UNSAFE = re.compile(r"[^\w.,;=+@()!&$'~^ -]")


def _encode_segment(segment: str) -> str:
    if not segment:
        return "%"  # `a//b` must differ from `a/b`; a `%` in the name is encoded as %25
    encoded = _UNSAFE.sub(lambda found: _percent(found[0]), segment)
    if encoded[0] in ". ~":
        encoded = _percent(encoded[0]) + encoded[1:]
    if encoded[-1] in ". ":
        encoded = encoded[:-1] + _percent(encoded[-1])
    return encoded


def _percent(character: str) -> str:
    # `quote` never encodes the dot and the tilde.
    return f"%{ord(character):02X}" if character in ".~" else quote(character, safe="", errors="surrogatepass")


def _connect(scheme: str, options: StorageOptions) -> Backend:
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
        case _:
            from flows.storage.elsewhere import FilesElsewhere

            return FilesElsewhere(scheme, options.by_scheme.get(scheme, {}))
