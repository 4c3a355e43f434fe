"""Other storage, reached through fsspec: sftp, ftp, gs, abfs, smb, webdav, github, web folders …"""

import datetime as dt
import errno
import importlib
import io
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import IO, Any

from flows.errors import MissingObject, ObjectExists, OrchestrationError, StorageError, StorageUnusable, TransientError
from flows.storage.files import FlatListing, explain_os_error
from flows.storage.locations import Location, PassedOver, StoredObject

_TOKENS = ("ETag", "etag", "md5Hash", "content_md5", "sha", "checksum", "content_hash")
_TIMES = ("mtime", "modified", "last_modified", "LastModified", "updated", "modify")
_BUSY = {408, 425, 429, 500, 502, 503, 504}


class FilesElsewhere:
    """Files by path on one kind of server; `options` are those of the fsspec class, besides the parts of the URL."""

    def __init__(self, scheme: str, options: Mapping[str, Any]) -> None:
        self._scheme, self._options = scheme, dict(options)
        self._protocol = scheme.removeprefix("files+")

    @contextmanager
    def explaining(self, uri: str) -> Generator[None]:
        try:
            yield
        except OrchestrationError:
            raise
        except Exception as error:
            raise _explained(uri, self._protocol, error) from error

    def scan(
        self, location: Location, accepts: Callable[[str], bool], including: Collection[str] = ()
    ) -> Iterator[StoredObject | PassedOver]:
        files, path = self._open(location)
        info: dict[str, Any] = files.info(path)
        if info.get("type") == "file" and not (location.is_folder or self._protocol.startswith("http")):
            yield _stored(location.uri, location.path.rpartition("/")[2], info)
            return
        listing = FlatListing(accepts, including)
        for name, entry in self._walk(files, path, ""):
            if isinstance(entry, Exception):
                yield PassedOver(location.child_uri(name), f"{name}/", "permission", "may not be listed by this user")
            else:
                yield from listing.look_at(_stored(location.child_uri(name), name, entry))

    def _walk(self, files: Any, folder: str, prefix: str) -> Iterator[tuple[str, dict[str, Any] | PermissionError]]:
        found: dict[str, dict[str, Any]] = {}
        try:
            entries: list[dict[str, Any]] = files.ls(folder, detail=True)
        except PermissionError as error:
            if not prefix:
                raise
            yield prefix.rstrip("/"), error
            return
        for entry in entries:
            own = str(entry["name"]).rstrip("/").rpartition("/")[2]
            if own and str(entry["name"]).rstrip("/") != folder.rstrip("/"):
                is_folder = entry.get("type") == "directory" or str(entry["name"]).endswith("/")
                found[own + "/" * is_folder] = entry
        for own in sorted(found):
            if own.endswith("/"):
                yield from self._walk(files, found[own]["name"], prefix + own)
            else:
                yield prefix + own, found[own]

    def read(self, location: Location, max_bytes: int | None) -> bytes:
        files, path = self._open(location)
        with files.open(path, "rb") as stream:
            return stream.read() if max_bytes is None else stream.read(max_bytes + 1)

    def write(self, location: Location, data: bytes, exclusive: bool) -> None:
        files, path = self._open(location)
        if exclusive:
            raise StorageUnusable(f"{location.uri}: {self._protocol} knows no exclusive writes; use a folder or S3")
        files.makedirs(path.rpartition("/")[0], exist_ok=True)
        files.pipe_file(path, data)

    def exists(self, location: Location) -> bool:
        files, path = self._open(location)
        return bool(files.exists(path))

    def delete(self, location: Location, recursive: bool) -> None:
        files, path = self._open(location)
        if files.exists(path):
            if not recursive and files.isdir(path):
                raise StorageError(f"{location.uri}: is a folder; delete it with `recursive=True`")
            files.rm(path, recursive=recursive)

    def open(self, location: Location) -> IO[bytes]:
        # Read whole, since many of these servers cannot seek, and documents have a size limit.
        return io.BytesIO(self.read(location, None))

    def _open(self, location: Location) -> tuple[Any, str]:
        core: Any = importlib.import_module("fsspec.core")  # it has no annotations
        given: Any = {"use_listings_cache": False, **self._options}
        files, path = core.url_to_fs(f"{self._protocol}://{location.path}", **given)
        return files, path


def _stored(uri: str, name: str, info: Mapping[str, Any]) -> StoredObject:
    token = next((str(info[key]).strip('"') for key in _TOKENS if info.get(key)), None)
    modified = next((_seconds(info[key]) for key in _TIMES if info.get(key)), None)
    return StoredObject(uri, name, int(info.get("size") or 0), modified, token)


def _seconds(value: Any) -> float | None:
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=value.tzinfo or dt.UTC).timestamp()
    text = str(value)
    for read in (dt.datetime.fromisoformat, parsedate_to_datetime, _ftp_time):
        try:
            found = read(text)
        except ValueError:
            continue
        return found.replace(tzinfo=found.tzinfo or dt.UTC).timestamp()
    return None


def _ftp_time(text: str) -> dt.datetime:
    return dt.datetime.strptime(text[:14], "%Y%m%d%H%M%S")


def _explained(uri: str, protocol: str, error: Exception) -> StorageError | TransientError:
    status = getattr(error, "status", None) or getattr(getattr(error, "response", None), "status_code", None)
    match error:
        case ImportError():
            return StorageUnusable(f"{uri}: {error}; install that package to read {protocol}://")
        case FileNotFoundError():
            return MissingObject(f"{uri}: there is no such file or folder; check the path")
        case FileExistsError():
            return ObjectExists(f"{uri}: exists already, and was to be created, not replaced")
        case _ if status in _BUSY:
            return TransientError(f"{uri}: the server is busy ({status})")
        case _ if status in (401, 403):
            return StorageUnusable(f"{uri}: access denied ({status}); check the options of the source")
        case ConnectionError() | TimeoutError() | EOFError():
            return TransientError(f"{uri}: the connection broke ({type(error).__name__}: {error})")
        case OSError() if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ECONNREFUSED):
            return TransientError(f"{uri}: cannot be reached ({error})")
        case OSError():
            return explain_os_error(uri, error)
        case _:
            name = type(error).__name__
            if any(word in name for word in ("Connection", "Timeout", "Disconnect", "ChannelOpen")):
                return TransientError(f"{uri}: the connection broke ({name}: {error})")
            if any(word in name for word in ("Auth", "Permission", "Credential")):
                return StorageUnusable(f"{uri}: access denied ({name}: {error}); check the options of the source")
            return StorageError(f"{uri}: {name}: {error}")
