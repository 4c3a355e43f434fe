"""Tests pipelines under thousands of schedules in seconds: chosen interleavings, injected faults, virtual time."""

from flows.testkit.clock import EndlessWait, VirtualLoop, run_virtually
from flows.testkit.exploration import Exploration, ScheduleFailure, explore, replay_schedule
from flows.testkit.faults import Faults
from flows.testkit.invariants import broken_promises
from flows.testkit.running import run
from flows.testkit.schedules import Schedule
from flows.testkit.standins import stand_ins
from flows.testkit.threaded import trace_in_threads

__all__ = [
    "EndlessWait",
    "Exploration",
    "Faults",
    "Schedule",
    "ScheduleFailure",
    "VirtualLoop",
    "broken_promises",
    "explore",
    "replay_schedule",
    "run",
    "run_virtually",
    "stand_ins",
    "trace_in_threads",
]
