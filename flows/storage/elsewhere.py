"""Other storage, reached through fsspec: sftp, ftp, gs, abfs, smb, webdav, github, web folders …"""

import datetime as dt
import errno
import io
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import IO, Any
from urllib.parse import quote, unquote

from flows.errors import MissingObject, ObjectExists, OrchestrationError, StorageError, StorageUnusable, TransientError
from flows.storage.connecting import Connections
from flows.storage.files import FlatListing, explain_os_error
from flows.storage.locations import Location, PassedOver, StoredObject, parse_url

_TOKENS = ("ETag", "etag", "md5Hash", "content_md5", "sha", "checksum", "content_hash")
_TIMES = ("mtime", "modified", "last_modified", "LastModified", "Last-Modified", "updated", "modify")
_BUSY = {408, 425, 429, 500, 502, 503, 504}


class FilesElsewhere:
    """Files by path on one kind of server; `options` are those of the fsspec class, besides the parts of the URL."""

    def __init__(self, scheme: str, options: Mapping[str, Any]) -> None:
        self._connections = Connections(scheme, options)
        self._protocol = self._connections.scheme
        self._is_web = self._protocol.startswith("http")
        """Whether names are parts of URLs, and a folder is a page of links."""

    @contextmanager
    def explaining(self, uri: str) -> Generator[None]:
        try:
            yield
        except OrchestrationError:
            raise
        except Exception as error:
            if not isinstance(error, (FileNotFoundError, PermissionError)):
                self._connections.drop(parse_url(uri).path)
            raise _explained(uri, self._protocol, error) from error

    def scan(
        self, location: Location, accepts: Callable[[str], bool], including: Collection[str] = ()
    ) -> Iterator[StoredObject | PassedOver]:
        files, path = self._open(location)
        if not location.is_folder and (info := self._info_of_file(files, path)) is not None:
            yield _stored(location.uri, location.path.rpartition("/")[2], info)
            return
        listing = FlatListing(accepts, including)
        for name, entry in self._walk(files, path, ""):
            uri = location.child_uri(quote(name) if self._is_web else name)
            if isinstance(entry, Exception):
                yield PassedOver(uri, f"{name}/", "permission", "may not be listed by this user")
                continue
            for found in listing.look_at(_stored(uri, name, entry)):
                wanted = isinstance(found, StoredObject)
                yield _stored(uri, name, files.info(entry["name"])) if wanted and entry.get("size") is None else found

    def _info_of_file(self, files: Any, path: str) -> dict[str, Any] | None:
        """The server's information about a file; None for a folder, which a web server shows as a page."""
        info: dict[str, Any] = files.info(path)
        is_page = self._is_web and info.get("mimetype") == "text/html"
        return info if info.get("type") == "file" and not is_page else None

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
            if self._is_web and "?" in own:
                continue  # the page itself, sorted otherwise; in a name it would be encoded
            if own and str(entry["name"]).rstrip("/") != folder.rstrip("/"):
                is_folder = entry.get("type") == "directory" or str(entry["name"]).endswith("/")
                found[(unquote(own) if self._is_web else own) + "/" * is_folder] = entry
        for own in sorted(found):
            if own.endswith("/"):
                yield from self._walk(files, found[own]["name"], prefix + own)
            else:
                yield prefix + own, found[own]

    def read(self, location: Location, max_bytes: int | None) -> bytes:
        files, path = self._open(location)
        # fsspec puts the path into a URL as it is.
        with files.open(quote(path) if self._protocol == "github" else path, "rb") as stream:
            return stream.read() if max_bytes is None else stream.read(max_bytes + 1)

    def write(self, location: Location, data: bytes, exclusive: bool) -> None:
        files, path = self._open(location)
        if exclusive:
            raise StorageUnusable(
                f"{location.uri}: {self._protocol} does not support exclusive writes; use a folder or S3"
            )
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
        return self._connections.at(location.path)


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
    cause = error.__cause__
    if isinstance(error, FileNotFoundError) and isinstance(cause, Exception) and _status(cause) not in (None, 404, 410):
        return _explained(uri, protocol, cause)  # fsspec's HTTP calls every refusal a missing file
    status = _status(error)
    match error:
        case ImportError():
            return StorageUnusable(f"{uri}: {error}; install that package to read {protocol}://")
        case _ if isinstance(error, FileNotFoundError) or status in (404, 410) or _is_named(error, _MISSING):
            return MissingObject(f"{uri}: there is no such file or folder; check the path")
        case FileExistsError():
            return ObjectExists(f"{uri}: exists already, and this write must not replace it")
        case _ if status in _BUSY:
            return TransientError(f"{uri}: the server is busy ({status})", retry_after_s=_retry_after_s(error))
        case _ if status in (401, 403):
            return StorageUnusable(f"{uri}: access denied ({status}); check the options of the source")
        case ConnectionError() | TimeoutError() | EOFError():
            return TransientError(f"{uri}: the connection broke ({type(error).__name__}: {error})")
        case OSError() if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ECONNREFUSED):
            return TransientError(f"{uri}: cannot be reached ({error})")
        case PermissionError():
            return explain_os_error(uri, error)
        case OSError() if type(error) is OSError and error.errno is None:  # as paramiko's "Socket is closed"
            return TransientError(f"{uri}: the connection broke ({error})")
        case _ if _is_named(error, _REFUSED):
            name = type(error).__name__
            return StorageUnusable(f"{uri}: access denied ({name}: {error}); check the options of the source")
        case _ if _is_named(error, _BROKEN):
            return TransientError(f"{uri}: the connection broke ({type(error).__name__}: {error})")
        case OSError():
            return explain_os_error(uri, error)
        case _:
            return StorageError(f"{uri}: {type(error).__name__}: {error}")


_MISSING = ("NoSuchFile", "NotFound")
_REFUSED = ("Auth", "Permission", "Credential", "LogonFailure", "AccessDenied")
_BROKEN = (
    *("Connection", "Timeout", "Disconnect", "ChannelOpen", "Transport", "SSHException"),
    *("Payload", "IncompleteRead", "Chunked"),  # an answer that ended early
)
"""Parts of the names of errors; each client has errors of its own, which share no class."""


def _is_named(error: Exception, parts: Collection[str]) -> bool:
    return any(part in known.__name__ for known in type(error).__mro__ for part in parts)


def _status(error: Exception) -> int | None:
    """The status of an answer of HTTP, which each client keeps in another place."""
    for owner, name in (
        (error, "status"),
        (error, "status_code"),
        (getattr(error, "response", None), "status_code"),
        (error, "code"),
    ):
        found = getattr(owner, name, None)
        if isinstance(found, int):
            return found
    return None


def _retry_after_s(error: Exception) -> float | None:
    headers: Any = getattr(getattr(error, "response", None), "headers", None) or getattr(error, "headers", None) or {}
    try:
        return float(headers.get("Retry-After"))
    except (AttributeError, TypeError, ValueError):
        return None  # absent, or a date
