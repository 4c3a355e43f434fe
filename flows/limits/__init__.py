"""Decides when a call may start: windows, shared resources, admission, and the limits of a run as a whole."""

from flows.limits.admission import Admission, AdmittedCall, SharedRates, SharedSeats, warn_of_what_is_not_shared
from flows.limits.budget import SECONDS, Budget
from flows.limits.rates import UNNAMED, Share, SlotRequest
from flows.limits.resources import MINUTE_S, Resources, process_resources
from flows.limits.run_limits import RetryCount, RunLimits
from flows.limits.windows import Slot, Window

__all__ = [
    "MINUTE_S",
    "SECONDS",
    "UNNAMED",
    "Admission",
    "AdmittedCall",
    "Budget",
    "Resources",
    "RetryCount",
    "RunLimits",
    "Share",
    "SharedRates",
    "SharedSeats",
    "Slot",
    "SlotRequest",
    "Window",
    "process_resources",
    "warn_of_what_is_not_shared",
]
