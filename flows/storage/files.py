"""Storage in local folders and in the memory of this process."""

import errno
import io
import logging
import os
import secrets
import shutil
import stat
import threading
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import IO, Any

from flows.errors import MissingObject, ObjectExists, OrchestrationError, StorageError, StorageUnusable, TransientError
from flows.storage.locations import Location, StoredObject

logger = logging.getLogger(__name__)

_TEMPORARY = ".braid-"


class LocalFiles:
    """Files on disk; written to a hidden temporary file beside the target, then renamed."""

    def explaining(self, uri: str) -> AbstractContextManager[None]:
        return _explaining_os_errors(uri)

    def scan(
        self, location: Location, accepts: Callable[[str], bool], including: Collection[str] = ()
    ) -> Iterator[StoredObject]:
        status = os.stat(location.path)
        if stat.S_ISDIR(status.st_mode):
            for path, name, found in _walk(location.path, "", os.path.realpath(location.path), including):
                if is_included(name, including) or accepts(name):
                    yield StoredObject(f"file://{path}", name, found.st_size, found.st_mtime, None)
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
            os.makedirs(folder, exist_ok=True)
        except FileExistsError as error:
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", folder) from error
        temporary = os.path.join(folder, f"{_TEMPORARY}{secrets.token_hex(8)}.tmp")
        try:
            with open(temporary, "xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())  # what is noted as written survives a power cut
            if exclusive:
                _rename_exclusively(temporary, location.path)
            else:
                os.replace(temporary, location.path)
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


def _walk(folder: str, prefix: str, root: str, including: Collection[str]) -> Iterator[tuple[str, str, os.stat_result]]:
    """Yield path, name and status of the files below `folder`, in the order of their full names."""
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".") or entry.name in including]
    except FileNotFoundError:
        if not prefix:
            raise
        return  # deleted since its parent was listed
    # A folder is sorted as if its name ended with a slash, so that `a-b` comes before `a/b`, as in S3.
    for entry in sorted(visible, key=lambda entry: entry.name + "/" * entry.is_dir(follow_symlinks=False)):
        name = prefix + entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, name + "/", root, including)
        elif (status := _file_status(entry, root)) is not None:
            yield entry.path, name, status


def _file_status(entry: os.DirEntry[str], root: str) -> os.stat_result | None:
    try:
        status = entry.stat()
    except (FileNotFoundError, NotADirectoryError):
        if entry.is_symlink():
            logger.warning("%s: skipped, the link leads nowhere", entry.path)
        return None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        logger.warning("%s: skipped, the link leads to itself", entry.path)
        return None
    if entry.is_symlink() and (stat.S_ISDIR(status.st_mode) or not _is_below(os.path.realpath(entry.path), root)):
        logger.warning("%s: skipped, a link to a folder or out of the listed one; list its target itself", entry.path)
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    if any("\udc80" <= character <= "\udcff" for character in entry.path):
        logger.warning("%a: skipped, its name is not UTF-8; rename it", entry.path)
        return None
    return status


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
    ) -> Iterator[StoredObject]:
        root = "/" + location.path if location.path else ""
        info: dict[str, Any] = self._files.info(root)
        if info["type"] == "file":
            yield _from_memory(location.uri, root.rpartition("/")[2], info)
            return
        found: dict[str, dict[str, Any]] = self._files.find(root, detail=True)
        for path in sorted(found):
            name = path[len(root) + 1 :]
            if is_included(name, including) or (not is_hidden(name) and accepts(name)):
                yield _from_memory(f"memory://{path[1:]}", name, found[path])

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


def is_hidden(name: str) -> bool:
    """Whether a file or one of its folders starts with a dot."""
    return name.startswith(".") or "/." in name


def is_included(name: str, including: Collection[str]) -> bool:
    """Whether a file is listed because its name is in `including`; it may be hidden, its folders may not."""
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
            return ObjectExists(f"{uri}: exists already, and was to be created, not replaced")
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
