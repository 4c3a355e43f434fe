"""`braid watch`: ingests named sources as they change: folders within a second or two, all others by looking again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer

from deployments.catalog import Catalog, load_catalog
from deployments.commands.common import reported, stderr
from deployments.commands.execution import EngineOption, run_watched
from deployments.runs import Request, load_handlers
from deployments.settings import Settings, load_settings
from deployments.source_file import NamedSource, find_source, load_sources, source_lock
from flows.errors import OrchestrationError
from flows.running import Engine
from flows.storage import file_locked

Ingest = Callable[[NamedSource], Awaitable[None]]


@reported
def watch(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Names of the sources. Default: all.")
    ] = None,
    every: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="How often to list sources that send no events.")
    ] = 60.0,
    engine: EngineOption = "inline",
) -> None:
    """Ingest the sources of sources.yaml now, and again as soon as something in them changes, until Ctrl-C.

    Folders report changes by themselves (pip install 'braid-pipelines[watch]'); all other places are listed again
    after --every seconds, which is cheap where nothing has changed.

    Examples:

      braid watch

      braid watch inbox handbook --every 300
    """
    settings = load_settings()
    load_handlers(settings)
    known = load_sources(settings)
    chosen = [find_source(known, name) for name in names] if names else list(known.values())
    if not chosen:
        raise OrchestrationError("there is nothing to watch: sources.yaml defines no source")
    asyncio.run(watch_places(chosen, locked_ingestion(settings, engine), every_s=every))


def locked_ingestion(settings: Settings, engine: Engine) -> Ingest:
    """Wait while a schedule or another watcher on this machine ingests a source, then ingest the remaining changes."""
    catalog = load_catalog(settings)

    async def ingest(source: NamedSource) -> None:
        text = f"{source.name}: another process is ingesting it; waiting until that process ends"
        async with file_locked(
            source_lock(settings, source.name), on_wait=lambda: stderr().print(text, style="dim", markup=False)
        ):
            await asyncio.to_thread(ingest_once, source, settings, catalog, engine)

    return ingest


def ingest_once(source: NamedSource, settings: Settings, catalog: Catalog, engine: Engine) -> None:
    """Ingest a source, and report the result."""
    try:
        request = Request(catalog.find("ingest"), source.parameters, index=source.index, engine=engine)
        result = run_watched(request, settings=settings, catalog=catalog, quiet=True)
    except OrchestrationError as error:
        stderr().print(f"{source.name}: {error}", style="bold red", markup=False)
    else:
        balance = result.context.data.get("balance") or {}
        counts = ", ".join(f"{balance[name]:,} {name.replace('_', ' ')}" for name in _COUNTED if name in balance)
        stderr().print(f"{source.name}: {result.status}{f', {counts}' if counts else ''}", markup=False)
        for each in result.errors:
            stderr().print(f"{source.name}: {each.error}", style="bold red", markup=False)


_COUNTED = ("processed", "unchanged", "set_aside")


async def watch_places(sources: Iterable[NamedSource], ingest: Ingest, *, every_s: float) -> None:
    """Ingest each source now and whenever it changes; changes during an ingestion lead to one more ingestion."""

    async def follow(source: NamedSource) -> None:
        await ingest(source)
        async for _ in _changes(source, every_s):
            await ingest(source)

    async with asyncio.TaskGroup() as group:
        for source in sources:
            group.create_task(follow(source))


async def _changes(source: NamedSource, every_s: float) -> AsyncIterator[object]:
    """Yield one item whenever something may have changed; changes between two requests are combined."""
    folder = Path(source.root.removeprefix("file://")) if source.root.startswith("file://") else None
    if folder is None or not folder.exists():
        while True:
            await asyncio.sleep(every_s)
            yield None
    try:
        from watchfiles import awatch
    except ImportError as error:
        raise OrchestrationError(
            "watchfiles is not installed; install it with: pip install 'braid-pipelines[watch]'"
        ) from error
    changed = asyncio.Event()

    async def note() -> None:
        async for seen in awatch(folder, debounce=1000, step=100):
            if seen:
                changed.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(note())
        while True:
            await changed.wait()
            changed.clear()
            yield None
