"""Recurring ingestion from a real S3 server, through a proxy that counts requests and injects faults."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from deployments.settings import Settings
from flows.storage import Storage
from tests.ingesting import called, ingest, opened, settings_in
from tests.s3 import S3Server
from tests.s3_proxy import Proxy, proxy_of


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[Proxy]:
    with proxy_of(s3_server) as made:
        yield made


@pytest.fixture
def prefix(s3_server: S3Server) -> str:
    return f"s3://{s3_server.bucket}/{uuid.uuid4()}"


@pytest.fixture
def settings(tmp_path: Path, proxy: Proxy) -> Settings:
    options: dict[str, Any] = {
        name: getattr(proxy.options, name) for name in ("s3_endpoint_url", "s3_key", "s3_region")
    }  # fmt: skip
    from pydantic import SecretStr

    return settings_in(tmp_path, **options, s3_secret=SecretStr(proxy.options.s3_secret or ""))


def put(server: S3Server, prefix: str, files: dict[str, str]) -> None:
    storage = Storage(server.options)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda item: storage.write(f"{prefix}/{item[0]}", item[1].encode()), files.items()))


def test_only_objects_with_another_etag_are_downloaded(
    settings: Settings, proxy: Proxy, s3_server: S3Server, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handlers.sources.SETTLED_S", -60.0)  # as if they had been left alone for long
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


def test_a_listing_of_several_pages_is_compared_whole(
    settings: Settings, proxy: Proxy, s3_server: S3Server, prefix: str
) -> None:
    put(s3_server, prefix, {f"{number:04}.bin": "" for number in range(1001)} | {"last.txt": "One with words."})
    assert called(ingest(settings, prefix))["publish_documents"] == 1
    assert proxy.listings == 2


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


@pytest.mark.parametrize(("change", "message"), [
    ({"s3_key": "nobody"}, "check BRAID_S3_KEY"),
    ({}, "there is no such bucket"),
])  # fmt: skip
def test_what_cannot_be_listed_fails_with_the_cure(
    settings: Settings, prefix: str, change: dict[str, str], message: str
) -> None:
    source = prefix if change else "s3://no-such-bucket-here/x"
    result = ingest(settings.model_copy(update=change), source)
    assert result.status == "failed"
    assert message in str(result.errors[0].error)
    assert result.errors[0].attempts == 1
