"""The form of a deployment: its fields besides the pipeline's parameters, and the request that a filled form makes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import PositiveFloat

from deployments.runs import Request
from flows.loaders import LoadedPipeline
from flows.model import ForEach, InvalidParameters, Parallel, Pipeline, Policy, Sequential, Step, Switch
from flows.planning import Limit
from flows.translator import INDEX, MAX_CONCURRENCY, Control

POLICY = Control(
    "policy",
    Literal["all_or_nothing", "fail_fast", "best_effort"] | None,
    "How parallel groups without a policy of their own treat a failed branch: the group fails when all branches have "
    "ended (all_or_nothing, the default), at once (fail_fast), or goes on with those that succeeded (best_effort).",
)
DRY_RUN = Control(
    "dry_run",
    bool,
    "Only write the plan as an artifact: the steps that would run, and every limit.",
    False,
    title="Plan only",
)
RESUME_FROM = Control(
    "resume_from",
    str | None,
    "The id of an earlier run of this pipeline, as `braid runs` shows it: steps that succeeded there are not "
    "run again. Parameters that are left at their defaults are taken from that run.",
    title="Resume a run",
)
RESUME_ANYWAY = Control(
    "resume_anyway", bool, "With resume_from or a retry: run finished steps again that no longer fit.", False
)  # not `force`, which pipelines use for their own purposes
_BUDGET = "budget_"
_UNITS = {
    "usd": "The most that the run may cost, in US dollars.",
    "tokens": "The most tokens of language models that the run may use.",
    "seconds": "The most seconds of work that the run may take.",
}
BUDGETS = tuple(
    Control(
        _BUDGET + unit,
        PositiveFloat | None,
        f"{text} When it is used up, no further step starts.",
        title=f"Budget: {'US dollars' if unit == 'usd' else unit}",
    )
    for unit, text in _UNITS.items()
)


@dataclass(frozen=True)
class FilledForm:
    """The request that a form makes, and the fields that control how the flow run executes it."""

    request: Request
    dry_run: bool
    resume_from: str | None


def controls_of(pipeline: Pipeline) -> tuple[Control, ...]:
    """The fields of the form besides the pipeline's parameters; without `policy` if every group declares one."""
    policy = (POLICY,) if any(_lacks_policy(step) for step in pipeline.steps) else ()
    return (INDEX, MAX_CONCURRENCY, *policy, DRY_RUN, RESUME_FROM, RESUME_ANYWAY, *BUDGETS)


def form_values(request: Request) -> dict[str, Any]:
    """The form values for a request; values that the request does not set are left out.

    Raises:
        InvalidParameters: the budget has a unit that the form does not have.
    """
    unknown = [unit for unit in request.budget if unit not in _UNITS]
    if unknown:
        raise InvalidParameters(
            f"the budget of a deployed run cannot be in {', '.join(unknown)}, only in {', '.join(_UNITS)}"
        )
    ceiling = {} if request.ceiling is None else {MAX_CONCURRENCY.name: request.ceiling.value}
    budget = {f"{_BUDGET}{unit}": amount for unit, amount in request.budget.items()}
    return {INDEX.name: request.index, **ceiling, **budget, **request.parameters}


def read_form(loaded: LoadedPipeline, given: Mapping[str, Any]) -> FilledForm:
    """The form with the values `given`; missing controls get their defaults.

    If the pipeline declares a parameter with the name of a control, the value belongs to the parameter.
    """
    declared = loaded.pipeline.parameters
    controls: dict[str, Any] = {
        control.name: given.get(control.name, control.default)
        for control in controls_of(loaded.pipeline)
        if control.name not in declared
    }
    budget = {unit: controls.get(_BUDGET + unit) for unit in _UNITS}
    ceiling, policy = controls.get(MAX_CONCURRENCY.name), controls.get(POLICY.name)
    request = Request(
        loaded,
        {name: value for name, value in given.items() if name in declared},
        index=controls.get(INDEX.name) or INDEX.default,
        ceiling=Limit(ceiling, "max_concurrency of the run") if ceiling is not None else None,
        budget={unit: amount for unit, amount in budget.items() if amount},
        policy=Policy.model_validate(policy) if policy is not None else None,
        force=bool(controls.get(RESUME_ANYWAY.name)),
    )
    return FilledForm(request, bool(controls.get(DRY_RUN.name)), controls.get(RESUME_FROM.name))


def _lacks_policy(step: Step) -> bool:
    match step:
        case Parallel():
            return "policy" not in step.model_fields_set or any(map(_lacks_policy, step.branches))
        case ForEach() | Sequential():
            return any(map(_lacks_policy, step.steps))
        case Switch(cases=cases, default=default):
            return any(map(_lacks_policy, [*default, *(step for case in cases for step in case.steps)]))
        case _:
            return False
