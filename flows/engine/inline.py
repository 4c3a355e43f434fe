"""Run leaves by direct calls: for tests, for dry runs, and for retrieval that must answer in milliseconds."""

import asyncio

from flows.calling import LeafCall, LeafResult
from flows.engine.invoke import attempt, status_of
from flows.engine.retries import next_delay
from flows.errors import BudgetUsedUp, FatalError, TransientError


async def run_leaf(leaf: LeafCall) -> LeafResult:
    """Try until it succeeds, fails for good, or has had its attempts; never raises."""
    while True:
        try:
            return LeafResult("succeeded", await attempt(leaf))
        except (asyncio.CancelledError, FatalError) as error:
            return LeafResult(status_of(leaf, error), error=error)
        except BudgetUsedUp as error:
            return LeafResult(status_of(leaf, leaf.error or error), error=leaf.error or error)
        except TransientError as error:
            leaf.error = error
            delay_s = next_delay(leaf, error)
            if delay_s is None:
                return LeafResult(status_of(leaf, error), error=error)
        leaf.give_way()
        try:
            await asyncio.sleep(delay_s)
        except asyncio.CancelledError as error:
            return LeafResult(status_of(leaf, error), error=error)
