"""How much of an earlier run fits a pipeline as it is now."""

from collections.abc import Sequence
from dataclasses import dataclass

from flows.errors import OrchestrationError
from flows.model import StepPath
from flows.planning import Plan, step_fingerprints
from flows.run_store.store import KeptCall
from flows.state import Context


class ChangedPipeline(OrchestrationError):
    """The pipeline is not the one whose results are to be taken over."""


@dataclass(frozen=True)
class Fit:
    """The finished calls of an earlier run, by what a run of the plan can do with them; ids of steps in order."""

    reusable: tuple[KeptCall, ...]
    changed: tuple[str, ...]
    """Steps that are defined in another way now."""
    gone: tuple[str, ...]
    """Steps that are no longer there."""
    after: tuple[str, ...]
    """Steps as they were, after something that is not."""

    def check(self) -> None:
        """Refuse results that would have to be thrown away.

        Raises:
            ChangedPipeline: names the steps whose finished work does not fit any more.
        """
        if not (self.changed or self.gone or self.after):
            return
        parts = [
            f"{what}: {', '.join(names)}"
            for what, names in (
                ("changed", self.changed),
                ("no longer there", self.gone),
                ("after a change", self.after),
            )
            if names
        ]
        raise ChangedPipeline(
            f"the pipeline or its parameters changed since that run; finished steps that do not fit any more: "
            f"{'; '.join(parts)}. {len(self.reusable)} finished calls could be taken over. Go on with --force "
            "(in the form: resume_anyway), which does the named steps again, or start a new run"
        )


def measure_fit(plan: Plan, context: Context, calls: Sequence[KeptCall]) -> Fit:
    """Compare what was kept with what a run of `plan` that starts with `context` would do."""
    now = step_fingerprints(plan, context.fingerprint())
    reusable: list[KeptCall] = []
    changed: dict[str, None] = {}
    gone: dict[str, None] = {}
    after: dict[str, None] = {}
    for call in calls:
        step = StepPath(call.key).step
        found = now.get(step)
        if found is None:
            gone[step] = None
        elif found.chained == call.definition:
            reusable.append(call)
        elif found.own != call.own:
            changed[step] = None
        else:
            after[step] = None
    order = {step: position for position, step in enumerate(now)}
    return Fit(
        tuple(reusable),
        *(tuple(sorted(names, key=lambda step: order.get(step, 0))) for names in (changed, gone, after)),
    )
