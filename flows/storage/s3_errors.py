"""Translates errors of S3 into ours, each with its cure: transient, about one object, or about the whole storage."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import botocore.exceptions as aws  # pyright: ignore[reportMissingTypeStubs]
from botocore.parsers import ResponseParserError  # pyright: ignore[reportMissingTypeStubs]
from s3fs.utils import FileExpired  # pyright: ignore[reportMissingTypeStubs]

from flows.errors import MissingBucket, MissingObject, StorageError, StorageUnusable, TransientError
from flows.storage.files import explain_os_error
from flows.storage.locations import StorageOptions

_KEYS = "BRAID_S3_KEY and BRAID_S3_SECRET"
_TRANSIENT = {
    *("SlowDown", "ServiceUnavailable", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests"),
    *("RequestTimeout", "InternalError", "OperationAborted", "ConditionalRequestConflict"),
    *("408", "409", "425", "429", "500", "502", "503", "504"),
}
_ELSEWHERE = {"301", "302", "307", "308", "TemporaryRedirect"}
_WRONG_REGION = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
_OF_BUCKETS = {"ListObjectsV2", "HeadBucket"}


def code_of(error: BaseException) -> str:
    """The error code of the server; empty if the error is not the server's."""
    answer = _server_answer(error)
    code = answer.get("Error", {}).get("Code") or answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return str(code or "")


def explain(
    uri: str, error: Exception, options: StorageOptions, *, answered: bool
) -> StorageError | TransientError | None:
    """Our error for an error of s3fs, botocore or aiohttp, else None; `answered`: the server has answered before."""
    where = _uri_with_endpoint(uri, options)
    if code := code_of(error):
        return _explain_code(where, code, error)
    match error:
        case aws.NoCredentialsError() | aws.PartialCredentialsError() | aws.CredentialRetrievalError():
            return StorageUnusable(f"{where}: no credentials; set {_KEYS}, or BRAID_S3_ANONYMOUS=true")
        case aws.SSLError() | aws.ProxyConnectionError():
            return StorageUnusable(f"{where}: no secure connection; check BRAID_S3_ENDPOINT_URL and the proxy settings")
        case aws.EndpointConnectionError():
            if answered:
                return TransientError(f"{where}: the server no longer answers")
            return StorageUnusable(f"{where}: cannot be reached; check BRAID_S3_ENDPOINT_URL and the network")
        case aws.HTTPClientError() | aws.ConnectionError() | aws.IncompleteReadError() | TimeoutError():
            return TransientError(f"{where}: the connection broke or timed out ({type(error).__name__})")
        case aws.ParamValidationError():
            return StorageError(f"{where}: not a valid bucket or key; check the URL")
        case ResponseParserError():
            return not_s3(uri, options)
        case RecursionError():  # botocore follows a redirect to the same address without end
            return _explain_code(where, "301", error)
        case FileExpired():
            return TransientError(f"{where}: changed while it was read")
        case OSError():
            return explain_os_error(where, error)
        case aws.BotoCoreError() | ValueError():
            return StorageError(f"{where}: {_without_secret(str(error), options)}; check the BRAID_S3_… settings")
        case _ if type(error).__module__.startswith("aiohttp"):
            return TransientError(f"{where}: the connection broke ({type(error).__name__})")
        case _:
            return None


def not_s3(uri: str, options: StorageOptions) -> StorageUnusable:
    """Our error for an answer that is not S3's, such as the page of a console or a proxy."""
    return StorageUnusable(
        f"{_uri_with_endpoint(uri, options)}: the server there does not answer like an S3 server; "
        "check BRAID_S3_ENDPOINT_URL"
    )


def explain_refused_deletion(bucket: str, failures: Sequence[Mapping[str, Any]]) -> StorageError | TransientError:
    """Our error for keys that a deletion did not delete; transient if all of the reasons are."""
    first = next((each for each in failures if each.get("Code") not in _TRANSIENT), None)
    if first is None:
        return TransientError(f"s3://{bucket}/{failures[0].get('Key')}: not deleted, {failures[0].get('Code')}")
    return StorageError(
        f"s3://{bucket}/{first.get('Key')}: not deleted, {first.get('Code')}; "
        f"allow the key in BRAID_S3_KEY to delete here"
    )


def _explain_code(where: str, code: str, error: Exception) -> StorageError | TransientError:
    if code in _TRANSIENT:
        return TransientError(f"{where}: the server is busy ({code})", retry_after_s=_retry_after_s(error))
    if code in _WRONG_REGION:
        return StorageUnusable(f"{where}: the bucket lies in another region ({code}); set BRAID_S3_REGION")
    if code in _ELSEWHERE:
        return StorageUnusable(
            f"{where}: the server redirects every request ({code}); check BRAID_S3_REGION, and whether "
            "BRAID_S3_ENDPOINT_URL has to begin with https://"
        )
    match code:
        case "NoSuchBucket":
            return MissingBucket(f"{where}: there is no such bucket; create it, or check BRAID_S3_ENDPOINT_URL")
        case "404" if _operation(error) in _OF_BUCKETS:
            return MissingBucket(
                f"{where}: there is no such bucket, or no S3 server; check the bucket and BRAID_S3_ENDPOINT_URL"
            )
        case "NoSuchKey" | "404":
            return MissingObject(f"{where}: there is no such object; it may have been deleted since it was listed")
        case "NoSuchUpload":
            return TransientError(f"{where}: its multipart upload was ended by another client; write it again")
        case "InvalidAccessKeyId":
            return StorageUnusable(f"{where}: the server does not know the access key; check BRAID_S3_KEY")
        case "SignatureDoesNotMatch":
            return StorageUnusable(f"{where}: the secret does not fit the access key; check BRAID_S3_SECRET")
        case "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired":
            return StorageUnusable(f"{where}: the credentials have expired ({code}); renew them")
        case "RequestTimeTooSkewed":
            return StorageUnusable(f"{where}: the clock of this machine is wrong; set it")
        case "AccessDenied" | "AllAccessDisabled" | "403":
            # Not StorageUnusable: a policy may deny access to single keys.
            return StorageError(f"{where}: access denied ({code}); check {_KEYS} and the rights of that key")
        case "InvalidBucketName":
            return StorageUnusable(f"{where}: not a valid bucket name; check the URL")
        case "InvalidObjectState":
            return StorageError(f"{where}: is archived; restore it, then ingest it again")
        case "400":
            # The answer to a HEAD request has no body with a reason.
            return StorageUnusable(
                f"{where}: the server refuses the request (400); check BRAID_S3_REGION, and whether the credentials "
                "have expired"
            )
        case _:
            return StorageError(f"{where}: the server refused with {code}")


def _client_error(error: BaseException) -> aws.ClientError | None:
    """The error of botocore, from which s3fs raises one of Python's errors."""
    cause = error if isinstance(error, aws.ClientError) else error.__cause__
    return cause if isinstance(cause, aws.ClientError) else None


def _server_answer(error: BaseException) -> dict[str, Any]:
    """The server's answer; empty if there is none."""
    response: Any = getattr(_client_error(error), "response", None)
    return response or {}


def _operation(error: BaseException) -> str:
    return str(getattr(_client_error(error), "operation_name", ""))


def _retry_after_s(error: Exception) -> float | None:
    headers: dict[str, str] = _server_answer(error).get("ResponseMetadata", {}).get("HTTPHeaders", {})
    try:
        return float(headers["retry-after"])
    except (KeyError, ValueError):
        return None  # absent, or a date


def _uri_with_endpoint(uri: str, options: StorageOptions) -> str:
    return f"{uri} (at {_without_credentials(options.s3_endpoint_url) if options.s3_endpoint_url else 'AWS'})"


def _without_credentials(endpoint_url: str) -> str:
    """The endpoint without a user name and password, in case the URL has them."""
    parts = urlsplit(endpoint_url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _without_secret(text: str, options: StorageOptions) -> str:
    return text.replace(options.s3_secret, "…") if options.s3_secret else text
