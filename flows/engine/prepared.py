"""What a run needs to start: made from its parameters in the process that runs it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from flows.engine.journal import Journal
from flows.engine.run_state import Observer
from flows.engine.stuck import Expected
from flows.limits import SharedRates
from flows.planning import Plan
from flows.state import Context


@dataclass(frozen=True)
class Prepared:
    """A plan, the context it starts with, who is told what happens, and where finished calls are kept."""

    plan: Plan
    context: Context
    observer: Observer = field(default_factory=Observer)
    spent: Mapping[str, float] = field(default_factory=dict[str, float])
    """What earlier runs that this one goes on from have used of the budget, their `seconds` included."""
    journal: Journal = field(default_factory=Journal)
    expected: Expected | None = None
    """How long steps may take before they are named as stuck."""
    rates: SharedRates | None = None
    """Who counts calls a minute for all runs, if resources of the plan are shared."""
    plan_only: bool = False
    """Whether to show the plan and do nothing."""
