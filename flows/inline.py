"""Run leaves by direct calls: for tests, for dry runs, and for retrieval that must answer in milliseconds."""

import asyncio
import logging
import random

from flows.classify import retry_after
from flows.errors import BudgetUsedUp, FatalError, TransientError
from flows.invoke import LeafCall, LeafResult, attempt, status_of

logger = logging.getLogger(__name__)


async def run_leaf(leaf: LeafCall) -> LeafResult:
    """Try until it succeeds, fails for good, or has had its attempts; never raises."""
    loop = asyncio.get_running_loop()
    retry = leaf.node.retry
    while True:
        try:
            return LeafResult("succeeded", await attempt(leaf))
        except (asyncio.CancelledError, FatalError) as error:
            return LeafResult(status_of(leaf, error), error=error)
        except BudgetUsedUp as error:
            return LeafResult(status_of(leaf, leaf.error or error), error=leaf.error or error)
        except TransientError as error:
            leaf.error = error
            delay_s = retry.delay_before(leaf.attempts + 1, retry_after_s=retry_after(error), random=random.random())
            out_of_time = leaf.deadline is not None and loop.time() + delay_s >= leaf.deadline
            if leaf.attempts >= retry.max_attempts or out_of_time or not leaf.attempts or leaf.meter.refusal:
                return LeafResult(status_of(leaf, error), error=error)
            logger.info("%s: attempt %d failed (%s), next in %.2f s", leaf.id, leaf.attempts, error, delay_s)
        leaf.give_way()
        try:
            await asyncio.sleep(delay_s)
        except asyncio.CancelledError as error:
            return LeafResult("cancelled", error=error)
