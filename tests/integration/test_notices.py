"""Automations that notify a webhook about the ends of runs: each kind of end calls it once."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from pydantic import SecretStr

from flows.translator import BUDGET_USED
from tests.support.operated import Operated, wait_for
from tests.support.webhooks import webhook

pytestmark = [
    # Prefect's own event and log clients leave sockets to the garbage collector when an event loop ends.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]


def test_each_end_calls_the_webhook_once(operated: Operated) -> None:
    from prefect import get_client
    from prefect.blocks.webhook import Webhook
    from prefect.states import Completed, Crashed, Failed, Late, Scheduled

    from deployments.server.notices import NOTICES, install_notices

    tag = f"told-{uuid4().hex[:6]}"
    states = {
        "failed": Failed(message="no space"),
        "was partial": Completed(name="PartialSuccess", message="1 set aside"),
        "is late": Late(),
        "crashed": Crashed(message="gone"),
        "fine": Completed(),
    }

    async def install(url: str) -> list[Any]:
        async with get_client() as client:
            block = Webhook(url=SecretStr(url), allow_private_urls=True)
            await block.save("night", overwrite=True)  # pyright: ignore[reportGeneralTypeIssues]  (async where a loop runs)
            made = await install_notices(client, "webhook/night", tag=tag)
            assert await install_notices(client, "webhook/night", tag=tag) == []
            return made

    def run_of(name: str) -> UUID:
        with operated.client() as client:
            deployment = client.read_deployment_by_name("greet/greet")
            made = client.create_flow_run_from_deployment(
                deployment.id, parameters={"name": name}, tags=[tag], state=Scheduled(scheduled_time=_LATER)
            )
        return made.id

    def end_all() -> None:
        with operated.client() as client:
            for name, state in states.items():
                client.set_flow_run_state(run_of(name), state, force=True)
        flow_run = run_of("spent")
        event = {
            "id": str(uuid4()),
            "occurred": datetime.now(UTC).isoformat(),
            "event": BUDGET_USED,
            "resource": {"prefect.resource.id": f"prefect.flow-run.{flow_run}"},
            "related": [{"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"}],
            "payload": {"reason": "the budget of 5 usd is used up"},
        }
        httpx.post(f"{operated.server.url}/events", json=[event]).raise_for_status()

    with webhook() as (url, told), operated.connected():
        made = asyncio.run(install(url))
        assert len(made) == len(NOTICES)
        # The server takes a moment to learn of new automations.
        asyncio.run(asyncio.sleep(3))
        end_all()
        wait_for(lambda: len(told) >= len(NOTICES) or None, lambda: f"{told}")
        asyncio.run(asyncio.sleep(2))
        asyncio.run(_remove(made))
    assert Counter(one["what"] for one in told) == Counter(dict.fromkeys(NOTICES, 1))
    by_kind = {one["what"]: one for one in told}
    assert (by_kind["failed"]["state"], by_kind["failed"]["message"]) == ("Failed", "no space")
    assert by_kind["used its budget"]["message"] == "the budget of 5 usd is used up"
    assert "/runs/flow-run/" in by_kind["crashed"]["url"]
    # A run that is late still has the name that Prefect made up; the pipeline says which one it is.
    assert {what: by_kind[what]["pipeline"] for what in NOTICES if what != "used its budget"} == dict.fromkeys(
        ("failed", "was partial", "is late", "crashed"), "greet"
    )


_LATER = datetime(2100, 1, 1, tzinfo=UTC)


async def _remove(made: list[Any]) -> None:
    from prefect import get_client

    async with get_client() as client:
        for _, name in made:
            for automation in await client.read_automations_by_name(name):
                await client.delete_automation(automation.id)
