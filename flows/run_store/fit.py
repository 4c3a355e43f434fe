"""Finds which finished calls of an earlier run a resumed run can reuse."""

from collections.abc import Sequence
from dataclasses import dataclass

from flows.errors import OrchestrationError
from flows.model import StepPath
from flows.planning import Plan, step_fingerprints
from flows.run_store.stored_calls import CallSummary
from flows.state import Context


class ChangedPipeline(OrchestrationError):
    """The pipeline has changed since the run that is to be resumed."""


@dataclass(frozen=True)
class PlanFit:
    """The finished calls that a run of a plan can reuse, and the ids of the steps whose calls it cannot reuse."""

    reusable: tuple[CallSummary, ...]
    changed: tuple[str, ...]
    """Steps that have changed."""
    gone: tuple[str, ...]
    """Steps that no longer exist."""
    after: tuple[str, ...]
    """Unchanged steps after a changed one."""

    def check(self) -> None:
        """Check that all finished calls can be reused.

        Raises:
            ChangedPipeline: some cannot; the message names their steps.
        """
        if not (self.changed or self.gone or self.after):
            return
        parts = [
            f"{reason}: {', '.join(names)}"
            for reason, names in (
                ("changed", self.changed),
                ("no longer there", self.gone),
                ("after a change", self.after),
            )
            if names
        ]
        raise ChangedPipeline(
            f"the pipeline or its parameters changed since that run; finished steps that no longer match: "
            f"{'; '.join(parts)}. {len(self.reusable)} finished calls can be reused. Go on with --force "
            "(in the form: resume_anyway), which does the named steps again, or start a new run"
        )


def measure_fit(plan: Plan, context: Context, calls: Sequence[CallSummary]) -> PlanFit:
    """Compare finished calls with the steps of a run of `plan` that starts with `context`."""
    now = step_fingerprints(plan, context.fingerprint())
    reusable: list[CallSummary] = []
    changed: dict[str, None] = {}
    gone: dict[str, None] = {}
    after: dict[str, None] = {}
    for call in calls:
        step = StepPath(call.key).step
        found = now.get(step)
        if found is None:
            gone[step] = None
        elif found.chained == call.chained_fingerprint:
            reusable.append(call)
        elif found.own != call.own_fingerprint:
            changed[step] = None
        else:
            after[step] = None
    order = {step: index for index, step in enumerate(now)}
    return PlanFit(
        tuple(reusable),
        *(tuple(sorted(names, key=lambda step: order.get(step, 0))) for names in (changed, gone, after)),
    )
