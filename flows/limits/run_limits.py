"""The limits of one run, which all of its calls share."""

import math
from dataclasses import dataclass, field

from flows.limits.admission import Admission
from flows.limits.budget import Budget
from flows.limits.resources import Resources
from flows.limits.windows import Window
from flows.model import RetryBudget, share_of


@dataclass
class RetryCount:
    """How much of its retry budget a run has spent; used on the event loop only."""

    budget: RetryBudget | None = None
    calls: int = 0
    retries: int = 0

    def spend(self) -> bool:
        """Count one retry and return True, or return False if none is left."""
        if self.left() < 1:
            return False
        self.retries += 1
        return True

    def left(self) -> float:
        """How many retries are left; with a share, this grows with the calls begun."""
        if self.budget is None:
            return math.inf
        most = math.inf if self.budget.max_retries is None else self.budget.max_retries
        if self.budget.share is not None:
            most = min(most, math.ceil(share_of(self.budget.share, self.calls)))
        return most - self.retries


@dataclass(frozen=True)
class RunLimits:
    """The limits of one run: concurrency, shared resources, retries and cost."""

    calls: Window = field(default_factory=lambda: Window(None))
    """The concurrency window of the run; held during each attempt."""
    admission: Admission = field(default_factory=lambda: Admission({}, Resources()))
    retries: RetryCount = field(default_factory=RetryCount)
    budget: Budget = field(default_factory=Budget)
