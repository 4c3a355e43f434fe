"""Storage in S3 buckets, of AWS or of another server with the same protocol, through s3fs."""

import io
import logging
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from typing import IO, Any

import s3fs  # pyright: ignore[reportMissingTypeStubs]  (it ships none)

from flows.errors import MissingObject, ObjectExists, OrchestrationError, StorageError, StorageUnusable
from flows.storage.files import FlatListing
from flows.storage.locations import Location, PassedOver, StorageOptions, StoredObject
from flows.storage.s3_errors import code_of, explain, explain_refused_deletion, not_s3

logger = logging.getLogger(__name__)

_BLOCK_BYTES = 8 * 2**20
_PAGE_KEYS = 1000
"""The most keys that a server lists at once."""
_PART_BYTES = 50 * 2**20
"""Objects of at least twice this length are written in parts of this length."""
_UNKNOWN_CONDITION = {"NotImplemented", "501", "InvalidArgument", "InvalidRequest", "MethodNotAllowed", "405", "400"}


class S3Objects:
    """Objects by bucket and key; nothing is cached, so every call sees the current state."""

    def __init__(self, options: StorageOptions) -> None:
        self._options = options
        self._answered = False
        self._known_exclusive = False
        # botocore tries a request three times, and s3fs reads a broken answer twice. Prefect makes all other retries.
        config: dict[str, Any] = {"retries": {"mode": "standard", "total_max_attempts": 3}}
        if options.s3_endpoint_url:
            # Other servers often refuse the checksum trailers that AWS clients send since 2025.
            config |= {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
        # Typed as Any at the border: s3fs has no annotations.
        self._s3: Any = s3fs.S3FileSystem(
            anon=options.s3_anonymous,
            key=options.s3_key,
            secret=options.s3_secret,
            endpoint_url=options.s3_endpoint_url,
            client_kwargs={"region_name": options.s3_region} if options.s3_region else {},
            config_kwargs=config,
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        self._s3.retries = 2

    @contextmanager
    def explaining(self, uri: str) -> Generator[None]:
        try:
            yield
        except OrchestrationError:
            raise
        except Exception as error:
            self._answered = self._answered or bool(code_of(error))
            explained = explain(uri, error, self._options, answered=self._answered)
            if explained is None:
                raise
            raise explained from error
        else:
            self._answered = True

    def scan(
        self, location: Location, accepts: Callable[[str], bool], including: Collection[str] = ()
    ) -> Iterator[StoredObject | PassedOver]:
        bucket, _, key = location.path.partition("/")
        prefix = f"{key}/" if key else ""
        is_empty, listing = True, FlatListing(accepts, including)
        for page in self._pages(bucket, prefix):
            for entry in page:
                is_empty = False
                name: str = entry["Key"][len(prefix) :]
                # S3 consoles create a key that ends with a slash to show an empty folder.
                if name and not name.endswith("/"):
                    stored = _stored_object(f"s3://{bucket}/{entry['Key']}", name, entry["Size"], entry)
                    yield from listing.look_at(stored)
        if is_empty and key:
            info = self._file_info(location)
            if info is None or location.is_folder:
                raise MissingObject(f"{location.uri}: no object and no prefix of this name; check bucket and prefix")
            yield _stored_object(location.uri, key.rpartition("/")[2], info["size"], info)

    def read(self, location: Location, max_bytes: int | None) -> bytes:
        if max_bytes is None:
            # In one stream, since several streams would need another request for the size.
            return self._s3.cat_file(location.path, max_concurrency=1)
        try:
            return self._s3.cat_file(location.path, start=0, end=max_bytes + 1)
        except OSError as error:
            if code_of(error) not in ("InvalidRange", "416"):
                raise
            return self._s3.cat_file(location.path, max_concurrency=1)  # an empty object has no range

    def write(self, location: Location, data: bytes, exclusive: bool) -> None:
        self._put_object(location, data, exclusive)
        if exclusive and not self._known_exclusive:
            self._check_exclusive(location, data)

    def _put_object(self, location: Location, data: bytes, exclusive: bool) -> None:
        try:
            # One part after another. If parts are sent side by side and one fails, the upload is aborted; a part that
            # arrives after that stays in the bucket, unseen and paid for.
            mode = "create" if exclusive else "overwrite"
            self._s3.pipe_file(location.path, data, chunksize=_PART_BYTES, max_concurrency=1, mode=mode)
        except OSError as error:
            if not exclusive:
                raise
            # AWS, moto and SeaweedFS answer differently when a precondition fails.
            if isinstance(error, FileExistsError) or code_of(error) in ("PreconditionFailed", "412"):
                raise ObjectExists(f"{location.uri}: exists already, and this write must not replace it") from error
            if code_of(error) in _UNKNOWN_CONDITION:
                raise self._without_conditions(location, f"answers {code_of(error)}") from error
            raise

    def _check_exclusive(self, location: Location, data: bytes) -> None:
        """Check, once per connection, that a second exclusive write fails; some servers ignore the condition."""
        try:
            self._put_object(location, data, exclusive=True)
        except ObjectExists:
            self._known_exclusive = True
            return
        except StorageUnusable:
            raise
        except Exception as error:
            # The object is written; the next exclusive write checks again.
            logger.debug(
                "%s: could not check whether the server refuses a second write (%s)", location.uri, type(error).__name__
            )
            return
        raise self._without_conditions(location, "ignores it")

    def _without_conditions(self, location: Location, reaction: str) -> StorageUnusable:
        return StorageUnusable(
            f"{location.uri}: must not be replaced, but this S3 server does not support conditional "
            f"writes (If-None-Match: it {reaction}); use a server that does, or a folder, for BRAID_ARTIFACTS_URL"
        )

    def exists(self, location: Location) -> bool:
        bucket, _, key = location.path.partition("/")
        # Not `s3fs.exists`, which finds the empty folders that SeaweedFS keeps after their last object.
        try:
            if not key:
                return bool(self._s3.info(bucket))
            return self._file_info(location) is not None or any(self._pages(bucket, f"{key}/", 1))
        except FileNotFoundError:
            return False

    def delete(self, location: Location, recursive: bool) -> None:
        if self._file_info(location) is not None:
            self._s3.rm_file(location.path)
        bucket, _, key = location.path.partition("/")
        # Always list the first page again: some servers skip keys if a listing continues while keys are deleted.
        while page := next(self._pages(bucket, f"{key}/", None if recursive else 1), None):
            if not recursive:
                raise StorageError(f"{location.uri}: is a folder; delete it with `recursive=True`")
            keys = [{"Key": entry["Key"]} for entry in page]
            answer = self._s3.call_s3("delete_objects", Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
            if failures := answer.get("Errors"):
                raise explain_refused_deletion(bucket, failures)

    def open(self, location: Location) -> IO[bytes]:
        if self._file_info(location) is None:
            bucket, _, key = location.path.partition("/")
            next(self._pages(bucket, f"{key}/", 1), None)  # raises if the whole bucket is missing
            raise MissingObject(
                f"{location.uri}: there is no such object; it may have been deleted since it was listed"
            )
        return io.BufferedReader(_Stream(self, location))

    def open_blocks(self, location: Location) -> IO[bytes]:
        return self._s3.open(location.path, "rb", block_size=_BLOCK_BYTES)

    def _pages(self, bucket: str, prefix: str, size: int | None = None) -> Iterator[list[dict[str, Any]]]:
        """Yield pages that are not empty."""
        request: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": size or _PAGE_KEYS}
        while True:
            answer: dict[str, Any] = self._s3.call_s3("list_objects_v2", **request)
            if not {"Name", "IsTruncated"} & answer.keys():
                raise not_s3(f"s3://{bucket}/{prefix}", self._options)
            if contents := answer.get("Contents"):
                yield contents
            if not answer.get("IsTruncated"):
                return
            request["ContinuationToken"] = answer["NextContinuationToken"]

    def _file_info(self, location: Location) -> dict[str, Any] | None:
        try:
            info: dict[str, Any] = self._s3.info(location.path)
        except FileNotFoundError:
            return None
        return info if info["type"] == "file" else None


def _stored_object(uri: str, name: str, size: int, entry: dict[str, Any]) -> StoredObject:
    modified = entry.get("LastModified")
    etag = str(entry.get("ETag") or "").strip('"')
    return StoredObject(uri, name, size, modified.timestamp() if modified else None, etag or None)


class _Stream(io.RawIOBase):
    """An S3 object as a raw stream; errors during reading are explained too."""

    def __init__(self, objects: S3Objects, location: Location) -> None:
        super().__init__()
        self._explaining, self._uri = objects.explaining, location.uri
        self._blocks = objects.open_blocks(location)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        with self._explaining(self._uri):
            data = self._blocks.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._blocks.seek(offset, whence)

    def tell(self) -> int:
        return self._blocks.tell()

    def close(self) -> None:
        self._blocks.close()
        super().close()
