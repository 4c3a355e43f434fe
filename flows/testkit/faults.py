"""The faults of a schedule: calls that fail or hang, and runs that are cancelled or killed."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from flows.testkit.schedules import Schedule

Fault: TypeAlias = Literal["transient", "fatal", "hang"]
Stop: TypeAlias = Literal["cancel", "crash"]


@dataclass(frozen=True)
class Faults:
    """How often each fault happens, as shares from 0.0 to 1.0.

    The first three are shares of all attempts, the last two shares of the schedules with faults. A call that hangs
    waits until its timeout or until it is stopped; a call without a timeout never hangs.
    """

    transient: float = 0.15
    fatal: float = 0.08
    hang: float = 0.05
    cancel: float = 0.15
    """The run is cancelled after an event."""
    crash: float = 0.15
    """The run stops after an event as if its process had been killed, and is then run again from the start."""

    def __post_init__(self) -> None:
        for name in ("transient", "fatal", "hang", "cancel", "crash"):
            share = getattr(self, name)
            if not 0.0 <= share <= 1.0:
                raise ValueError(f"Faults({name}={share!r}): give a share from 0.0 to 1.0")
        if self.transient + self.fatal + self.hang > 1.0 or self.cancel + self.crash > 1.0:
            raise ValueError("Faults: shares of attempts, and shares of schedules, must not add up to more than 1.0")

    def of_call(self, schedule: Schedule, call: str, *, bounded: bool) -> Fault | None:
        """The fault of one attempt; `bounded` is true if a timeout would end a call that hangs."""
        name = f"{call} fault"
        if not schedule.allows(name):
            return None
        # Schedules have few, some or many faults: if half of all calls failed, no run would reach its later steps.
        share = schedule.fraction(name) / schedule.one_of("how many faults", (0.3, 1.0, 1.0, 2.0))
        fault: Fault | None = None
        if share < self.transient:
            fault = "transient"
        elif share < self.transient + self.fatal:
            fault = "fatal"
        elif share < self.transient + self.fatal + self.hang and bounded:
            fault = "hang"
        if fault is not None:
            schedule.made[name] = {"hang": "hangs", "fatal": "fails for good", "transient": "fails for now"}[fault]
        return fault

    def of_run(self, schedule: Schedule, events: int) -> tuple[Stop, int] | None:
        """How the whole run is stopped, and after which event, counted from 1; None if it is not stopped."""
        share = schedule.fraction("stop")
        if share >= self.cancel + self.crash or not schedule.allows("stop"):
            return None
        stop: Stop = "cancel" if share < self.cancel else "crash"
        after = 1 + int(schedule.fraction("stop after") * max(1, events))
        schedule.made["stop"] = f"the run is {'cancelled' if stop == 'cancel' else 'killed'} after event {after}"
        return stop, after
