"""Storage in local folders and in the memory of this process."""

import errno
import io
import os
import secrets
import shutil
import stat
import threading
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from flows.errors import MissingObject, ObjectExists, OrchestrationError, StorageError, StorageUnusable, TransientError
from flows.storage.durable import make_folders_durably, sync_folder
from flows.storage.locations import Location, PassedOver, PassedOverRule, StoredObject

_TEMPORARY = ".braid-"
_EFFECTIVE = os.access in os.supports_effective_ids


class LocalFiles:
    """Files on disk; written to a hidden temporary file beside the target, then renamed."""

    def explaining(self, uri: str) -> AbstractContextManager[None]:
        return _explaining_os_errors(uri)

    def scan(
        self, location: Location, accepts: Callable[[str], bool], including: Collection[str] = ()
    ) -> Iterator[StoredObject | PassedOver]:
        status = os.stat(location.path)
        if stat.S_ISDIR(status.st_mode):
            for found in _walk(location.path, "", os.path.realpath(location.path), including):
                if isinstance(found, PassedOver):
                    yield found
                elif not (is_included(found.name, including) or accepts(found.name)):
                    yield not_wanted(found)
                elif not os.access(found.uri.removeprefix("file://"), os.R_OK, effective_ids=_EFFECTIVE):
                    yield PassedOver(found.uri, found.name, "permission", "may not be read by this user")
                else:
                    yield found
        elif location.is_folder:
            raise NotADirectoryError(location.path)
        else:
            name = os.path.basename(location.path)
            yield StoredObject(location.uri, name, status.st_size, status.st_mtime, None)

    def read(self, location: Location, max_bytes: int | None) -> bytes:
        with open(location.path, "rb") as stream:
            return stream.read() if max_bytes is None else stream.read(max_bytes + 1)

    def write(self, location: Location, data: bytes, exclusive: bool) -> None:
        folder = os.path.dirname(location.path)
        try:
            make_folders_durably(Path(folder))
        except FileExistsError as error:
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", folder) from error
        temporary = os.path.join(folder, f"{_TEMPORARY}{secrets.token_hex(8)}.tmp")
        try:
            with open(temporary, "xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())  # a file reported as written survives a power cut
            if exclusive:
                _rename_exclusively(temporary, location.path)
            else:
                os.replace(temporary, location.path)
            sync_folder(Path(folder))
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary)

    def exists(self, location: Location) -> bool:
        try:
            os.stat(location.path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def delete(self, location: Location, recursive: bool) -> None:
        with suppress(FileNotFoundError, NotADirectoryError):
            if recursive and os.path.isdir(location.path) and not os.path.islink(location.path):
                shutil.rmtree(location.path)
            elif os.path.isdir(location.path) and not os.path.islink(location.path):
                raise _is_a_folder(location)
            else:
                os.unlink(location.path)

    def open(self, location: Location) -> IO[bytes]:
        return open(location.path, "rb")


def _walk(folder: str, prefix: str, root: str, including: Collection[str]) -> Iterator[StoredObject | PassedOver]:
    """Yield the objects below `folder`, in the order of their full names."""
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except FileNotFoundError:
        if not prefix:
            raise
        return  # deleted since its parent was listed
    except PermissionError as error:
        if not prefix:
            raise
        yield PassedOver(f"file://{folder}", prefix, "permission", "may not be listed by this user", error)
        return
    # A folder is sorted as if its name ended with a slash, so that `a-b` comes before `a/b`, as in S3.
    for entry in sorted(found, key=lambda entry: entry.name + "/" * entry.is_dir(follow_symlinks=False)):
        is_folder = entry.is_dir(follow_symlinks=False)
        name = prefix + entry.name
        if not is_text(entry.name):
            yield _passed_over(entry, prefix, "name", "its name is not UTF-8; rename it")
        elif entry.name.startswith(".") and entry.name not in including:
            yield _passed_over(entry, prefix, "hidden", _DOT)
        elif is_folder:
            yield from _walk(entry.path, name + "/", root, including)
        else:
            yield from _file(entry, prefix, root)


def _file(entry: os.DirEntry[str], prefix: str, root: str) -> Iterator[StoredObject | PassedOver]:
    """The entry as a file; nothing if it was deleted meanwhile."""
    try:
        status = entry.stat()
    except (FileNotFoundError, NotADirectoryError):
        if entry.is_symlink():
            yield _passed_over(entry, prefix, "link", "the link leads nowhere")
        return
    except OSError as error:
        if error.errno == errno.ELOOP:
            yield _passed_over(entry, prefix, "link", "the link leads to itself")
        elif isinstance(error, PermissionError):
            yield _passed_over(entry, prefix, "permission", "may not be read by this user", error)
        else:
            raise
        return
    if entry.is_symlink() and stat.S_ISDIR(status.st_mode):
        yield _passed_over(entry, prefix, "link", "a link to a folder; ingest its target itself")
    elif entry.is_symlink() and not _is_below(os.path.realpath(entry.path), root):
        yield _passed_over(entry, prefix, "link", "a link out of the listed folder; ingest its target itself")
    elif not stat.S_ISREG(status.st_mode):
        yield _passed_over(entry, prefix, "special", "a device, a pipe or a socket")
    else:
        yield StoredObject(f"file://{entry.path}", prefix + entry.name, status.st_size, status.st_mtime, None)


def _passed_over(
    entry: os.DirEntry[str], prefix: str, rule: PassedOverRule, reason: str, error: OSError | None = None
) -> PassedOver:
    slash = "/" * entry.is_dir(follow_symlinks=False)
    uri, name = (as_text(each) for each in (f"file://{entry.path}", f"{prefix}{entry.name}{slash}"))
    return PassedOver(uri, name, rule, reason, error)


def _is_below(path: str, root: str) -> bool:
    return os.path.commonpath([path, root]) == root


def _rename_exclusively(temporary: str, path: str) -> None:
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
            raise
        # No hard links here (FAT, some network and container mounts): claim the name first, then fill it.
        with open(path, "xb"):
            pass
        os.replace(temporary, path)


class MemoryFiles:
    """Files in fsspec's memory filesystem, shared by everything in this process; for tests and trials."""

    # fsspec checks and then creates; an exclusive write must do both at once.
    _write_lock = threading.Lock()

    def __init__(self) -> None:
        from fsspec.implementations.memory import MemoryFileSystem  # pyright: ignore[reportMissingTypeStubs]

        # Typed as Any at the border: fsspec has no annotations.
        self._files: Any = MemoryFileSystem()

    def explaining(self, uri: str) -> AbstractContextManager[None]:
        return _explaining_os_errors(uri)

    def scan(
        self, location: Location, accepts: Callable[[str], bool], including: Collection[str] = ()
    ) -> Iterator[StoredObject | PassedOver]:
        root = "/" + location.path if location.path else ""
        info: dict[str, Any] = self._files.info(root)
        if info["type"] == "file":
            yield _from_memory(location.uri, root.rpartition("/")[2], info)
            return
        found: dict[str, dict[str, Any]] = self._files.find(root, detail=True)
        listing = FlatListing(accepts, including)
        for path in sorted(found):
            name = path[len(root) + 1 :]
            yield from listing.look_at(_from_memory(f"memory://{path[1:]}", name, found[path]))

    def read(self, location: Location, max_bytes: int | None) -> bytes:
        return self._files.cat_file("/" + location.path, end=None if max_bytes is None else max_bytes + 1)

    def write(self, location: Location, data: bytes, exclusive: bool) -> None:
        path = "/" + location.path
        with self._write_lock:
            if exclusive and self._files.exists(path):
                raise FileExistsError(path)
            try:
                self._files.pipe_file(path, bytes(data))
            except FileExistsError as error:
                raise NotADirectoryError(path) from error

    def exists(self, location: Location) -> bool:
        return not location.path or self._files.exists("/" + location.path)

    def delete(self, location: Location, recursive: bool) -> None:
        path = "/" + location.path
        with self._write_lock, suppress(FileNotFoundError):
            if self._files.info(path)["type"] == "file":
                self._files.rm_file(path)
            elif recursive:
                self._files.rm(path, recursive=True)
            else:
                raise _is_a_folder(location)

    def open(self, location: Location) -> IO[bytes]:
        # A copy, since the stream that fsspec opens is the stored object, with one read position for all readers.
        return io.BytesIO(self._files.cat_file("/" + location.path))


def _from_memory(uri: str, name: str, info: dict[str, Any]) -> StoredObject:
    created = info["created"]
    modified = created if isinstance(created, float) else created.timestamp()
    return StoredObject(uri, name, info["size"], modified, None)


class FlatListing:
    """Lists objects by key as if they were in folders; a hidden folder counts as one object."""

    def __init__(self, accepts: Callable[[str], bool], including: Collection[str]) -> None:
        self._accepts, self._including = accepts, including
        self._last_hidden = ""

    def look_at(self, stored: StoredObject) -> "list[StoredObject | PassedOver]":
        """The object, or the reason for leaving it out; None if it lies in a hidden folder already reported."""
        if is_included(stored.name, self._including):
            return [stored]
        if not is_hidden(stored.name):
            return [stored] if self._accepts(stored.name) else [not_wanted(stored)]
        parts = stored.name.split("/")
        depth = next(number for number, part in enumerate(parts, 1) if part.startswith("."))
        name = "/".join(parts[:depth])
        if depth == len(parts):
            return [PassedOver(stored.uri, name, "hidden", _DOT)]
        if name == self._last_hidden:
            return []
        self._last_hidden = name
        uri = stored.uri[: len(stored.uri) - len(stored.name) + len(name)]
        return [PassedOver(uri, f"{name}/", "hidden", _DOT)]


_DOT = "its name begins with a dot"


def not_wanted(stored: StoredObject) -> PassedOver:
    """An object that does not fit the pattern of the listing."""
    return PassedOver(stored.uri, stored.name, "pattern", "does not fit the pattern")


def is_text(name: str) -> bool:
    """Whether a name is valid UTF-8."""
    return name.isascii() or not any("\udc80" <= character <= "\udcff" for character in name)


def as_text(name: str) -> str:
    """The name, with bytes that are no UTF-8 escaped as `\\udcff`."""
    return name if is_text(name) else name.encode("utf-8", "backslashreplace").decode()


def is_hidden(name: str) -> bool:
    """Whether a file or one of its folders starts with a dot."""
    return name.startswith(".") or "/." in name


def is_included(name: str, including: Collection[str]) -> bool:
    """Whether a file is listed because its name is in `including`; the file may be hidden, but not its folders."""
    folder, _, own = name.rpartition("/")
    return own in including and not is_hidden(folder)


def _is_a_folder(location: Location) -> StorageError:
    return StorageError(f"{location.uri}: is a folder; delete it with `recursive=True`")


_TRANSIENT = {errno.EAGAIN, errno.EBUSY, errno.ESTALE, errno.ETIMEDOUT, errno.EINTR}


@contextmanager
def _explaining_os_errors(uri: str) -> Generator[None]:
    try:
        yield
    except OrchestrationError:
        raise
    except OSError as error:
        raise explain_os_error(_failed_uri(uri, error), error) from error


def _failed_uri(uri: str, error: OSError) -> str:
    """The URI of the file that caused an error; while a folder is listed, it may be any file below the folder."""
    path = error.filename
    inside = isinstance(path, str) and uri.startswith("file:") and not os.path.basename(path).startswith(_TEMPORARY)
    return f"file://{path}" if inside else uri


def explain_os_error(uri: str, error: OSError) -> StorageError | TransientError:
    """Our error for an error of the operating system."""
    match error:
        case FileNotFoundError():
            return MissingObject(f"{uri}: there is no such file or folder; check the path")
        case FileExistsError():
            return ObjectExists(f"{uri}: exists already, and this write must not replace it")
        case PermissionError():
            return StorageError(f"{uri}: permission denied; give this user access to it")
        case IsADirectoryError():
            return StorageError(f"{uri}: is a folder, not a file")
        case NotADirectoryError():
            return StorageError(f"{uri}: a part of this path is a file, not a folder")
        case TimeoutError() | ConnectionError() | BlockingIOError():
            return TransientError(f"{uri}: {error.strerror or error}")
        case _:
            pass
    if error.errno in _TRANSIENT:
        return TransientError(f"{uri}: {error.strerror}")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageUnusable(f"{uri}: no space left; free some, or write elsewhere")
    return StorageError(f"{uri}: {error.strerror or error}")
