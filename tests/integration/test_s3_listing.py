"""A prefix of several pages on a real S3 server: listed page by page, and ingested twice with nothing read twice."""

import uuid
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import s3fs  # pyright: ignore[reportMissingTypeStubs]
from pydantic import SecretStr

from flows.errors import TransientError
from flows.storage import Storage
from tests.support.ingesting import called, ingest, settings_in
from tests.support.s3 import S3Server
from tests.support.s3_proxy import Proxy, proxy_of

KEYS = 2500
TEXTS = 40
ODD = (
    "a b",
    "a+b",
    "a%20b",
    "100%",
    "%2F",
    "ü/ключ 1",
    "e\u0301",
    "日本語",
    "a&b=c",
    "q?x",
    "#h",
    "a;b",
    "'q'",
    '"d"',
    "<x>",
    "~t",
    "a😀",
    "dot./x",
    " lead",
    "trail ",
    "[a]",
    "{b}",
    "a*",
    "a/b/c/d/e",
)


def client(server: S3Server) -> Any:
    return s3fs.S3FileSystem(
        key=server.key, secret=server.secret, endpoint_url=server.endpoint_url, skip_instance_cache=True
    )


@pytest.fixture(scope="module")
def large(s3_server: S3Server) -> tuple[str, dict[str, bytes]]:
    """A prefix of many keys in nested folders, a few of them with text; and the expected listing."""
    prefix = f"{s3_server.bucket}/{uuid.uuid4()}"
    content = {
        f"{n % 7}/{n % 3}/{n:05}.{'txt' if n % (KEYS // TEXTS) == 0 else 'bin'}": f"Storm {n}." for n in range(KEYS)
    }
    client(s3_server).pipe({f"{prefix}/{name}": text.encode() for name, text in content.items()}, batch_size=32)
    return f"s3://{prefix}", {name: text.encode() for name, text in content.items()}


@pytest.fixture
def proxy(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *given: 0)
    with proxy_of(s3_server) as made:
        yield made


def test_every_key_of_nested_folders_is_listed_once(proxy: Proxy, large: tuple[str, dict[str, bytes]]):
    prefix, content = large
    found = list(Storage(proxy.options).list(prefix))
    assert [each.name for each in found] == sorted(content)
    assert [each.size for each in found] == [len(content[name]) for name in sorted(content)]
    assert all(each.etag for each in found)
    assert proxy.listings == -(-KEYS // 1000)
    assert len(proxy.asked) == proxy.listings, "pages say all there is to know"


def test_a_page_is_asked_for_when_the_one_before_is_used_up(proxy: Proxy, large: tuple[str, dict[str, bytes]]):
    listing = Storage(proxy.options).list(large[0])
    for taken, pages in ((1, 1), (999, 1), (1, 2), (998, 2), (2, 3)):
        assert len(list(islice(listing, taken))) == taken
        assert proxy.listings == pages


def test_a_page_that_is_refused_in_the_middle_may_be_tried_again(proxy: Proxy, large: tuple[str, dict[str, bytes]]):
    proxy.fault = lambda method, path: "continuation-token" in path
    listing, before = Storage(proxy.options).list(large[0]), 0
    with pytest.raises(TransientError, match=rf"{large[0]} .*busy \(SlowDown\)"):
        for _ in listing:
            before += 1
    assert before == 1000


@pytest.mark.parametrize("page_keys", [2, 1000])
def test_keys_mean_what_they_say(s3_server: S3Server, proxy: Proxy, page_keys: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("flows.storage.s3._PAGE_KEYS", page_keys)  # so that the next page begins at every other of them
    prefix = f"{s3_server.bucket}/{uuid.uuid4()} +%"
    s3 = client(s3_server)
    for name in ODD:
        s3.call_s3("put_object", Bucket=s3_server.bucket, Key=f"{prefix}/{name}".partition("/")[2], Body=name.encode())
    for marker in ("", "folder/", "a/marker/"):
        s3.call_s3("put_object", Bucket=s3_server.bucket, Key=f"{prefix}/{marker}".partition("/")[2], Body=b"")
    storage = Storage(proxy.options)
    found = list(storage.list(f"s3://{prefix}"))
    assert sorted(each.name for each in found) == sorted(ODD)
    assert [storage.read(each.uri).decode() for each in found] == [each.name for each in found]
    storage.delete(f"s3://{prefix}", recursive=True)
    assert not storage.exists(f"s3://{prefix}")


def test_a_prefix_ingested_again_is_only_listed(tmp_path: Path, proxy: Proxy, large: tuple[str, dict[str, bytes]]):
    settings = settings_in(
        tmp_path,
        s3_endpoint_url=proxy.endpoint_url,
        s3_key=proxy.options.s3_key,
        s3_region=proxy.options.s3_region,
        s3_secret=SecretStr(proxy.options.s3_secret or ""),
    )
    assert called(ingest(settings, large[0]))["publish_documents"]
    names = {path.rpartition("/")[2] for path in proxy.downloads}
    assert names == {name.rpartition("/")[2] for name in large[1] if name.endswith(".txt")}
    proxy.asked.clear()
    assert not called(ingest(settings, large[0]))
    assert len(proxy.asked) == proxy.listings == -(-KEYS // 1000)
