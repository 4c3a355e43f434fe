"""Faults of a real S3 server behind a proxy: throttling, a wrong server, broken transfers."""

import dataclasses
import re
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flows.errors import MissingBucket, MissingObject, ObjectExists, StorageError, StorageUnusable, TransientError
from flows.storage import Storage
from tests.support.s3 import S3Server
from tests.support.s3_proxy import Fault, Proxy, proxy_of

LARGE = bytes(11 * 2**20)
"""Sent in three parts, which may not be smaller."""

Use = Callable[[Storage, str], Any]
LIST: Use = lambda storage, uri: list(storage.list(uri.rpartition("/")[0]))  # noqa: E731
READ: Use = lambda storage, uri: storage.read(uri)  # noqa: E731
STREAM: Use = lambda storage, uri: storage.open(uri).read()  # noqa: E731
WRITE: Use = lambda storage, uri: storage.write(uri, b"new")  # noqa: E731
CREATE: Use = lambda storage, uri: storage.write(f"{uri}-{uuid.uuid4()}", b"new", exclusive=True)  # noqa: E731
DELETE: Use = lambda storage, uri: storage.delete(uri)  # noqa: E731
USES = {"list": LIST, "read": READ, "stream": STREAM, "write": WRITE, "create": CREATE, "delete": DELETE}


@pytest.fixture
def proxy(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    # The client tries again at once; how long it would wait is botocore's.
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *given: 0)
    monkeypatch.setattr("flows.storage.s3._PART_BYTES", 5 * 2**20)
    with proxy_of(s3_server) as made:
        yield made


@pytest.fixture
def storage(proxy: Proxy) -> Storage:
    return Storage(proxy.options)


@pytest.fixture
def direct(s3_server: S3Server) -> Storage:
    return Storage(s3_server.options)


@pytest.fixture
def uri(s3_server: S3Server, direct: Storage) -> str:
    return direct.write(f"s3://{s3_server.bucket}/{uuid.uuid4()}/a.txt", b"x" * 100_000)


def uploads(server: S3Server) -> list[str]:
    """Keys of which parts lie in the bucket, of uploads that were neither completed nor aborted."""
    import s3fs  # pyright: ignore[reportMissingTypeStubs]

    files: Any = s3fs.S3FileSystem(
        key=server.key, secret=server.secret, endpoint_url=server.endpoint_url, skip_instance_cache=True
    )
    found = files.call_s3("list_multipart_uploads", Bucket=server.bucket).get("Uploads") or []
    return [each["Key"] for each in found]


@pytest.mark.parametrize("use", USES)
def test_whatever_is_refused_with_slow_down_may_be_tried_again(proxy: Proxy, storage: Storage, uri: str, use: str):
    proxy.fault = lambda method, path: True
    with pytest.raises(TransientError, match=r"s3://braid/.* \(at http://127.*busy \((SlowDown|503)\)") as raised:
        USES[use](storage, uri)
    assert raised.value.retry_after_s == 1
    proxy.fault = lambda method, path: False
    USES[use](storage, uri)


@pytest.mark.parametrize("use", USES)
def test_a_server_that_is_busy_for_a_moment_is_asked_again_by_the_client(
    proxy: Proxy, storage: Storage, uri: str, use: str
):
    left = iter([True, True])
    proxy.fault = lambda method, path: next(left, False)
    USES[use](storage, uri)
    assert next(left, None) is None


def test_a_deletion_of_many_that_leaves_some_for_now_may_be_tried_again(proxy: Proxy, storage: Storage, uri: str):
    answer = b"<DeleteResult><Error><Key>a.txt</Key><Code>%s</Code></Error></DeleteResult>"
    folder = uri.rpartition("/")[0]
    for code, expected in ((b"SlowDown", TransientError), (b"AccessDenied", StorageError)):
        content = answer % code
        proxy.fault = lambda method, path, content=content: method == "POST" and Fault(200, body=content)
        with pytest.raises(expected, match=rf"a.txt: not deleted, {code.decode()}"):
            storage.delete(folder, recursive=True)


# aiohttp leaves the socket of an answer that broke off to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize("use", ["read", "stream"])
def test_a_download_that_ends_too_soon_is_no_content(proxy: Proxy, storage: Storage, uri: str, use: str):
    proxy.fault = lambda method, path: method == "GET" and Fault(cut=True)
    with pytest.raises(TransientError, match="the connection broke"):
        USES[use](storage, uri)


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        (Fault(301, "PermanentRedirect"), StorageUnusable, r"redirects every request \(301\); check .*https://"),
        (Fault(307, "TemporaryRedirect"), StorageUnusable, "check BRAID_S3_REGION, and whether BRAID_S3_ENDPOINT_URL"),
        (Fault(400, "AuthorizationHeaderMalformed"), StorageUnusable, "BRAID_S3_REGION"),
        (Fault(400, "ExpiredToken"), StorageUnusable, "credentials have expired"),
        (Fault(403, "RequestTimeTooSkewed"), StorageError, "clock of this machine is wrong; set it|access denied"),
        (Fault(403, "InvalidObjectState"), StorageError, "is archived; restore it|access denied"),
        (Fault(404, "NoSuchBucket"), MissingBucket, "no such bucket"),
        (Fault(404, body=b"<html>not found</html>"), (MissingBucket, MissingObject), "no such (bucket|object)"),
        (Fault(503, body=b"<html>try later</html>"), TransientError, r"busy \(503\)"),
        (Fault(403, body=b""), StorageError, "check BRAID_S3_KEY and BRAID_S3_SECRET and the rights of that key"),
    ],
)
def test_what_is_set_wrongly_is_said_with_place_and_cure(
    proxy: Proxy, storage: Storage, uri: str, fault: Fault, kind: Any, message: str
):
    proxy.fault = lambda method, path: fault
    for use in (LIST, READ, STREAM, WRITE, CREATE):
        with pytest.raises(kind, match=message) as raised:
            use(storage, uri)
        assert re.match(rf"s3://braid/\S+ \(at {proxy.endpoint_url}\): ", str(raised.value))
        assert proxy.server.secret not in str(raised.value)


@pytest.mark.parametrize("page", [b"<html/>", b"<html><p>The console.</html>", b"Welcome"])
def test_a_page_instead_of_a_listing_is_no_empty_prefix(proxy: Proxy, storage: Storage, uri: str, page: bytes):
    proxy.fault = lambda method, path: Fault(200, body=page)
    with pytest.raises((StorageUnusable, TransientError), match=r"check BRAID_S3_ENDPOINT_URL|busy \(500\)"):
        LIST(storage, uri)


def test_a_part_that_is_refused_leaves_no_parts_behind(
    proxy: Proxy, storage: Storage, direct: Storage, s3_server: S3Server, uri: str
):
    for where in ("partNumber=2", "uploadId"):
        proxy.asked.clear()
        proxy.fault = lambda method, path, where=where: method != "DELETE" and where in path
        with pytest.raises(TransientError, match="busy"):
            storage.write(uri, LARGE)
        assert uploads(s3_server) == []
        # Nothing is on its way any more when the upload is aborted: what came later would stay.
        assert proxy.asked[-1][0] == "DELETE"
        assert not any("partNumber=3" in path for _, path in proxy.asked)
    assert direct.read(uri) == b"x" * 100_000
    proxy.fault = lambda method, path: False
    storage.write(uri, LARGE)
    assert len(direct.read(uri)) == len(LARGE)
    assert uploads(s3_server) == []


def test_an_upload_that_loses_to_another_creator_leaves_no_parts_behind(
    storage: Storage, direct: Storage, s3_server: S3Server, uri: str
):
    with pytest.raises(ObjectExists, match="exists already"):
        storage.write(uri, LARGE, exclusive=True)
    assert uploads(s3_server) == []
    assert direct.read(uri) == b"x" * 100_000


def test_an_upload_that_somebody_aborted_may_be_written_again(proxy: Proxy, storage: Storage, uri: str):
    proxy.fault = lambda method, path: method == "POST" and "uploadId" in path and Fault(404, "NoSuchUpload")
    with pytest.raises(TransientError, match="ended by another client; write it again"):
        storage.write(uri, LARGE)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(501, "NotImplemented"), "answers NotImplemented"),
        (Fault(400, "InvalidArgument"), "answers InvalidArgument"),
        (Fault(200, body=b""), "ignores it"),
    ],
    ids=["refused", "invalid", "ignored"],
)
def test_a_server_without_conditional_writes_is_refused_for_what_needs_them(
    proxy: Proxy, storage: Storage, uri: str, fault: Fault, said: str
):
    proxy.fault = lambda method, path: method == "PUT" and fault
    with pytest.raises(
        StorageUnusable, match=rf"{said}\); use a server that does, or a folder, for BRAID_ARTIFACTS_URL"
    ):
        storage.write(f"{uri}.new", b"1", exclusive=True)


def test_that_conditions_hold_is_asked_once(proxy: Proxy, storage: Storage, uri: str):
    for number in range(3):
        storage.write(f"{uri}.{number}", b"1", exclusive=True)
    assert [method for method, _ in proxy.asked] == ["PUT"] * 4


def test_what_is_created_stays_created_when_the_question_whether_conditions_hold_fails(
    proxy: Proxy, storage: Storage, direct: Storage, uri: str
):
    asked = iter([False])
    proxy.fault = lambda method, path: next(asked, True)
    assert direct.read(storage.write(f"{uri}.new", b"1", exclusive=True)) == b"1"


def test_a_reader_gets_the_old_or_the_new_object(storage: Storage, direct: Storage, uri: str):
    versions = [bytes([number]) * (200_000 + number) for number in range(1, 21)]
    storage.write(uri, versions[0])
    seen: set[bytes] = set()
    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(lambda: [direct.write(uri, version) for version in versions])
        while not writing.done():
            seen.add(storage.read(uri))
    assert seen
    assert seen <= set(versions)


def test_credentials_that_are_wrong_on_any_use_are_not_an_objects_fault(s3_server: S3Server, uri: str):
    storage = Storage(dataclasses.replace(s3_server.options, s3_secret="WRONG"))
    for use in (LIST, READ, WRITE, CREATE):
        with pytest.raises(StorageUnusable, match="check BRAID_S3_SECRET"):
            use(storage, uri)
