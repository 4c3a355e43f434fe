"""Storage in S3 buckets, of AWS or of any server that speaks its protocol, through s3fs."""

import io
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from typing import IO, Any
from urllib.parse import urlsplit

import botocore.exceptions as aws  # pyright: ignore[reportMissingTypeStubs]
import s3fs  # pyright: ignore[reportMissingTypeStubs]  (it ships none)
from s3fs.utils import FileExpired  # pyright: ignore[reportMissingTypeStubs]

from flows.errors import MissingObject, ObjectExists, OrchestrationError, StorageError, TransientError
from flows.locations import Location, StorageOptions, StoredObject
from flows.storage_files import explain_os_error, is_hidden, is_shown

_KEYS = "BRAID_S3_KEY and BRAID_S3_SECRET"
_BLOCK_BYTES = 8 * 2**20


class S3Objects:
    """Objects by bucket and key; nothing is cached, so every call sees what is there now."""

    def __init__(self, options: StorageOptions) -> None:
        self._options = options
        self._answered = False
        # Retries: botocore tries a request three times, s3fs a broken answer twice; the rest is left to Prefect.
        config: dict[str, Any] = {"retries": {"mode": "standard", "total_max_attempts": 3}}
        if options.s3_endpoint_url:
            # Servers of other makers often refuse the checksum trailers that AWS clients send since 2025.
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
            explained = self._explain(uri, error)
            if explained is None:
                raise
            raise explained from error
        else:
            self._answered = True

    def scan(
        self, location: Location, accepts: Callable[[str], bool], shown: Collection[str] = ()
    ) -> Iterator[StoredObject]:
        bucket, _, key = location.path.partition("/")
        prefix = f"{key}/" if key else ""
        is_empty = True
        for page in self._pages(bucket, prefix):
            for entry in page:
                is_empty = False
                name: str = entry["Key"][len(prefix) :]
                # A key that ends with a slash is how S3 consoles show an empty folder.
                wanted = is_shown(name, shown) or (not is_hidden(name) and accepts(name))
                if name and not name.endswith("/") and wanted:
                    uri = f"s3://{bucket}/{entry['Key']}"
                    yield _stored(uri, name, entry["Size"], entry)
        if is_empty and key:
            info = self._file_info(location)
            if info is None or location.is_folder:
                raise MissingObject(f"{location.uri}: no object and no prefix of this name; check bucket and prefix")
            yield _stored(location.uri, key.rpartition("/")[2], info["size"], info)

    def read(self, location: Location, max_bytes: int | None) -> bytes:
        if max_bytes is None:
            # One stream: more of them would need a request for the size first.
            return self._s3.cat_file(location.path, max_concurrency=1)
        try:
            return self._s3.cat_file(location.path, start=0, end=max_bytes + 1)
        except OSError as error:
            if _code(error) not in ("InvalidRange", "416"):
                raise
            return self._s3.cat_file(location.path, max_concurrency=1)  # of an empty object there is no range

    def write(self, location: Location, data: bytes, exclusive: bool) -> None:
        try:
            self._s3.pipe_file(location.path, data, mode="create" if exclusive else "overwrite")
        except OSError as error:
            # The error for a failed precondition differs from server to server: AWS, moto, SeaweedFS.
            if exclusive and (isinstance(error, FileExistsError) or _code(error) in ("PreconditionFailed", "412")):
                raise ObjectExists(f"{location.uri}: exists already, and was to be created, not replaced") from error
            raise

    def exists(self, location: Location) -> bool:
        bucket, _, key = location.path.partition("/")
        # Not left to s3fs: it takes the folders that SeaweedFS keeps after their last object for something.
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
        # Always the first page again: continuing a listing while deleting from it skips keys on some servers.
        while page := next(self._pages(bucket, f"{key}/", 1000 if recursive else 1), None):
            if not recursive:
                raise StorageError(f"{location.uri}: is a folder; delete it with `recursive=True`")
            keys = [{"Key": entry["Key"]} for entry in page]
            answer = self._s3.call_s3("delete_objects", Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
            if failures := answer.get("Errors"):
                first = failures[0]
                raise StorageError(
                    f"s3://{bucket}/{first.get('Key')}: not deleted, {first.get('Code')}; "
                    f"allow the key in BRAID_S3_KEY to delete here"
                )

    def open(self, location: Location) -> IO[bytes]:
        if self._file_info(location) is None:
            raise FileNotFoundError(location.path)
        return io.BufferedReader(_Stream(self, location))

    def open_blocks(self, location: Location) -> IO[bytes]:
        return self._s3.open(location.path, "rb", block_size=_BLOCK_BYTES)

    def _pages(self, bucket: str, prefix: str, size: int = 1000) -> Iterator[list[dict[str, Any]]]:
        """Yield pages that are not empty."""
        request: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": size}
        while True:
            answer: dict[str, Any] = self._s3.call_s3("list_objects_v2", **request)
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

    def _explain(self, uri: str, error: Exception) -> StorageError | TransientError | None:
        endpoint = _shown(self._options.s3_endpoint_url) if self._options.s3_endpoint_url else "AWS"
        where = f"{uri} (at {endpoint})"
        code = _code(error)
        if code:
            self._answered = True
            return _explain_code(where, code, error)
        match error:
            case aws.NoCredentialsError() | aws.PartialCredentialsError() | aws.CredentialRetrievalError():
                return StorageError(f"{where}: no credentials; set {_KEYS}, or BRAID_S3_ANONYMOUS=true")
            case aws.SSLError() | aws.ProxyConnectionError():
                return StorageError(
                    f"{where}: no secure connection; check BRAID_S3_ENDPOINT_URL and the proxy settings"
                )
            case aws.EndpointConnectionError():
                if self._answered:
                    return TransientError(f"{where}: the server answers no longer")
                return StorageError(f"{where}: cannot be reached; check BRAID_S3_ENDPOINT_URL and the network")
            case aws.HTTPClientError() | aws.ConnectionError() | aws.IncompleteReadError() | TimeoutError():
                return TransientError(f"{where}: the connection broke or timed out ({type(error).__name__})")
            case aws.ParamValidationError():
                return StorageError(f"{where}: not a valid bucket or key; check the URL")
            case FileExpired():
                return TransientError(f"{where}: changed while it was read")
            case OSError():
                return explain_os_error(where, error)
            case aws.BotoCoreError() | ValueError():
                return StorageError(f"{where}: {_scrubbed(str(error), self._options)}; check the BRAID_S3_… settings")
            case _ if type(error).__module__.startswith("aiohttp"):
                return TransientError(f"{where}: the connection broke ({type(error).__name__})")
            case _:
                return None


def _stored(uri: str, name: str, size: int, entry: dict[str, Any]) -> StoredObject:
    modified = entry.get("LastModified")
    etag = str(entry.get("ETag") or "").strip('"')
    return StoredObject(uri, name, size, modified.timestamp() if modified else None, etag or None)


class _Stream(io.RawIOBase):
    """An S3 object as a raw stream, whose late errors are explained too."""

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


def _answer(error: BaseException) -> dict[str, Any]:
    """What the server said: s3fs raises Python's errors from botocore's."""
    source = error if isinstance(error, aws.ClientError) else error.__cause__
    response: Any = getattr(source, "response", None) if isinstance(source, aws.ClientError) else None
    return response or {}


def _code(error: BaseException) -> str:
    return str(_answer(error).get("Error", {}).get("Code", ""))


_PASSING = {
    *("SlowDown", "ServiceUnavailable", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests"),
    *("RequestTimeout", "InternalError", "OperationAborted", "ConditionalRequestConflict"),
    *("408", "409", "425", "429", "500", "502", "503", "504"),
}
_WRONG_REGION = {"301", "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}


def _explain_code(where: str, code: str, error: Exception) -> StorageError | TransientError:
    if code in _PASSING:
        return TransientError(f"{where}: the server is busy ({code})", retry_after_s=_retry_after_s(error))
    if code in _WRONG_REGION:
        return StorageError(f"{where}: the bucket lies in another region ({code}); set BRAID_S3_REGION")
    match code:
        case "NoSuchBucket":
            return MissingObject(f"{where}: there is no such bucket; create it, or check BRAID_S3_ENDPOINT_URL")
        case "NoSuchKey" | "404":
            return MissingObject(f"{where}: there is no such object; it may have been deleted since it was listed")
        case "InvalidAccessKeyId":
            return StorageError(f"{where}: the server does not know the access key; check BRAID_S3_KEY")
        case "SignatureDoesNotMatch":
            return StorageError(f"{where}: the secret does not fit the access key; check BRAID_S3_SECRET")
        case "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired":
            return StorageError(f"{where}: the credentials have expired; renew them")
        case "RequestTimeTooSkewed":
            return StorageError(f"{where}: the clock of this machine is wrong; set it")
        case "AccessDenied" | "AllAccessDisabled" | "403":
            return StorageError(f"{where}: access denied ({code}); check {_KEYS} and what that key may do here")
        case "InvalidBucketName":
            return StorageError(f"{where}: not a valid bucket name; check the URL")
        case _:
            return StorageError(f"{where}: the server refused with {code}")


def _retry_after_s(error: Exception) -> float | None:
    headers: dict[str, str] = _answer(error).get("ResponseMetadata", {}).get("HTTPHeaders", {})
    try:
        return float(headers["retry-after"])
    except (KeyError, ValueError):
        return None  # absent, or a date


def _shown(endpoint_url: str) -> str:
    """The endpoint without a user name and password that somebody may have put into it."""
    parts = urlsplit(endpoint_url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _scrubbed(text: str, options: StorageOptions) -> str:
    return text.replace(options.s3_secret, "…") if options.s3_secret else text
