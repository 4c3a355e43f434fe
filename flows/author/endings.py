"""How an attempt ended: its status, whether trying again may help, and how long to wait first. Made in one place."""

import asyncio
from dataclasses import dataclass

from flows.author.classify import error_info, retry_after
from flows.author.results import ErrorInfo, Status
from flows.errors import BudgetUsedUp, StepAbandoned, StepTimeout, TransientError
from flows.model import scrub


@dataclass(frozen=True)
class Ending:
    """How one attempt ended, or a call after all its attempts."""

    status: Status
    error: BaseException | None = None
    """Why it failed, or what stopped it; None if it succeeded."""
    transient: bool = False
    """Whether trying again may help."""
    retry_after_s: float | None = None
    """How many seconds the service asked to wait before the next attempt."""

    @property
    def succeeded(self) -> bool:
        return self.status == "succeeded"

    @property
    def refused(self) -> bool:
        """Whether the call was not made, because the run's budget allows no more calls."""
        return isinstance(self.error, BudgetUsedUp)

    @property
    def stopped(self) -> bool:
        """Whether it was stopped or refused, rather than failed by itself."""
        return self.refused or isinstance(self.error, asyncio.CancelledError)

    @property
    def failure(self) -> ErrorInfo | None:
        """Why it failed by itself, as text; None if it succeeded or was stopped."""
        return None if self.error is None or self.stopped else error_info(self.error)


SUCCEEDED = Ending("succeeded")


def ending_of(error: BaseException, *, abandoned: bool = False) -> Ending:
    """The ending of an attempt that raised `error`; `abandoned`: the attempt was stopped, but its thread still runs."""
    scrub(error)
    match error:
        case asyncio.CancelledError():
            return Ending("abandoned" if abandoned else "cancelled", error)
        case BudgetUsedUp():
            return Ending("cancelled", error)
        case StepAbandoned():
            return Ending("abandoned", error, transient=True)
        case StepTimeout():
            return Ending("timed_out", error, transient=True)
        case TransientError():
            return Ending("failed", error, transient=True, retry_after_s=retry_after(error))
        case _:
            return Ending("failed", error)
