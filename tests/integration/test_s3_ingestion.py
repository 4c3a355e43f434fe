"""Recurring ingestion from a real S3 server, through a proxy that counts requests and injects faults."""

import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from deployments.settings import Settings
from deployments.shards.tracks import Track, Tracks
from flows.storage import Storage
from handlers.records import SourceFile
from handlers.sources import read_manifest
from tests.support.ingesting import called, ingest, opened, settings_in
from tests.support.s3 import S3Server
from tests.support.s3_proxy import Fault, Proxy, proxy_of


@pytest.fixture
def proxy(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    # The client tries again at once; how long it would wait is botocore's.
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *given: 0)
    with proxy_of(s3_server) as made:
        yield made


@pytest.fixture
def prefix(s3_server: S3Server) -> str:
    return f"s3://{s3_server.bucket}/{uuid.uuid4()}"


@pytest.fixture
def settings(tmp_path: Path, proxy: Proxy) -> Settings:
    options: dict[str, Any] = {
        name: getattr(proxy.options, name) for name in ("s3_endpoint_url", "s3_key", "s3_region")
    }
    from pydantic import SecretStr

    return settings_in(tmp_path, **options, s3_secret=SecretStr(proxy.options.s3_secret or ""))


def put(server: S3Server, prefix: str, files: dict[str, str]) -> None:
    storage = Storage(server.options)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda item: storage.write(f"{prefix}/{item[0]}", item[1].encode()), files.items()))


def test_only_objects_with_another_etag_are_downloaded(
    settings: Settings, proxy: Proxy, s3_server: S3Server, prefix: str
) -> None:
    put(s3_server, prefix, {f"{name}.txt": f"The storm took {name}." for name in ("bridge", "river", "train")})
    assert called(ingest(settings, prefix))["extract_text"] == 1
    assert len(proxy.downloads) >= 3
    proxy.asked.clear()
    assert not called(ingest(settings, prefix))
    assert proxy.downloads == []
    put(s3_server, prefix, {"river.txt": "The storm took the river and its banks."})
    result = ingest(settings, prefix)
    assert called(result)["extract_text"] == 1
    assert {path.rpartition("/")[2] for path in proxy.downloads} == {"river.txt"}
    assert len(proxy.downloads) == 1


def test_a_moved_object_is_recognised_and_a_vanished_one_pruned(
    settings: Settings, s3_server: S3Server, prefix: str
) -> None:
    put(s3_server, prefix, {"a.txt": "The storm took the bridge.", "b.txt": "Violins play.", "c.txt": "Trains run."})
    ingest(settings, prefix)
    storage = Storage(s3_server.options)
    storage.delete(f"{prefix}/a.txt")
    storage.delete(f"{prefix}/b.txt")
    put(s3_server, prefix, {"moved.txt": "The storm took the bridge."})
    result = ingest(settings, prefix, prune=True, max_prune_share=0.5)
    assert result.context.data["changes"]["move"] == 1
    assert "chunks" not in result.cost
    store = opened(settings)
    assert [state.name for state in store.documents()] == ["c.txt", "moved.txt"]
    store.close()


def test_a_server_that_is_busy_for_a_while_is_asked_again(
    settings: Settings, proxy: Proxy, s3_server: S3Server, prefix: str
) -> None:
    put(s3_server, prefix, {"a.txt": "The storm took the bridge."})
    left = {"list": 7, "read": 7}  # more than the client tries by itself

    def busy(method: str, path: str) -> bool:
        kind = "list" if "list-type" in path else "read"
        left[kind] -= 1
        return left[kind] >= 0

    proxy.fault = busy
    result = ingest(settings, prefix)
    assert result.status == "succeeded", result.errors
    attempts = {each.id.split("[")[0].rpartition(".")[2]: each.attempts for each in result.outcomes if each.is_leaf}
    assert attempts["list"] > 1


def test_an_object_that_vanishes_after_it_was_listed_is_set_aside(
    settings: Settings, proxy: Proxy, s3_server: S3Server, prefix: str
) -> None:
    put(s3_server, prefix, {"a.txt": "The storm took the bridge.", "b.txt": "Trains run."})
    storage = Storage(s3_server.options)

    def vanish(method: str, path: str) -> None:
        if method == "GET" and path.split("?")[0].endswith("a.txt"):
            storage.delete(f"{prefix}/a.txt")

    proxy.before = vanish
    result = ingest(settings, prefix)
    assert result.status == "partial"
    assert [failure.item for failure in result.failures] == ["a.txt"]
    assert "may have been deleted since it was listed" in result.failures[0].error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"s3_key": "nobody"}, "check BRAID_S3_KEY"),
        ({}, "there is no such bucket"),
    ],
)
def test_what_cannot_be_listed_fails_with_the_cure(
    settings: Settings, prefix: str, change: dict[str, str], message: str
) -> None:
    source = prefix if change else "s3://no-such-bucket-here/x"
    result = ingest(settings.model_copy(update=change), source)
    assert result.status == "failed"
    assert message in str(result.errors[0].error)
    assert result.errors[0].attempts == 1


def test_credentials_that_expire_on_the_way_set_no_document_aside(
    settings: Settings, proxy: Proxy, s3_server: S3Server, prefix: str
) -> None:
    put(s3_server, prefix, {f"{number}.txt": f"The storm took bridge {number}." for number in range(5)})
    read = iter(range(2))
    proxy.fault = lambda method, path: (
        "list-type" not in path and next(read, None) is None and Fault(400, "ExpiredToken")
    )
    result = ingest(settings, prefix)
    assert result.status == "failed"
    assert not result.failures
    assert re.search(r"credentials have expired \(ExpiredToken\); renew them", str(result.errors[0].error))
    proxy.fault = lambda method, path: False
    assert ingest(settings, prefix).status == "succeeded"
    store = opened(settings)
    assert [(state.name, state.status) for state in store.documents()] == [(f"{n}.txt", "processed") for n in range(5)]
    store.close()


def test_two_coordinators_of_one_command_follow_one_track(s3_server: S3Server, prefix: str) -> None:
    sources = [SourceFile(f"{prefix}/{number}.txt", f"{number}.txt", 10, 1.0, None) for number in range(8)]
    both = Barrier(2)

    class Meeting(Storage):
        def write(self, uri: str, data: bytes, *, exclusive: bool = False) -> str:
            if exclusive:
                both.wait(timeout=30)  # each has written its manifests and knows nothing of the other
            return super().write(uri, data, exclusive=exclusive)

    def begin(_: int) -> Track:
        return Tracks(Meeting(s3_server.options), f"{prefix}/artifacts", {"source": prefix}).begin(sources, 2)

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(begin, range(2))
    assert first == second
    storage = Storage(s3_server.options)
    assert sum(len(read_manifest(storage, shard.source)) for shard in first.shards) == len(sources)
    assert Tracks(storage, f"{prefix}/artifacts", {"source": prefix}).unfinished() == first
