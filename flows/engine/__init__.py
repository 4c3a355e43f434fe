"""Walks a plan: who runs when, in which isolation, and how it ended; knows nothing of Prefect."""

from flows.calling import RunLeaf
from flows.engine.attempts import attempt, conclude, next_delay, run_leaf
from flows.engine.batching import choose_batch_size, item_seconds
from flows.engine.engine import run_plan
from flows.engine.events import (
    AttemptFinished,
    Event,
    LoopStarted,
    Observer,
    RunFinished,
    RunStarted,
    StepFinished,
    StepProgressed,
    StepStarted,
    StepStuck,
    combine_observers,
    ignore_event,
)
from flows.engine.journal import FinishedCall, Journal
from flows.engine.prepared import Notice, Prepared, new_run_id
from flows.engine.replay import replay_step
from flows.engine.stuck import Expectation, usual_seconds

__all__ = [
    "AttemptFinished",
    "Event",
    "Expectation",
    "FinishedCall",
    "Journal",
    "LoopStarted",
    "Notice",
    "Observer",
    "Prepared",
    "RunFinished",
    "RunLeaf",
    "RunStarted",
    "StepFinished",
    "StepProgressed",
    "StepStarted",
    "StepStuck",
    "attempt",
    "choose_batch_size",
    "combine_observers",
    "conclude",
    "ignore_event",
    "item_seconds",
    "new_run_id",
    "next_delay",
    "replay_step",
    "run_leaf",
    "run_plan",
    "usual_seconds",
]
