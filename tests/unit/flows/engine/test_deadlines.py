"""Deadlines: each limits the inner ones, and a thread that outlives its deadline does not block other calls."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from flows.author import Registry, RunResult
from flows.calling import dispatch
from flows.testkit import run_virtually
from tests.support.engine_runs import Gate, run, statuses


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([{"handler": "forever", "timeout_s": 0.05}], {"0": "timed_out"}),
        ([{"handler": "blocked", "timeout_s": 0.05}], {"0": "abandoned"}),
        ([{"handler": "forever", "timeout_s": 60}], {"0": "timed_out"}),
        (
            [{"parallel": {"timeout_s": 0.05, "branches": ["forever", "ok", {"handler": "forever", "timeout_s": 60}]}}],
            {"0": "timed_out", "0.0": "timed_out", "0.1": "succeeded", "0.2": "timed_out"},
        ),
        (
            [{"parallel": {"timeout_s": 0.05, "max_concurrency": 1, "branches": ["forever", "ok"]}}],
            {"0": "timed_out", "0.0": "timed_out", "0.1": "timed_out"},
        ),
    ],
)
def test_timeouts_of_step_group_and_run_clip_what_is_inside(registry: Registry, steps: Any, expected: dict) -> None:
    result = run_virtually(run(steps, registry, timeout_s=0.2))
    assert statuses(result) == expected
    assert result.status == "failed"
    assert "late" not in result.context.data
    assert result.seconds < 0.21


async def test_a_thread_that_watches_for_its_end_is_not_abandoned(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "GRACE_S", 60.0)
    result = await run([{"handler": "polite", "timeout_s": 0.05}], registry)
    assert statuses(result) == {"0": "timed_out"}
    assert result.status == "failed"


def test_a_late_result_is_dropped_and_its_thread_starves_nobody(registry: Registry, gate: Gate) -> None:
    blocked = {"handler": "blocked", "timeout_s": 0.05}
    group = {
        "parallel": [blocked] * 40,
        "policy": "best_effort",
        "max_concurrency": "unlimited",
        "reducers": {"late": "append"},
    }

    async def run_and_release() -> RunResult:
        result = await run([group, "ok"], registry)
        gate.release(40)
        await asyncio.sleep(1)
        return result

    result = run_virtually(run_and_release())
    assert Counter(statuses(result).values()) == {"abandoned": 40, "succeeded": 2}
    assert "late" not in result.context.data
