"""Run leaves by direct calls: for tests, for dry runs, and for retrieval that must answer in milliseconds."""

import asyncio

from flows.author import ending_of
from flows.calling import LeafCall, LeafResult
from flows.engine.invoke import attempt, conclude
from flows.engine.retries import next_delay


async def run_leaf(leaf: LeafCall) -> LeafResult:
    """Try until it succeeds, fails for good, or has had its attempts; never raises."""
    while True:
        ended = await attempt(leaf)
        delay_s = next_delay(leaf, ended.ending)
        if delay_s is None:
            return conclude(leaf, ended)
        leaf.give_way()
        try:
            await asyncio.sleep(delay_s)
        except asyncio.CancelledError as error:
            return LeafResult(ending_of(error, abandoned=leaf.progress.abandoned))
