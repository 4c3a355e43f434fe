"""The budget of a run: the cost of its calls so far, and whether another one may start."""

import threading
import time
from collections.abc import Callable, Mapping

from flows.author import add_up, cost_text

SECONDS = "seconds"


class Budget:
    """Adds up what a run costs while it goes on, and refuses calls once a budget is used up; safe under threads.

    A budget is the amount of each unit that a run may use; `seconds` is the time of the run. `spent` are the amounts
    that earlier runs of the chain have used. A refusal is final: from then on nothing new starts.
    """

    def __init__(
        self,
        budget: Mapping[str, float] | None = None,
        *,
        spent: Mapping[str, float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.allowed = dict(budget or {})
        self.before = dict(spent or {})
        self.total: dict[str, float] = {}
        """The amounts that this run's calls reported so far, including calls whose results were dropped."""
        self.refusal = ""
        """Why no call starts any more; empty while they may."""
        self._clock = clock
        self._began = clock()
        self.late: dict[str, float] = {}
        """The part of the total that calls reported after they had been given up."""
        self._calls: dict[str, tuple[int, dict[str, float]]] = {}
        self._running: list[Charge] = []
        self._lock = threading.Lock()

    def used(self, unit: str) -> float:
        """How much of a unit is used, including the earlier runs."""
        now = self._clock() - self._began if unit == SECONDS else self.total.get(unit, 0.0)
        return self.before.get(unit, 0.0) + now

    def may_start(self, handler: str) -> bool:
        """Whether a call of `handler` may start; if not, `refusal` has the reason.

        It may not start if a budget is used up, or if this call and the running ones would probably use it up. Each is
        estimated at the average cost of its handler's calls in this run so far.
        """
        with self._lock:
            if not self.refusal:
                self.refusal = self._refusal_of(handler)
            return not self.refusal

    def start(self, handler: str) -> "Charge":
        """Register a started call; report its costs to the returned charge."""
        charge = Charge(self, handler)
        with self._lock:
            self._running.append(charge)
        return charge

    def end(self, charge: "Charge") -> dict[str, float]:
        """Book the cost of an ended call; later reports count as late cost."""
        with self._lock:
            self._running.remove(charge)
            charge.over = True
            count, total = self._calls.get(charge.handler, (0, {}))
            self._calls[charge.handler] = count + 1, add_up([total, charge.cost])
            return charge.cost

    def add(self, charge: "Charge", units: Mapping[str, float]) -> None:
        """Count the amounts that a call has just reported."""
        with self._lock:
            charge.cost = add_up([charge.cost, units])
            self.total = add_up([self.total, units])
            if charge.over:
                self.late = add_up([self.late, units])

    def enough(self) -> dict[str, float]:
        """A budget with which the run could go on: twice the allowed or used amount of each unit that ran out."""
        out = {unit: limit for unit, limit in self.allowed.items() if f" {unit} used" in self.refusal}
        return {unit: 2 * max(limit, self.used(unit)) for unit, limit in (out or self.allowed).items()}

    def _refusal_of(self, handler: str) -> str:
        for unit, limit in self.allowed.items():
            used = self.used(unit)
            known = f"{_amount_text(used, unit)} of {_amount_text(limit, unit)} used"
            if used >= limit:
                return f"budget: {known}"
            expected = self._expected_cost(handler, unit)
            running = sum(
                max(0.0, self._expected_cost(one.handler, unit) - one.cost.get(unit, 0.0)) for one in self._running
            )
            if expected and used + expected + running > limit * (1 + 1e-9):
                more = f" and running calls about {_amount_text(running, unit)}" if running else ""
                return f"budget: {known}, and a call of {handler!r} takes about {_amount_text(expected, unit)}{more}"
        return ""

    def _expected_cost(self, handler: str, unit: str) -> float:
        if unit == SECONDS:
            return 0.0
        count, total = self._calls.get(handler, (0, {}))
        return total.get(unit, 0.0) / count if count else 0.0


class Charge:
    """The cost of one call, counted in the budget of its run."""

    def __init__(self, budget: Budget, handler: str) -> None:
        self._budget, self.handler = budget, handler
        self.cost: dict[str, float] = {}
        self.over = False

    def add(self, units: Mapping[str, float]) -> None:
        self._budget.add(self, units)


def _amount_text(amount: float, unit: str) -> str:
    return cost_text({unit: amount})
