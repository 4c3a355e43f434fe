"""Parsed URLs of files and objects, the entries of listings, and the options for reaching servers."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from flows.errors import StorageError

OTHER_SCHEMES = frozenset(
    "abfs abfss adl az box dav davs dropbox ftp ftps gcs gdrive github gs hdfs hf lakefs oci oss r2 root sftp smb ssh "
    "tos webdav webdavs webhdfs files+http files+https".split()
)
"""URL schemes of the storages that fsspec reaches; each needs its package. `files+https`: a web folder.
"""


@dataclass(frozen=True)
class StorageOptions:
    """How to reach S3 and others; an S3 option that is None comes from AWS settings (environment, profiles)."""

    s3_endpoint_url: str | None = None
    s3_key: str | None = None
    s3_secret: str | None = field(default=None, repr=False)
    s3_region: str | None = None
    s3_anonymous: bool = False
    by_scheme: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]], repr=False)
    """Options of fsspec for its other storages: {"sftp": {"username": …, "password": …}}."""


@dataclass(frozen=True)
class StoredObject:
    """A file in a listing: `name` is its path below the listed root with `/`, `modified` seconds since 1970."""

    uri: str
    name: str
    size: int
    modified: float | None
    etag: str | None


PassedOverRule = Literal["pattern", "hidden", "link", "name", "permission", "special", "ignored", "robots", "unlisted"]


@dataclass(frozen=True)
class PassedOver:
    """An object that a listing leaves out, and the reason.

    A folder is one object (its contents are not listed), and its name ends with a slash. A name that is not valid UTF-8
    is escaped.
    """

    uri: str
    name: str
    rule: PassedOverRule
    reason: str
    error: OSError | None = None
    """The error of the operating system, if it caused this."""


@dataclass(frozen=True)
class Location:
    """A parsed URL; `path` is absolute for files, `bucket/key` for S3, `host/path` or the like elsewhere.

    It ends without a slash.
    """

    scheme: str
    path: str
    is_folder: bool = False

    @property
    def uri(self) -> str:
        return f"{self.scheme}://{self.path}"

    @property
    def is_root(self) -> bool:
        """Whether this is a whole bucket, the whole memory or the whole disk."""
        return "/" not in self.path.rstrip("/")

    def child_uri(self, name: str) -> str:
        separator = "" if not self.path or self.path.endswith("/") else "/"
        return f"{self.uri}{separator}{name}"


def parse_url(url: str) -> Location:
    """Parse a path or URL; a trailing slash means that it names a folder."""
    if not url or "\0" in url:
        raise StorageError(f"{url!r} is not a path or URL")
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", url)
    if not found:
        return Location("file", _absolute(os.path.expanduser(url)), url.endswith("/"))
    scheme, rest = found[1].lower().replace("s3a", "s3"), url[found.end() :]
    is_folder = rest.endswith("/")
    if scheme in OTHER_SCHEMES:
        return _parse_other(scheme, rest.rstrip("/"), is_folder)
    if scheme not in ("file", "memory", "s3"):
        raise StorageError(
            f"{url}: no storage for {scheme!r}; use a path, file://, memory://, s3:// or a scheme of fsspec, as sftp://"
        )
    match scheme:
        case "file":
            # `file://localhost/a` names this machine, as `file:///a` does.
            return Location("file", _absolute(re.sub(r"^localhost(?=/|$)", "", rest) or "/"), is_folder)
        case "memory":
            return Location("memory", rest.strip("/"), is_folder)
        case _:
            return _parse_s3(rest.rstrip("/"), is_folder)


def _absolute(path: str) -> str:
    found = os.path.abspath(path)
    return found[1:] if found.startswith("//") else found  # POSIX keeps two leading slashes


def _parse_s3(path: str, is_folder: bool) -> Location:
    bucket = path.partition("/")[0]
    if "@" in bucket:
        # The text before the @ is a secret, so the message does not repeat it.
        raise StorageError("s3://…@…: put credentials into BRAID_S3_KEY and BRAID_S3_SECRET, not into the URL")
    if not bucket:
        raise StorageError(f"s3://{path}: names no bucket; write s3://bucket/prefix")
    if "?versionId=" in path or not _is_unicode(path):
        raise StorageError(f"s3://{path!a}: this key cannot be addressed; rename the object")
    return Location("s3", path, is_folder)


def _parse_other(scheme: str, path: str, is_folder: bool) -> Location:
    user = path.partition("/")[0].rpartition("@")[0]
    if ":" in user and scheme != "github":  # the text after the colon is a secret
        raise StorageError(f"{scheme}://…@…: put passwords into the options of the source, not into the URL")
    if not path:
        raise StorageError(f"{scheme}://: names no place")
    return Location(scheme, path, is_folder)


def parse_file(uri: str) -> Location:
    """The location of one file or object.

    Raises:
        StorageError: the URI names a folder, or is not a valid location.
    """
    location = parse_url(uri)
    if location.is_root or location.is_folder:
        raise StorageError(f"{location.uri}: names a folder, not a file in it")
    return location


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
