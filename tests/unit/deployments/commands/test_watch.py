"""`braid watch` ingests a folder when it changes, once for many changes, and other places now and then."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from deployments.commands.watch import watch_places
from deployments.source_file import NamedSource, read_sources


def named(text: str) -> list[NamedSource]:
    return list(read_sources(text, file="sources.yaml").values())


async def until(count: Counter[str], name: str, wanted: int) -> None:
    while count[name] < wanted:
        await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_a_folder_is_ingested_when_it_changes_and_once_for_many_changes(tmp_path: Path) -> None:
    ingested = Counter[str]()
    busy = asyncio.Event()
    busy.set()

    async def ingest(source: NamedSource) -> None:
        ingested[source.name] += 1
        await busy.wait()

    watching = asyncio.create_task(watch_places(named(f"inbox: {{place: {tmp_path}}}"), ingest, every_s=1000))
    try:
        async with asyncio.timeout(60):
            await until(ingested, "inbox", 1)
            number = 0
            while ingested["inbox"] < 2:  # the watcher may need a moment to begin
                number += 1
                (tmp_path / f"{number}.md").write_text("words")
                await asyncio.sleep(0.3)
            busy.clear()
            seen = ingested["inbox"]
            while ingested["inbox"] == seen:
                number += 1
                (tmp_path / f"{number}.md").write_text("more words")
                await asyncio.sleep(0.3)
            for extra in range(20):  # all of them while the ingestion of the first is at work
                (tmp_path / f"extra{extra}.md").write_text("many words")
            await asyncio.sleep(2)
            assert ingested["inbox"] == seen + 1
            busy.set()
            await until(ingested, "inbox", seen + 2)
    finally:
        watching.cancel()
    await asyncio.sleep(0.5)
    assert ingested["inbox"] == seen + 2


async def test_other_places_are_looked_at_again_and_again() -> None:
    ingested = Counter[str]()

    async def ingest(source: NamedSource) -> None:
        ingested[source.name] += 1

    text = "docs: {place: https://example.com/docs/}\nbucket: {place: s3://bucket/docs}"
    watching = asyncio.create_task(watch_places(named(text), ingest, every_s=0.05))
    try:
        async with asyncio.timeout(30):
            await until(ingested, "docs", 3)
            await until(ingested, "bucket", 3)
    finally:
        watching.cancel()
