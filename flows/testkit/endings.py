"""How a step ended and what it wrote, for the reference computation in `values.py`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flows.author import BranchResult, DeferredCombination, Outcome, Status, merge_results
from flows.errors import OrchestrationError
from flows.model import Merge, evaluate_condition
from flows.planning import Leaf
from flows.testkit.evidence import FINE
from flows.testkit.weaving import Fields, Unsure


@dataclass(frozen=True)
class End:
    """How a step ended, for the enclosing group or list."""

    status: Status
    value: Any = None
    error: str | None = None

    @property
    def ok(self) -> bool:
        return self.status in FINE


def recorded_end(outcome: Outcome | None, value: Any = None) -> End:
    if outcome is None:
        return End("cancelled")
    error = outcome.error.message if outcome.error is not None else outcome.reason or None
    return End(outcome.status, value, None if outcome.status in FINE else error)


def end_text(failed: bool) -> str:
    return "failed" if failed else "succeeded"


def holds(condition: str, fields: Fields) -> bool | None:
    """Whether a condition holds; None if it cannot be evaluated."""
    try:
        return evaluate_condition(condition, fields)
    except OrchestrationError:
        return None


def strategy_result(merge: Merge, results: Sequence[BranchResult]) -> tuple[Any, bool]:
    """The result of a strategy, and whether it has one."""
    if merge.strategy == "best_quality":
        raise Unsure("the quality of results is not traced")
    try:
        found = merge_results(merge.strategy, results, merge.options)
    except OrchestrationError:
        return None, False
    if isinstance(found, DeferredCombination):
        raise Unsure("it is combined with services")
    return found, True


def written(leaf: Leaf, value: Any) -> Fields:
    if len(leaf.writes) != 1:
        return {leaf.writes[name]: output for name, output in dict(value or {}).items() if name in leaf.writes}
    (target,) = leaf.writes.values()
    return {} if value is None and leaf.spec.optional_write else {target: value}
