"""Finds recorded runs that are still marked as running although their process is gone."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from deployments.runs import open_run_store
from deployments.screen import how_to_resume
from deployments.server.findings import Finding
from deployments.settings import Settings

if TYPE_CHECKING:
    from flows.run_store import RunRecord, RunStore

TOPIC = "runs"


def stored_zombies(settings: Settings, *, repair: bool) -> Iterator[Finding]:
    """A finding for each run of the run store whose process is gone; with `repair`, it is marked as crashed."""
    with open_run_store(settings) as store:
        running = store.running()
        zombies = [record for record in running if not record.is_alive(time.time())]
        for record in zombies:
            marked = repair and store.crash(record.run_id)
            yield Finding(TOPIC, "ok" if marked else "warning", _zombie_text(record, store, marked))
        for record in running:
            for step in store.running_branches(record.run_id) if record not in zombies else ():
                if step.stuck:
                    text = f"{record.run_id}: {step.step_id} reports no progress; see `braid runs show`"
                    yield Finding(TOPIC, "warning", text)
    yield Finding(TOPIC, "ok", f"{len(running) - len(zombies)} running")


def _zombie_text(record: "RunRecord", store: "RunStore", marked: bool) -> str:
    where = ", ".join(step.step_id for step in store.running_branches(record.run_id)) or "between two of its steps"
    text = f"{record.run_id} ({record.pipeline}): process {record.process} on {record.host} is gone; it was at {where}"
    if marked:
        return f"{text}. It is marked as crashed. {how_to_resume(record.run_id)}"
    return f"{text}; `braid doctor --repair` marks it, `braid resume {record.run_id}` goes on"
