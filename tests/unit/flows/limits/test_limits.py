"""Declared limits: the combination of settings and pipeline, their origin in a plan, and the counting of retries."""

import pytest
from pydantic import ValidationError

from flows.author import Registry, handler
from flows.engine import Prepared, run_plan
from flows.errors import InvalidPipeline, TransientError
from flows.limits import RetryCount
from flows.model import Breaker, Pipeline, Resource, RetryBudget, effective_resource, tightest
from flows.planning import Overrides, make_plan
from flows.state import Context

ORIGINS = {"own_origin": "pipeline p", "common_origin": "BRAID_RESOURCES"}


@pytest.mark.parametrize(
    ("own", "common", "said"),
    [
        (Resource(concurrency=2), None, "2 at once (pipeline p)"),
        (None, Resource(per_minute=60), "60 per minute (BRAID_RESOURCES); shared by all runs"),
        (None, Resource(per_minute=60, shared=False), "60 per minute (BRAID_RESOURCES)"),
        (Resource(concurrency=2), Resource(concurrency=5), "2 at once (pipeline p); shared by all runs"),
        (
            Resource(concurrency=9),
            Resource(concurrency=5),
            "5 at once (BRAID_RESOURCES, below the pipeline's 9); shared by all runs",
        ),
        (Resource(concurrency=2, shared=True), None, "2 at once (pipeline p); shared by all runs"),
        (Resource(), None, "unlimited"),
        (
            Resource(breaker=Breaker()),
            Resource(breaker=Breaker(failures=9), shared=False),
            "breaker: 5 failures in 60 s stop calls for 30 s (pipeline p)",
        ),
    ],
)
def test_the_tighter_of_settings_and_pipeline_holds(own: Resource | None, common: Resource | None, said: str) -> None:
    assert str(effective_resource("api", own, common, **ORIGINS)) == said


def test_what_is_shared_is_what_all_runs_agree_on() -> None:
    settled = effective_resource("api", Resource(concurrency=2), Resource(concurrency=5), **ORIGINS)
    assert settled.shared == {"api": Resource(concurrency=5)}
    own = effective_resource("api", Resource(concurrency=2, shared=True), None, **ORIGINS)
    assert list(own.shared) == ["p/api"]
    both = tightest(settled, own)
    assert (both.resource.concurrency, set(both.shared)) == (2, {"api", "p/api"})


def made() -> tuple[Registry, list[int]]:
    registry, calls = Registry(), list[int]()

    @handler(registry=registry, effects=(), uses="api")
    async def ask() -> None:
        calls.append(1)
        raise TransientError("busy")

    return registry, calls


def test_a_resource_that_nobody_defines_is_refused_with_the_cure() -> None:
    registry, _ = made()
    pipeline = Pipeline.model_validate({"name": "p", "steps": ["ask"]})
    with pytest.raises(
        InvalidPipeline, match=r"no resource named 'api' \(every ask uses it\).*`resources: \{api: .*BRAID_RESOURCES"
    ):
        make_plan(pipeline, registry=registry)
    plan = make_plan(pipeline, registry=registry, overrides=Overrides(resources={"api": Resource(concurrency=1)}))
    assert [str(one) for one in plan.all_resources.values()] == ["1 at once (settings); shared by all runs"]


@pytest.mark.parametrize(
    ("budget", "calls"), [(None, 15), (0, 5), (3, 8), ("20%", 6), ({"max_retries": 9, "share": 0.4}, 7)]
)
async def test_a_run_makes_no_more_retries_than_its_budget_allows(budget: object, calls: int) -> None:
    registry, made_calls = made()
    pipeline = Pipeline.model_validate(
        {
            "name": "p",
            "retry_budget": budget,
            "resources": {"api": {}},
            "steps": [{"parallel": [{"handler": "ask", "retry": {"max_attempts": 3, "delay_s": 0}}] * 5}],
        }
    )
    result = await run_plan(Prepared(make_plan(pipeline, registry=registry), Context()))
    assert len(made_calls) == calls
    said = [outcome.error.message for outcome in result.errors if outcome.error]
    assert len(said) == 5
    assert any("not tried again: the run's retry budget" in text for text in said) == (budget is not None)


def test_a_share_grows_with_the_calls() -> None:
    count = RetryCount(RetryBudget(share=0.1))
    count.calls = 1
    assert [count.spend(), count.spend()] == [True, False]
    count.calls = 11
    assert [count.spend(), count.spend()] == [True, False]


@pytest.mark.parametrize("wrong", [{}, {"max_retries": -1}, {"share": 0}, True])
def test_a_budget_that_says_nothing_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        RetryBudget.model_validate(wrong)
