"""Reports each source that becomes stale once, with the event `braid.source.stale`, while `braid up` runs."""

import json
import time
from pathlib import Path

from prefect.events import emit_event

from deployments.freshness import Freshness, freshness_of
from deployments.runs import STALE, resource_of
from deployments.server.findings import Finding
from deployments.settings import Settings
from flows.storage import write_durably

TOPIC = "sources"
EVERY_S = 60.0


class StaleSources:
    """Remembers which stale sources were reported, also across restarts."""

    def __init__(self, settings: Settings, *, every_s: float = EVERY_S) -> None:
        self._settings, self._every_s = settings, every_s
        self._file = Path(settings.home, "server", "stale.json")
        self._looked = float("-inf")

    def look(self) -> list[Finding]:
        """Emit an event for each source that has become stale since the last check; return a finding for each."""
        if time.monotonic() - self._looked < self._every_s:
            return []
        self._looked = time.monotonic()
        stale = {each.name: each for each in freshness_of(self._settings) if each.is_stale}
        reported = self._read()
        new = [each for name, each in stale.items() if name not in reported or reported[name] != each.good_at]
        if stale.keys() != reported.keys() or new:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_durably(self._file, json.dumps({name: each.good_at for name, each in stale.items()}).encode())
        for each in new:
            _emit(each)
        return [Finding(TOPIC, "warning", f"source {each.name} is {each.text}") for each in new]

    def _read(self) -> dict[str, float | None]:
        try:
            return json.loads(self._file.read_bytes())
        except (OSError, ValueError):
            return {}


def _emit(found: Freshness) -> None:
    resource = {
        "prefect.resource.id": resource_of(found.name),
        "prefect.resource.name": found.name,
        "braid.index": found.index,
    }
    counts = {"seen": found.seen, "set_aside": found.set_aside, "index": found.index, "run_id": found.run_id}
    ages = {"age_s": found.age_s, "fresh_within_s": found.fresh_within_s, "good_at": found.good_at}
    emit_event(event=STALE, resource=resource, payload={**counts, **ages})
