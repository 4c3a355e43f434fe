"""The time of one call, split into work and waits."""

import asyncio

from flows.author import now

BOOKKEEPING, TURN, RETRY = "bookkeeping", "its turn", "the next attempt"
PROCESS, RUN_STORE = "a process", "the run store"
"""The reasons for waiting other than resources (see `resource_wait`)."""


def resource_wait(uses: "tuple[str, ...]") -> str:
    """The name of the wait for the resources that a call uses."""
    return f"{'resource' if len(uses) == 1 else 'resources'} {', '.join(sorted(uses))}"


class CallTimes:
    """The seconds of one call on the event loop's clock; at any moment the call either works or waits for one thing.

    So the work and the waits add up to the time from the first `wait_for` or `work` to `end`.
    """

    def __init__(self) -> None:
        self.waits: dict[str, float] = {}
        """Seconds of waiting, by the thing it waited for."""
        self.work_began: float | None = None
        """When it last began to work, in seconds since the epoch."""
        self._work_s = 0.0
        self._doing: str | None = None
        """The thing it waits for now; empty while it works, None before and after."""
        self._since = 0.0

    @property
    def waits_for(self) -> str:
        """The thing it waits for now; empty if it works, or has ended."""
        return self._doing or ""

    @property
    def work_s(self) -> float:
        """The seconds of work so far."""
        if self._doing == "":
            self._turn_to("")
        return self._work_s

    def wait_for(self, what: str) -> None:
        """The call waits for `what` from now on."""
        self._turn_to(what)

    def work(self) -> None:
        """The call works from now on."""
        self.work_began = now()
        self._turn_to("")

    def work_was(self, seconds: float, waited_for: str) -> None:
        """Correct the current period of work: count only `seconds` as work, and the time before as a wait for
        `waited_for`.
        """
        at = asyncio.get_running_loop().time()
        waited = max(0.0, at - self._since - seconds)
        if self._doing == "" and waited:
            self.waits[waited_for] = self.waits.get(waited_for, 0.0) + waited
            self._since += waited
            self.work_began = now() - seconds

    def end(self) -> None:
        """The call has ended; a later `work` or `wait_for` continues the count."""
        self._turn_to(None)

    def _turn_to(self, doing: str | None) -> None:
        at = asyncio.get_running_loop().time()
        if self._doing == "":
            self._work_s += at - self._since
        elif self._doing is not None and at > self._since:
            self.waits[self._doing] = self.waits.get(self._doing, 0.0) + at - self._since
        self._doing, self._since = doing, at
