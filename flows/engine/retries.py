"""Whether and when a failed attempt is tried again: its own rules, its deadline, and the run's budget of retries."""

import asyncio
import logging
import random

from flows.author import Ending
from flows.calling import LeafCall

logger = logging.getLogger(__name__)


def next_delay(leaf: LeafCall, ending: Ending) -> float | None:
    """Seconds until the next attempt; None if there is none, which the error then says if it could have had one."""
    retry, made, error = leaf.node.retry, leaf.progress.attempts, ending.error
    if error is None or not ending.transient or not 0 < made < retry.max_attempts:
        return None
    if leaf.limits.budget.refusal:
        return None
    delay_s = retry.delay_before(made + 1, retry_after_s=ending.retry_after_s, random=random.random())
    if leaf.deadline is not None and asyncio.get_running_loop().time() + delay_s >= leaf.deadline:
        return None
    count = leaf.limits.retries
    if not count.spend():
        note = f"not tried again: the run's retry budget ({count.budget}) is used up"
        error.args = (f"{error}; {note}",)  # what Prefect shows as the message of the state
        error.add_note(note)
        logger.warning("%s: attempt %d failed (%s)", leaf.id, made, error)
        return None
    left = "" if count.budget is None else f", {count.left():.0f} retries left in the run"
    logger.info("%s: attempt %d failed (%s), next in %.2f s%s", leaf.id, made, error, delay_s, left)
    return delay_s
