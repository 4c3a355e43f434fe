"""On a server: each named source has its automations, which follow what sources.yaml says."""

import pytest

from deployments.source_file import NamedSource, read_sources
from flows.errors import OrchestrationError

PROJECT = "the project 'sources'"


def named(text: str) -> list[NamedSource]:
    return list(read_sources(text, file="sources.yaml").values())


@pytest.mark.usefixtures("prefect_server")
async def test_automations_follow_the_file() -> None:
    from prefect import get_client

    from deployments.server.source_automations import install_source_automations

    text = "a: {place: /srv/a, fresh_within: 1h, max_set_aside_share: 0.05}\nb: {place: /srv/b}"
    stale, wrong = (
        f"Braid, {PROJECT}: source a {what}" for what in ("is not fresh as promised", "was not ingested well")
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
