"""A simulated week of three tenants at one provider, in virtual time: `python -m bench.fair_shares [--days 7]`.

Each tenant's source changes in bursts and has promised to be fresh within some hours. The provider accepts a number of
calls at once, which it does not publish, and refuses the others with 429. Questions arrive now and then. The report has
the promises kept where the capacity allowed it, Jain's index of the shares while all tenants wait, the 429s, and how
many calls started between a question's arrival and its own start.
"""

import argparse
import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from flows.author import Ending, ending_of
from flows.errors import TransientError
from flows.limits import Resources, Share, SlotRequest
from flows.model import Resource
from flows.testkit import run_virtually

DAY_S = 86_400.0
CALL_S = 60.0
"""The seconds of a call, which embeds a batch of documents."""


@dataclass
class Provider:
    """Accepts `capacity` calls at once; answers the others with 429."""

    capacity: int
    dice: random.Random
    busy: int = 0
    calls: int = 0
    refused: int = 0

    async def call(self) -> None:
        self.calls += 1
        if self.busy >= self.capacity:
            self.refused += 1
            await asyncio.sleep(0.1)
            raise TransientError("429", retry_after_s=5.0)
        self.busy += 1
        try:
            await asyncio.sleep(CALL_S * self.dice.uniform(0.8, 1.2))
        finally:
            self.busy -= 1


@dataclass
class Week:
    """The resources, and what is measured."""

    provider: Provider
    resources: Resources = field(default_factory=Resources)
    request: SlotRequest = field(
        default_factory=lambda: SlotRequest("model", Resource.model_validate({"concurrency": "auto"}))
    )
    started: list[str] = field(default_factory=list[str])
    """The tenant of each call that started, in order."""
    waiting: Counter[str] = field(default_factory=Counter[str])
    shares: Counter[str] = field(default_factory=Counter[str])
    """Calls started by tenant while all three had calls waiting."""
    kept: int = 0
    missed: int = 0
    overtaken: list[int] = field(default_factory=list[int])

    async def call(self, share: Share) -> None:
        """One call with its retries."""
        while True:
            self.waiting[share.tenant] += 1
            slot = await self.resources.take([self.request], share)
            if all(self.waiting[each] > 0 for each in TENANTS):
                self.shares[share.tenant] += 1
            self.waiting[share.tenant] -= 1
            self.resources.begin(slot)
            self.started.append(share.tenant)
            try:
                await self.provider.call()
                ending = Ending("succeeded")
            except TransientError as error:
                ending = ending_of(error)
            self.resources.end(slot, ending)
            if ending.succeeded:
                return
            await asyncio.sleep(ending.retry_after_s or 1.0)

    async def burst(self, tenant: str, calls: int, promise_s: float) -> None:
        """A source has changed, so all of its calls are requested at once."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.gather(*(self.call(Share(tenant)) for _ in range(calls)))
        if loop.time() - began <= promise_s:
            self.kept += 1
        else:
            self.missed += 1

    async def question(self) -> None:
        before = len(self.started)
        call = asyncio.ensure_future(self.call(Share("questions", priority=10)))
        while "questions" not in self.started[before:]:
            await asyncio.sleep(0.05)
        self.overtaken.append(self.started[before:].index("questions"))
        await call


TENANTS = ("small", "middle", "large")
SIZES = {"small": 40, "middle": 300, "large": 1500}
PROMISES_S = {"small": 1 * 3600.0, "middle": 4 * 3600.0, "large": 12 * 3600.0}


async def live(days: float, seed: int) -> dict[str, Any]:
    """A simulated time; all that is measured."""
    dice = random.Random(seed)
    week = Week(Provider(capacity=10, dice=dice))
    end = asyncio.get_running_loop().time() + days * DAY_S

    async def tenant(name: str) -> None:
        while (left := end - asyncio.get_running_loop().time()) > 0:
            await week.burst(name, int(SIZES[name] * dice.uniform(0.6, 1.0)), PROMISES_S[name])
            await asyncio.sleep(min(left, PROMISES_S[name] * dice.uniform(0.2, 1.0)))

    async def questions() -> None:
        while asyncio.get_running_loop().time() < end:
            await asyncio.sleep(dice.uniform(1800, 7200))
            await week.question()

    await asyncio.gather(*(tenant(name) for name in TENANTS), questions())
    shares = [week.shares[each] for each in TENANTS]
    squares = sum(each * each for each in shares)
    return {
        "days": days,
        "calls": week.provider.calls,
        "promises_kept": week.kept / max(1, week.kept + week.missed),
        "bursts": week.kept + week.missed,
        "jain": sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0,
        "refused_share": week.provider.refused / max(1, week.provider.calls),
        "questions": len(week.overtaken),
        "most_calls_before_a_question": max(week.overtaken, default=0),
    }


def simulate(days: float, seed: int = 1) -> dict[str, Any]:
    """What `live` measures, in virtual time."""
    return run_virtually(live(days, seed))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--days", type=float, default=7.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(json.dumps(simulate(given.days, given.seed), indent=1))


if __name__ == "__main__":
    main()
