"""A large S3 prefix: the cost of listing and ingesting it, and a check that the second ingestion downloads nothing.

    python -m bench.s3_listing --keys 12000

Puts small texts into nested folders of a SeaweedFS server of its own and asks it through a proxy
that counts requests. Memory is what listing adds to that of the process. The embedder is the one for tests.
"""

import argparse
import tempfile
import time
from pathlib import Path

import psutil
import s3fs  # pyright: ignore[reportMissingTypeStubs]
from pydantic import SecretStr

from bench.incremental import ingest
from bench.memory import peak_mb
from deployments.runs import load_handlers
from deployments.settings import Settings
from flows.state import chunked
from flows.storage import Storage
from tests.support.s3 import S3Server, run_s3_server
from tests.support.s3_proxy import Proxy, proxy_of


def put(server: S3Server, prefix: str, keys: int) -> float:
    files = s3fs.S3FileSystem(key=server.key, secret=server.secret, endpoint_url=server.endpoint_url)
    began = time.monotonic()
    for some in chunked(range(keys), 1000):
        files.pipe(
            {f"{prefix}/{n % 40:02}/{n % 7}/{n:06}.txt": f"Storm {n} took bridge {n % 97}.".encode() for n in some},
            batch_size=32,
        )
    return time.monotonic() - began


def list_once(server: S3Server, url: str) -> None:
    storage = Storage(server.options)
    next(storage.list(url))  # connects, and loads what that takes
    process, count, began = psutil.Process(), 0, time.monotonic()
    before = most = process.memory_info().rss
    for count, _ in enumerate(storage.list(url), 1):
        if count % 500 == 0:
            most = max(most, process.memory_info().rss)
    took = time.monotonic() - began
    grown = (most - before) / 1e6
    print(f"listed {count:,} keys in {took:.2f} s ({count / took:,.0f} a second), memory at most +{grown:.1f} MB")


def ingest_once(proxy: Proxy, settings: Settings, url: str, title: str) -> None:
    proxy.asked.clear()
    spent, changes = ingest(settings, url, "bench")
    took = spent.seconds
    print(
        f"{title}: {took:.1f} s, {changes['process']:,} processed, {changes['unchanged']:,} unchanged; "
        f"{proxy.listings} pages listed, {len(proxy.downloads):,} objects downloaded, "
        f"{len(proxy.asked):,} requests in all; peak {peak_mb():.0f} MB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=12_000)
    keys = parser.parse_args().keys
    with tempfile.TemporaryDirectory() as folder, run_s3_server() as server, proxy_of(server) as proxy:
        url = f"s3://{server.bucket}/large"
        print(f"put {keys:,} keys in {put(server, f'{server.bucket}/large', keys):.1f} s")
        list_once(server, url)
        options = proxy.options
        settings = Settings(home=Path(folder)).model_copy(
            update={
                "embedding_model": "hashing",
                "s3_endpoint_url": options.s3_endpoint_url,
                "s3_key": options.s3_key,
                "s3_secret": SecretStr(options.s3_secret or ""),
                "s3_region": options.s3_region,
            }
        )
        load_handlers(settings)
        for title in ("first ingestion", "second ingestion"):
            ingest_once(proxy, settings, url, title)


if __name__ == "__main__":
    main()
