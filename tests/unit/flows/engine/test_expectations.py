"""Quality gates: a step with an unexpected result fails, or marks the run, before later steps begin."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from flows import FatalError, handler
from flows.author import EXPECTATIONS, REGISTRY, Call, RunResult, expectation
from flows.errors import InvalidPipeline
from flows.loaders import load_pipeline_text
from flows.running import run


@pytest.fixture(autouse=True, scope="module")
def _registered() -> Iterator[None]:
    @handler(writes="gate_passages")
    def gate_cut(n: int, aside: int = 0, *, call: Call) -> list[int]:
        for number in range(aside):
            call.fail_item(f"item {number}", "is damaged")
        return list(range(n))

    @handler(writes="gate_published")
    def gate_publish(gate_passages: list[int]) -> int:
        return len(gate_passages)

    @expectation
    def gate_enough(fields: Mapping[str, Any]) -> str | None:
        return "too few" if len(fields["gate_passages"]) < 3 else None

    @expectation
    def gate_never(fields: Mapping[str, Any]) -> bool:
        return False

    yield
    for name in ("gate_cut", "gate_publish"):
        del REGISTRY.handlers[name]
    for name in ("gate_enough", "gate_never"):
        del EXPECTATIONS[name]


def gated(expect: str, **fields: Any) -> RunResult:
    text = f"name: gated\nsteps:\n- {{handler: gate_cut, expect: {expect}}}\n- gate_publish\n"
    return run(load_pipeline_text(text), fields)


@pytest.mark.parametrize(
    ("expect", "given", "status", "published", "reason"),
    [
        ("{gate_passages: {min: 1}}", {"n": 2}, "succeeded", True, ""),
        ("{gate_passages: {min: 3}}", {"n": 2}, "failed", False, "gate_passages is 2, less than 3"),
        ("{gate_passages: {max: 1}}", {"n": 2}, "failed", False, "gate_passages is 2, more than 1"),
        ("{gate_passages: {min: 3}, otherwise: mark}", {"n": 2}, "partial", True, "gate_passages is 2, less than 3"),
        ("{share_set_aside: {max: 50%}}", {"n": 1, "aside": 1}, "partial", True, ""),
        (
            "{share_set_aside: {max: 5%}}",
            {"n": 1, "aside": 1},
            "failed",
            False,
            "share_set_aside is 0.5, more than 0.05",
        ),
        ("{check: gate_enough}", {"n": 3}, "succeeded", True, ""),
        ("{check: gate_enough}", {"n": 2}, "failed", False, "too few"),
        ("{check: gate_never, otherwise: mark}", {"n": 2}, "partial", True, "gate_never is not met"),
    ],
)
def test_a_step_meets_its_expectations_or_no_later_step_runs(
    expect: str, given: dict[str, Any], status: str, published: bool, reason: str
) -> None:
    result = gated(expect, **given)
    said = [str(each.error and each.error.message) for each in result.errors] + [each.error for each in result.failures]
    assert (result.status, "gate_published" in result.context.data) == (status, published)
    assert any(reason in each for each in said) or not reason


@pytest.mark.parametrize(
    ("expect", "problem"),
    [
        ("{gate_pasages: {min: 1}}", "does not write 'gate_pasages'; did you mean 'gate_passages'?"),
        ("{check: gate_enuf}", "no expectation is registered as 'gate_enuf'"),
        ("{gate_passages: {least: 1}}", "least"),
    ],
)
def test_an_expectation_of_nothing_is_refused_before_the_run(expect: str, problem: str) -> None:
    with pytest.raises((InvalidPipeline, FatalError), match=problem.replace("?", r"\?")):
        gated(expect, n=1)
