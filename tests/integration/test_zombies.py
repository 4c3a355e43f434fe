"""Runs whose process was killed: found, marked with the way to go on, in the run store and on a Prefect server."""

from datetime import timedelta
from typing import Any

import pytest

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own event and log clients leave sockets to the garbage collector when an event loop ends.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]


async def test_the_automation_is_made_once_and_follows_what_it_should_be() -> None:
    from prefect import get_client
    from prefect.events.schemas.automations import AutomationCore

    from deployments.automations import MESSAGE, NAME, install_zombie_automation

    async def found() -> Any:
        (only,) = await client.read_automations_by_name(NAME)
        return only

    async with get_client() as client:
        assert await install_zombie_automation(client, dry_run=True) == "create"
        assert await client.read_automations_by_name(NAME) == []
        assert await install_zombie_automation(client) == "create"
        assert await install_zombie_automation(client) is None
        made = await found()
        assert made.trigger.within == timedelta(seconds=540)
        assert (made.actions[0].state.value, made.actions[0].message) == ("CRASHED", MESSAGE)
        await client.pause_automation(made.id)
        assert await install_zombie_automation(client, silent_s=120) == "update"
        changed = await found()
        assert (changed.id, changed.trigger.within, changed.enabled) == (made.id, timedelta(seconds=120), False)
        await client.create_automation(AutomationCore.model_validate(changed.model_dump(exclude={"id"})))
        assert await install_zombie_automation(client, silent_s=120) == "update"
        assert (await found()).id is not None
        await client.delete_automation((await found()).id)
