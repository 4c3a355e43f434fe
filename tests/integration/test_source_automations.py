"""On a server, each named source has its automations, which follow sources.yaml and call once."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as profile
from pydantic import SecretStr

from deployments.catalog import load_catalog
from deployments.runs import Request, run_pipeline
from deployments.source_file import NamedSource, read_sources
from flows.errors import OrchestrationError
from tests.support.operated import Operated, wait_for
from tests.support.webhooks import webhook

PROJECT = "the project 'sources'"


def named(text: str) -> list[NamedSource]:
    return list(read_sources(text, file="sources.yaml").values())


@pytest.mark.usefixtures("prefect_server")
async def test_automations_follow_the_file() -> None:
    from prefect import get_client

    from deployments.server.source_automations import install_source_automations

    text = "a: {place: /srv/a, fresh_within: 1h, max_set_aside_share: 0.05}\nb: {place: /srv/b}"
    stale, wrong = (
        f"Braid, {PROJECT}: source a {what}" for what in ("is older than promised", "was not ingested successfully")
    )
    async with get_client() as client:

        async def install(given: str, *, dry_run: bool = False) -> list[str]:
            return await install_source_automations(client, named(given), PROJECT, dry_run=dry_run)

        both = [f"automation {stale!r}", f"automation {wrong!r}"]
        assert await install(text, dry_run=True) == both
        assert await install(text) == both
        assert await install(text) == []
        (known,) = await client.read_automations_by_name(stale)
        await client.pause_automation(known.id)
        assert await install(text.replace("1h", "2h")) == [f"automation {stale!r}: changed"]
        (known,) = await client.read_automations_by_name(stale)
        assert not known.enabled, "one that was switched off stays off"
        assert sorted(await install("b: {place: /srv/b}")) == sorted(f"{each}: removed" for each in both)
        with pytest.raises(OrchestrationError, match="names the notification block 'slack-webhook/none'"):
            await install("b: {place: /srv/b, notify: slack-webhook/none}")


@pytest.mark.slow
@pytest.mark.skipif(profile.get_current_profile_name() == "moderate", reason="waits for promises; in CI only")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_a_broken_promise_and_a_failed_night_call_the_webhook_once_each(operated: Operated, tmp_path: Path) -> None:
    from prefect import get_client
    from prefect.blocks.webhook import Webhook

    from deployments.server.source_automations import install_source_automations
    from deployments.server.stale_sources import StaleSources

    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "a.md").write_text("The river runs by the town.")
    (tmp_path / "sources.yaml").write_text(
        f"good: {{place: {tmp_path}/good, fresh_within: 10s, notify: webhook/sources}}\n"
        f"night: {{place: {tmp_path}/gone, notify: webhook/sources}}\n"
    )
    settings = operated.settings.model_copy(update={"sources": tmp_path / "sources.yaml", "home": tmp_path / "home"})
    sources = read_sources((tmp_path / "sources.yaml").read_text(), file="sources.yaml")

    async def install(url: str) -> None:
        async with get_client() as client:
            block = Webhook(url=SecretStr(url), allow_private_urls=True)
            await block.save("sources", overwrite=True)  # pyright: ignore[reportGeneralTypeIssues]  (async where a loop runs)
            await install_source_automations(client, sources.values(), PROJECT)

    def ingest(name: str) -> str:
        catalog, source = load_catalog(settings), sources[name]
        request = Request(catalog.find("ingest"), source.parameters, index=source.index)
        return run_pipeline(request, settings=settings, catalog=catalog).status

    def events(name: str) -> list[Any]:
        from prefect.events.filters import EventFilter, EventNameFilter

        with operated.client() as client:
            wanted = {"filter": EventFilter(event=EventNameFilter(name=[name])).model_dump(mode="json")}
            return client._client.post("/events/filter", json=wanted).json()["events"]

    def stale_events() -> list[Any]:
        return [
            (each["resource"]["prefect.resource.id"], each["payload"]["seen"]) for each in events("braid.source.stale")
        ]

    with webhook() as (url, told), operated.connected():
        asyncio.run(install(url))
        time.sleep(3)  # the server takes a moment to learn of new automations
        assert (ingest("good"), ingest("night")) == ("succeeded", "failed")
        watch = StaleSources(settings, every_s=0)
        assert watch.look() == []
        wait_for(lambda: len(told) >= 2 or None, lambda: f"{told}")
        assert [each.text.partition(":")[0] for each in watch.look()] == ["source good is stale"]
        assert watch.look() == StaleSources(settings).look() == [], "it is reported once, after a restart too"
        wait_for(lambda: stale_events() or None, lambda: "no event")
        time.sleep(12)  # another period without an ingestion
    by_source = {each["source"]: each for each in told}
    assert len(told) == len(by_source) == 2
    assert by_source["good"]["what"] == "is older than promised"
    assert (by_source["night"]["event"], by_source["night"]["what"]) == (
        "braid.ingestion.failed",
        "was not ingested successfully",
    )
    assert stale_events() == [("braid.source.good", 1)]
    # The index is an asset with its source upstream; the event leads to the run, since this server has no pages of assets.
    (made,) = (
        each
        for each in events("prefect.asset.materialization.succeeded")
        if each["resource"]["prefect.resource.id"] == "braid://index/good"
    )
    related = {each["prefect.resource.role"]: each["prefect.resource.id"] for each in made["related"]}
    assert related["asset"] == f"file://{tmp_path}/good"
    assert related["flow-run"].startswith("prefect.flow-run.")
