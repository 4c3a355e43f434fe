"""Repairs the traces of crashes regularly while `braid up` runs, in a separate thread."""

import asyncio
import threading
from collections.abc import Callable

from prefect import get_client

from deployments.server.findings import Finding
from deployments.server.reconciling import reconcile
from deployments.server.stale_sources import StaleSources
from deployments.server.zombies import stored_zombies
from deployments.settings import Settings

EVERY_S = 20.0


class Keeper:
    """A context manager that reconciles the run store and the local server at intervals."""

    def __init__(self, settings: Settings, *, say: Callable[[str], None], every_s: float = EVERY_S) -> None:
        self._settings, self._say, self._every_s = settings, say, every_s
        self._stale = StaleSources(settings)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="braid-keeper", daemon=True)
        self._trouble = ""

    def reconcile(self) -> list[Finding]:
        """Repair the current traces of crashes, and report them."""
        found = [one for one in stored_zombies(self._settings, repair=True) if "is gone" in one.text]
        return found + asyncio.run(self._on_server())

    async def _on_server(self) -> list[Finding]:
        async with get_client() as client:
            return await reconcile(client, self._settings, repair=True, local=True)

    def __enter__(self) -> "Keeper":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _keep(self) -> None:
        while not self._over.wait(self._every_s):
            try:
                found = [*self.reconcile(), *self._stale.look()]
            # For example an unreachable server or a full disk; the next round repairs the rest.
            except Exception as error:
                trouble = f"the upkeep of runs failed: {type(error).__name__}: {str(error).splitlines()[0:1]}"
                if trouble != self._trouble:
                    self._trouble = trouble
                    self._say(trouble)
                continue
            self._trouble = ""
            for finding in found:
                self._say(finding.text)
