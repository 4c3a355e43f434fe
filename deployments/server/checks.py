"""Checks of a Prefect server for `braid doctor`: its version, clock, work pools, limits, and runs left behind."""

import asyncio
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from deployments.runs import open_run_store
from deployments.server.connecting import connect
from deployments.server.findings import Finding
from deployments.server.local import running_url
from deployments.settings import Settings

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

TOPIC = "prefect"
SKEW_S = 5.0
"""The tolerated difference of the clocks in seconds; leases and heartbeats take tens of seconds."""


def check_server(settings: Settings, *, repair: bool) -> Iterator[Finding]:
    """All findings about the server; imports Prefect.

    Raises:
        OrchestrationError: there is no server, or it does not answer.
    """
    url = connect(settings)
    yield Finding(TOPIC, "ok", f"runs go to {url}, which answers")
    yield from asyncio.run(_ask(settings, url, repair))


async def _ask(settings: Settings, url: str, repair: bool) -> list[Finding]:
    import httpx
    from prefect import get_client

    began = time.time()
    async with httpx.AsyncClient(timeout=10) as plain:
        answered = (await plain.get(f"{url}/health")).headers.get("date")
    found = [clock(parsedate_to_datetime(answered).timestamp(), began, time.time())] if answered else []
    async with get_client() as client:
        found.append(await _version(client))
        found += await _pools(client)
        found += await _limits(client, settings)
        from deployments.server.reconciling import reconcile  # Prefect's schemas take a while

        found += await reconcile(client, settings, repair=repair, local=url == running_url(settings.home / "server"))
    return found


def clock(server: float, before: float, after: float) -> Finding:
    """A finding on the server's clock: its time (in whole seconds) should lie between our times before and after the
    request.
    """
    skew = server - after if server > after else min(0.0, server + 1.0 - before)
    if abs(skew) <= SKEW_S:
        return Finding(TOPIC, "ok", "its clock agrees with ours")
    text = (
        f"its clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} ours: schedules, leases of limits and "
        "heartbeats go wrong; set both by NTP"
    )
    return Finding(TOPIC, "error" if abs(skew) > 60 else "warning", text)


async def _version(client: "PrefectClient") -> Finding:
    import prefect

    ours, theirs = prefect.__version__, await client.api_version()
    return version(ours, theirs)


def version(ours: str, theirs: str) -> Finding:
    """A finding on whether a server of version `theirs` fits a client of version `ours`."""
    if ours == theirs:
        return Finding(TOPIC, "ok", f"server and client are version {ours}")
    mine, other = ([int(part) if part.isdigit() else 0 for part in text.split(".")[:2]] for text in (ours, theirs))
    text = f"the server is version {theirs}, the client {ours}"
    if mine[0] != other[0]:
        return Finding(
            TOPIC,
            "error",
            f"{text}: these versions are not compatible; pip install 'prefect=={theirs}' here, or update it",
        )
    if mine > other:
        return Finding(TOPIC, "warning", f"{text}: update the server first, it must not be older than its clients")
    return Finding(TOPIC, "note", text)


async def _pools(client: "PrefectClient") -> list[Finding]:
    pools = [pool for pool in await client.read_work_pools() if pool.type != "prefect:managed"]
    if not pools:
        text = (
            "no work pool: deployed pipelines cannot run; `braid deploy` creates "
            "one, and `braid up` also starts a worker"
        )
        return [Finding(TOPIC, "note", text)]
    found: list[Finding] = []
    for pool in pools:
        workers = [one for one in await client.read_workers_for_work_pool(pool.name) if one.status == "ONLINE"]
        if pool.is_paused:
            text = f"work pool {pool.name} is paused; prefect work-pool resume {pool.name}"
            found.append(Finding(TOPIC, "warning", text))
        elif not workers and not pool.is_push_pool:
            text = f"work pool {pool.name} has no worker; prefect worker start --pool {pool.name}"
            found.append(Finding(TOPIC, "warning", text))
        else:
            found.append(Finding(TOPIC, "ok", f"work pool {pool.name}: {len(workers)} workers"))
    return found


async def _limits(client: "PrefectClient", settings: Settings) -> list[Finding]:
    from flows.translator import LEASE_S, PREFIX

    known = {
        limit.name: limit
        for limit in await client.read_global_concurrency_limits(limit=200, offset=0)
        if limit.name.startswith(PREFIX)
    }
    wanted = {
        PREFIX + name: resource.concurrency
        for name, resource in settings.resources.items()
        if resource.concurrency is not None and resource.shared is not False
    }
    with open_run_store(settings) as store:
        alive = any(record.is_alive(time.time()) for record in store.running())
    found: list[Finding] = []
    for name, most in wanted.items():
        limit = known.get(name)
        if limit is None:
            text = f"the limit {name} does not exist yet; `braid deploy`, or the first run that uses it, creates it"
            found.append(Finding(TOPIC, "note", text))
        elif limit.limit != most or not limit.active:
            now = f"{limit.limit}{'' if limit.active else ', switched off'}"
            found.append(Finding(TOPIC, "warning", f"the limit {name} is {now} and not {most}; `braid deploy` sets it"))
    for name, limit in known.items():
        if limit.active_slots and not alive:
            text = (
                f"{limit.active_slots} of {limit.limit} slots of {name} are taken, and no run of this run store is "
                f"alive: either other machines use them, or they come back within {LEASE_S:.0f} s; if they do not, "
                f"prefect gcl update {name} --active-slots 0"
            )
            found.append(Finding(TOPIC, "warning", text))
        elif name not in wanted:
            found.append(Finding(TOPIC, "note", f"the limit {name} belongs to no resource of the settings"))
    if known and not found:
        found.append(Finding(TOPIC, "ok", f"limits: {', '.join(known)}"))
    return found
