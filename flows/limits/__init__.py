"""Who may start: windows, shared resources, admission and the budget of a run."""

from flows.limits.admission import Admission, Admitted, SharedRates, SharedSeats, warn_of_what_is_not_shared
from flows.limits.budget import SECONDS, Budget, more_budget
from flows.limits.resources import MINUTE_S, Demand, Resources, process_resources
from flows.limits.windows import Slot, Window

__all__ = [
    "MINUTE_S",
    "SECONDS",
    "Admission",
    "Admitted",
    "Budget",
    "Demand",
    "Resources",
    "SharedRates",
    "SharedSeats",
    "Slot",
    "Window",
    "more_budget",
    "process_resources",
    "warn_of_what_is_not_shared",
]
