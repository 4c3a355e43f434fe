"""`braid watch` of a real S3 server: every change is in the index after the next listing, and is fetched once."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from hypothesis import settings as profile
from pydantic import SecretStr

from deployments.commands.watch import locked_ingestion, watch_places
from deployments.settings import Settings
from deployments.source_file import NamedSource, read_sources, source_lock
from flows.storage import Storage, file_locked
from tests.support.ingesting import ingest, opened, settings_in
from tests.support.s3 import S3Server
from tests.support.s3_proxy import Proxy, proxy_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(profile.get_current_profile_name() == "moderate", reason="watches a server; in CI only"),
]


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[Proxy]:
    with proxy_of(s3_server) as made:
        yield made


@pytest.fixture
def settings(tmp_path: Path, proxy: Proxy) -> Settings:
    options = proxy.options
    return settings_in(
        tmp_path,
        s3_endpoint_url=options.s3_endpoint_url,
        s3_key=options.s3_key,
        s3_secret=SecretStr(options.s3_secret or ""),
        s3_region=options.s3_region,
    )


def texts(settings: Settings) -> set[str]:
    store = opened(settings)
    try:
        ids = [each.id for each in store.document_states(limit=100) if each.content_sha256]
        return {chunk.text for each in ids for chunk in store.chunks_of(each)}
    finally:
        store.close()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.05)


async def test_changes_in_a_bucket_are_ingested_by_polling_and_not_again_by_the_schedule(
    settings: Settings, proxy: Proxy, s3_server: S3Server
) -> None:
    place = f"s3://{s3_server.bucket}/{uuid4()}"
    storage = Storage(s3_server.options)
    storage.write(f"{place}/a.txt", b"The river runs by the town.")
    (source,) = read_sources(
        f"bucket: {{place: '{place}', index: docs, prune: true, max_prune_share: 1}}", file="sources.yaml"
    ).values()
    ingested = Counter[str]()
    once = locked_ingestion(settings, "inline")

    async def counted(source: NamedSource) -> None:
        await once(source)
        ingested["done"] += 1

    watching = asyncio.create_task(watch_places([source], counted, every_s=0.2))
    try:
        async with asyncio.timeout(120):
            await until(lambda: ingested["done"] >= 1)
            assert texts(settings) == {"The river runs by the town."}
            storage.write(f"{place}/b.txt", b"The bridge was closed at noon.")
            seen = ingested["done"]
            await until(lambda: len(texts(settings)) == 2)
            assert ingested["done"] - seen <= 2, "the listing under way may miss it, the next one may not"
            storage.delete(f"{place}/a.txt")
            await until(lambda: texts(settings) == {"The bridge was closed at noon."})
            async with file_locked(source_lock(settings, source.name)):  # as its schedule holds it
                seen = ingested["done"]
                storage.write(f"{place}/c.txt", b"The train came late.")
                given = {name: value for name, value in source.parameters.items() if name != "source"}
                result = await asyncio.to_thread(ingest, settings, place, **given)
                assert result.status == "succeeded"
                assert ingested["done"] == seen, "the watcher waits"
            await until(lambda: ingested["done"] >= seen + 2)
    finally:
        watching.cancel()
    fetched = Counter(urlsplit(path).path.rpartition("/")[2] for path in proxy.downloads)
    assert {name: fetched[name] for name in ("a.txt", "b.txt", "c.txt")} == {"a.txt": 1, "b.txt": 1, "c.txt": 1}
