import dataclasses
import socket
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice

import pytest

from flows.errors import MissingObject, ObjectExists, StorageError, TransientError
from flows.storage import Storage
from tests.support.s3 import S3Server, run_s3_server
from tests.support.storage_contract import StorageContract


@pytest.fixture(scope="module")
def storage(s3_server: S3Server) -> Storage:
    return Storage(s3_server.options)


@pytest.fixture
def root(s3_server: S3Server) -> str:
    return f"s3://{s3_server.bucket}/{uuid.uuid4()}"


class TestS3Objects(StorageContract):
    in_name_order = False  # SeaweedFS lists folder by folder; AWS would sort by key


def test_a_prefix_of_more_than_one_page_is_listed_and_deleted_whole(storage: Storage, root: str):
    names = [f"{number:04}" for number in range(1100)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: storage.write(f"{root}/{name}", b""), names))
    assert [found.name for found in islice(storage.list(root), 3)] == names[:3]
    assert [found.name for found in storage.list(root)] == names
    storage.delete(root, recursive=True)
    assert not storage.exists(root)


def test_listed_objects_carry_their_etag(storage: Storage, root: str):
    uri = storage.write(f"{root}/a", b"hello")
    expected = "5d41402abc4b2a76b9719d911017c592"  # the MD5 of the content
    assert [found.etag for url in (root, uri) for found in storage.list(url)] == [expected, expected]


@pytest.mark.slow
def test_a_large_object_is_written_in_parts_and_read_in_blocks(storage: Storage, root: str):
    data = bytes(range(256)) * (101 * 2**20 // 256)
    uri = storage.write(f"{root}/large", data)
    with storage.open(uri) as stream:
        assert stream.read(2**20) == data[: 2**20]
        stream.seek(-10, 2)
        assert stream.read() == data[-10:]
    with pytest.raises(StorageError, match="longer than the 1000 bytes"):
        storage.read(uri, max_bytes=1000)
    with pytest.raises(ObjectExists, match="exists already"):
        storage.write(uri, data, exclusive=True)
    assert storage.read(uri) == data


def test_an_object_replaced_while_it_is_read_may_be_tried_again(storage: Storage, root: str):
    uri = storage.write(f"{root}/a", b"x" * 20 * 2**20)
    with storage.open(uri) as stream:
        stream.read(10)
        storage.write(uri, b"y" * 20 * 2**20)
        with pytest.raises(TransientError, match="changed while it was read"):
            stream.read()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"s3_secret": "WRONG"}, "check .*BRAID_S3_SECRET"),
        ({"s3_key": "nobody"}, "check .*BRAID_S3_KEY"),
        ({"s3_secret": None}, "set BRAID_S3_KEY and BRAID_S3_SECRET"),
        ({"s3_key": None, "s3_secret": None}, "set BRAID_S3_KEY and BRAID_S3_SECRET"),
        ({"s3_anonymous": True}, "access denied .*check BRAID_S3_KEY"),
        ({"s3_endpoint_url": "localhost"}, "check the BRAID_S3_… settings"),
    ],
)
def test_wrong_credentials_are_explained(s3_server: S3Server, root: str, changes: dict[str, str], message: str):
    storage = Storage(dataclasses.replace(s3_server.options, **changes))
    uses = [
        storage.read,
        storage.open,
        storage.exists,
        lambda uri: list(storage.list(uri)),
        lambda uri: storage.write(uri, b"x"),
    ]
    for use in uses:
        with pytest.raises(StorageError, match=message) as raised:
            use(f"{root}/a.txt")
        assert f"{root}/a.txt" in str(raised.value)
        assert not any(secret in str(raised.value) for secret in ("WRONG", s3_server.secret))


def test_a_missing_bucket_is_named(storage: Storage):
    for use in (storage.read, lambda uri: list(storage.list(uri)), lambda uri: storage.write(uri, b"x")):
        with pytest.raises(MissingObject, match=r"s3://no-such-bucket/a .*no such bucket"):
            use("s3://no-such-bucket/a")
    assert not storage.exists("s3://no-such-bucket/a")
    assert not storage.exists("s3://no-such-bucket")


def test_an_object_that_vanished_since_it_was_listed_is_missing(storage: Storage, root: str):
    storage.write(f"{root}/a", b"x")
    [found] = storage.list(root)
    storage.delete(found.uri)
    with pytest.raises(MissingObject, match="deleted since it was listed"):
        storage.read(found.uri)


def test_an_endpoint_that_never_answered_is_a_wrong_setting(s3_server: S3Server, root: str):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        storage = Storage(dataclasses.replace(s3_server.options, s3_endpoint_url=endpoint))
        with pytest.raises(StorageError, match=f"{endpoint}.*check BRAID_S3_ENDPOINT_URL"):
            storage.read(f"{root}/a")


def test_an_endpoint_that_answered_before_may_be_tried_again(s3_server: S3Server):
    with run_s3_server() as server:
        storage = Storage(server.options)
        uri = storage.write(f"s3://{server.bucket}/a", b"x")
    with pytest.raises(TransientError, match=r"no longer answers|connection broke"):
        storage.read(uri)


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (503, "ServiceUnavailable"), (500, "InternalError")])
def test_a_busy_server_may_be_tried_again_when_it_says(s3_server: S3Server, status: int, code: str):
    with _busy_server(status, code) as endpoint:
        storage = Storage(dataclasses.replace(s3_server.options, s3_endpoint_url=endpoint))
        with pytest.raises(TransientError, match=rf"s3://bucket/a .*busy \({code}\)") as raised:
            storage.read("s3://bucket/a")
    assert raised.value.retry_after_s == 7


@contextmanager
def _busy_server(status: int, code: str) -> Iterator[str]:
    class Busy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"<Error><Code>{code}</Code><Message>Reduce your rate</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Retry-After", "7")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
