"""Who may start: windows, shared resources, admission and the budget of a run."""

from flows.limits.meter import SECONDS, Meter, more_budget
from flows.limits.resources import WINDOW_S, Demand, Resources, process_resources
from flows.limits.turns import SharedRates, SharedSeats, Turns, warn_of_what_is_not_shared
from flows.limits.windows import Slot, Window

__all__ = [
    "SECONDS",
    "WINDOW_S",
    "Demand",
    "Meter",
    "Resources",
    "SharedRates",
    "SharedSeats",
    "Slot",
    "Turns",
    "Window",
    "more_budget",
    "process_resources",
    "warn_of_what_is_not_shared",
]
