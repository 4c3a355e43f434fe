"""Walks a plan: who runs when, in which isolation, and how it ended; knows nothing of Prefect."""

from flows.engine.engine import run_plan
from flows.engine.inline import run_leaf
from flows.engine.invoke import attempt, status_of
from flows.engine.journal import FinishedCall, Journal
from flows.engine.prepared import Prepared
from flows.engine.replay import replay_step
from flows.engine.retries import next_delay
from flows.engine.run_state import Observer, Observers, RunLeaf
from flows.engine.stuck import Expected, Stuck, usual_seconds

__all__ = [
    "Expected",
    "FinishedCall",
    "Journal",
    "Observer",
    "Observers",
    "Prepared",
    "RunLeaf",
    "Stuck",
    "attempt",
    "next_delay",
    "replay_step",
    "run_leaf",
    "run_plan",
    "status_of",
    "usual_seconds",
]
