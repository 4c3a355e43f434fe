"""Attempts: which failures are retried, the effects of a failed attempt, and costs."""

from collections.abc import Callable
from typing import Any

import pytest

from flows.author import Call, FatalFailure, Registry, Success, TransientFailure, handler
from flows.errors import FatalError, TransientError
from flows.state import Context
from tests.support.engine_runs import run


@pytest.mark.parametrize(
    ("answer", "attempts", "status"),
    [
        (lambda: (_ for _ in ()).throw(TransientError("t", retry_after_s=0)), 3, "failed"),
        (lambda: (_ for _ in ()).throw(FatalError("f")), 1, "failed"),
        (lambda: (_ for _ in ()).throw(ConnectionResetError("c")), 3, "failed"),
        (lambda: (_ for _ in ()).throw(TimeoutError("t")), 3, "failed"),
        (lambda: (_ for _ in ()).throw(ValueError("v")), 1, "failed"),
        (lambda: TransientFailure("t", retry_after_s=0), 3, "failed"),
        (lambda: FatalFailure("f"), 1, "failed"),
        (lambda: Success(), 1, "succeeded"),
    ],
)
async def test_only_what_may_pass_by_itself_is_tried_again(
    answer: Callable[[], Any], attempts: int, status: str
) -> None:
    made = Registry()

    @handler(registry=made)
    def answering(context: Context) -> Any:
        return answer()

    result = await run([{"handler": "answering", "retry": {"max_attempts": 3, "delay_s": 0}}], made)
    assert (result.outcomes[0].attempts, result.outcomes[0].status) == (attempts, status)


async def test_an_unknown_exception_is_told_in_the_seeds_words() -> None:
    made = Registry()

    @handler(registry=made)
    def careless() -> None:
        raise KeyError("title")

    result = await run(["careless"], made)
    error = result.outcomes[0].error
    assert error is not None
    assert (error.kind, error.message) == ("KeyError", "Handler 'careless' threw exception: 'title'")


async def test_what_a_failed_attempt_wrote_is_gone() -> None:
    made = Registry()

    @handler(registry=made)
    def twice(context: Context, *, call: Call) -> None:
        context.data.setdefault("seen", []).append(call.attempt)
        if call.attempt == 1:
            raise TransientError("again", retry_after_s=0)

    result = await run([{"handler": "twice", "retry": {"max_attempts": 2}}], made)
    assert result.context.data["seen"] == [2]


async def test_the_cost_of_failed_attempts_counts() -> None:
    made = Registry()

    @handler(registry=made)
    async def paid(*, call: Call) -> None:
        call.report_cost(tokens=10)
        raise TransientError("again", retry_after_s=0)

    result = await run([{"handler": "paid", "retry": {"max_attempts": 3}}], made)
    assert result.cost == {"tokens": 30}
