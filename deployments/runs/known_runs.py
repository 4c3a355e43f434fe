"""The service `known_runs`: reports which runs are alive, for handlers that clean up after dead ones."""

import time
from dataclasses import dataclass

_MOST_RECENT = 2000


@dataclass(frozen=True)
class KnownRuns:
    """Asks the run store at `url`."""

    url: str

    def alive_and_dead(self) -> tuple[set[str], set[str]]:
        """The ids of running runs and the runs that they continue, and the ids of other recent runs."""
        from flows.run_store import RunStore  # SQLAlchemy takes a while to import

        store = RunStore(self.url)
        try:
            recent, now = store.recent(limit=_MOST_RECENT), time.time()
        finally:
            store.close()
        chains = {run.chain for run in recent if run.status == "running" and run.is_alive(now)}
        alive = {run.run_id for run in recent if run.chain in chains}
        return alive, {run.run_id for run in recent} - alive
