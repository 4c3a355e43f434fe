"""What a pipeline says: steps, policies, declared limits, and how two pipelines differ."""

from flows.model.differences import pipeline_differences
from flows.model.expressions import check_expression, condition_names, evaluate_condition, render, template_names
from flows.model.limits import Breaker, Resource, RetryBudget, Settled, settle, tightest
from flows.model.lint import remarks
from flows.model.policies import PRESETS, Frozen, Merge, MinRatio, MinSuccess, Policy, Retry, Split, Tolerance
from flows.model.step_path import ITEM, StepPath
from flows.model.steps import (
    KIND_BY_KEY,
    MAX_CONCURRENCY_NAMES,
    NAME_PATTERN,
    Case,
    ForEach,
    Handler,
    MergeResults,
    Parallel,
    Parameter,
    Pipeline,
    Sequential,
    Step,
    StepFields,
    SubPipeline,
    Switch,
    handler_names,
)

__all__ = [
    "ITEM",
    "KIND_BY_KEY",
    "MAX_CONCURRENCY_NAMES",
    "NAME_PATTERN",
    "PRESETS",
    "Breaker",
    "Case",
    "ForEach",
    "Frozen",
    "Handler",
    "Merge",
    "MergeResults",
    "MinRatio",
    "MinSuccess",
    "Parallel",
    "Parameter",
    "Pipeline",
    "Policy",
    "Resource",
    "Retry",
    "RetryBudget",
    "Sequential",
    "Settled",
    "Split",
    "Step",
    "StepFields",
    "StepPath",
    "SubPipeline",
    "Switch",
    "Tolerance",
    "check_expression",
    "condition_names",
    "evaluate_condition",
    "handler_names",
    "pipeline_differences",
    "remarks",
    "render",
    "settle",
    "template_names",
    "tightest",
]
