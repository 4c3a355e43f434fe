"""The pages of a flow run in Prefect's UI: its plan, its progress while it runs, and its result."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from uuid import UUID

from prefect import get_client
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.context import FlowRunContext
from prefect.settings import get_current_settings

from flows.author import RunResult
from flows.engine import Prepared
from flows.planning import Plan
from flows.reports import RUN_PAGE, LiveProgress, Page, plan_page, run_page, run_pages

logger = logging.getLogger(__name__)
FIRST_S, PROGRESS_EVERY_S = 0.5, 3.0
"""Seconds until the progress of a run is shown, and between two updates. A shorter run is shown when it has ended."""
PAGE_S = 20.0
"""How long a page may take to be written."""


class RunPages:
    """The pages of one flow run. The first, `braid-run`, is written soon after the start and updated until the end."""

    def __init__(self, plan: Plan, live: LiveProgress) -> None:
        self._plan, self._live = plan, live
        self._artifact: UUID | None = None
        self._plan_shown: list[tuple[Page, str]] = []

    @contextlib.asynccontextmanager
    async def shown(self) -> AsyncGenerator[None]:
        """Show the plan, and the progress while the run goes on; the run does not wait for these pages."""
        ended = asyncio.Event()

        async def show() -> None:
            async for text in self._live.texts(ended, first_s=FIRST_S, every_s=PROGRESS_EVERY_S):
                first = self._write_first(Page(RUN_PAGE, "The progress of the run", text))
                if self._plan_shown:
                    await first
                else:
                    _, self._plan_shown = await asyncio.gather(first, write_pages([plan_page(self._plan)]))

        showing = asyncio.ensure_future(show())
        try:
            yield
        finally:
            ended.set()
            await showing

    async def conclude(self, prepared: Prepared, result: RunResult) -> None:
        """Write the pages of the run that has ended."""
        pages = await asyncio.to_thread(
            run_pages, prepared.plan, result, spent=prepared.spent, read=_file_reader(prepared)
        )
        pages += [Page(*each) for each in prepared.more_pages(result)]
        if not self._plan_shown:
            pages.append(plan_page(self._plan))
        linked, facts = await asyncio.gather(write_pages(pages), asyncio.to_thread(prepared.facts, result))
        first = await asyncio.to_thread(run_page, prepared.plan, result, [*linked, *self._plan_shown], facts=facts)
        await self._write_first(first)

    async def _write_first(self, page: Page) -> None:
        self._artifact = await write_page(page, instead_of=self._artifact) or self._artifact


def _file_reader(prepared: Prepared) -> Callable[[str, int], bytes] | None:
    """Reads files of outputs, if the run has a storage."""
    services = prepared.context.services
    if "storage" not in services:
        return None
    return lambda uri, most: services["storage"].read(uri, max_bytes=most)


def address_of(artifact: UUID | None) -> str:
    """Where an artifact is in the UI; empty if it was not written."""
    if artifact is None:
        return ""
    base = (get_current_settings().ui_url or "").rstrip("/")
    return f"{base}/artifacts/artifact/{artifact}"


async def write_pages(pages: Sequence[Page]) -> list[tuple[Page, str]]:
    """Write artifacts at the same time; returns each page with its address."""
    artifacts = await asyncio.gather(*(write_page(page) for page in pages))
    return [(page, address_of(artifact)) for page, artifact in zip(pages, artifacts, strict=True)]


async def write_page(page: Page, *, instead_of: UUID | None = None) -> UUID | None:
    """Write an artifact of the flow run; an error in writing does not fail the run."""
    if FlowRunContext.get() is None:
        return None
    try:
        async with asyncio.timeout(PAGE_S):  # while the server is unreachable, its client would retry for a minute
            if instead_of is None:
                return await acreate_markdown_artifact(
                    page.markdown, key=f"braid-{page.key}", description=page.description
                )
            async with get_client() as client:
                update = ArtifactUpdate(data=page.markdown, description=page.description)
                await client.update_artifact(instead_of, update)
    except Exception:
        logger.warning("could not write the artifact %s", page.key, exc_info=True)
    return instead_of
