"""Runs whose process was killed: found, marked with the way to go on, in the run store and on a Prefect server."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.support.killed_process import run_and_kill

pytestmark = [
    # Prefect's own event and log clients leave sockets to the garbage collector when an event loop ends.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]


@pytest.mark.usefixtures("prefect_server")
async def test_the_automation_is_made_once_and_follows_what_it_should_be() -> None:
    from prefect import get_client
    from prefect.events.schemas.automations import AutomationCore

    from deployments.server.automations import MESSAGE, NAME, install_zombie_automation

    async def found() -> Any:
        (only,) = await client.read_automations_by_name(NAME)
        return only

    async with get_client() as client:
        for known in await client.read_automations_by_name(NAME):  # by what was deployed before
            await client.delete_automation(known.id)
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


@pytest.mark.usefixtures("prefect_server")
async def test_a_flow_run_left_running_by_a_killed_process_is_marked_crashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect import get_client
    from prefect.settings import PREFECT_API_URL

    from deployments.server.checks import check_server
    from deployments.settings import load_settings
    from flows.run_store import RunStore

    monkeypatch.setenv("BRAID_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PREFECT_API_URL", str(PREFECT_API_URL.value()))
    run_and_kill("prefect", tmp_path)
    settings = load_settings()
    store = RunStore(settings.run_store_url)
    (record,) = store.running()
    assert record.flow_run_id is not None

    async def flow_run() -> Any:
        async with get_client() as client:
            return await client.read_flow_run(UUID(str(record.flow_run_id)))

    async def state() -> Any:
        return (await flow_run()).state

    assert (await state()).name == "Running"
    name = (await flow_run()).name
    seen = await asyncio.to_thread(lambda: list(check_server(settings, repair=False)))
    assert [one.text for one in seen if one.topic == "runs"] == [
        f"{record.run_id}: flow run {name!r} reads Running and should read Crashed; `braid doctor --repair` corrects it"
    ]
    assert (await state()).name == "Running"
    assert not [one for one in seen if one.level == "error"]
    await asyncio.to_thread(lambda: list(check_server(settings, repair=True)))
    crashed = await state()
    assert crashed.name == "Crashed"
    assert f"braid resume {record.run_id}" in crashed.message
    again = await asyncio.to_thread(lambda: list(check_server(settings, repair=True)))
    assert not [one for one in again if one.topic == "runs"]
    store.stop(record.run_id, "crashed")
    store.close()
