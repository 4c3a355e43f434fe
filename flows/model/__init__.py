"""What a pipeline says: steps, policies, declared limits, expressions, and how two pipelines differ."""

from flows.model.arguments import INDEX, InvalidParameters, check_parameters, declares_index, index_of
from flows.model.differences import pipeline_differences
from flows.model.expressions import check_expression, condition_names, evaluate_condition, render, template_names
from flows.model.limits import (
    Breaker,
    EffectiveResource,
    Resource,
    RetryBudget,
    effective_resource,
    tightest,
)
from flows.model.lint import remarks
from flows.model.outputs import Output
from flows.model.parameters import LEFT_OUT, Parameter, convert, without_secrets
from flows.model.policies import PRESETS, FrozenModel, Merge, MinRatio, MinSuccess, Policy, Retry, Split, Tolerance
from flows.model.shares import share_of
from flows.model.short_forms import KIND_BY_KEY, NESTING_KEYS, snake_case, telling_key
from flows.model.step_path import ITEM, StepPath
from flows.model.steps import (
    MAX_CONCURRENCY_NAMES,
    NAME_PATTERN,
    Case,
    ForEach,
    Handler,
    MergeResults,
    Parallel,
    Pipeline,
    Sequential,
    Step,
    StepFields,
    StepLike,
    SubPipeline,
    Switch,
    handler_name,
    handler_names,
    name_in,
)

__all__ = [
    "INDEX",
    "ITEM",
    "KIND_BY_KEY",
    "LEFT_OUT",
    "MAX_CONCURRENCY_NAMES",
    "NAME_PATTERN",
    "NESTING_KEYS",
    "PRESETS",
    "Breaker",
    "Case",
    "EffectiveResource",
    "ForEach",
    "FrozenModel",
    "Handler",
    "InvalidParameters",
    "Merge",
    "MergeResults",
    "MinRatio",
    "MinSuccess",
    "Output",
    "Parallel",
    "Parameter",
    "Pipeline",
    "Policy",
    "Resource",
    "Retry",
    "RetryBudget",
    "Sequential",
    "Split",
    "Step",
    "StepFields",
    "StepLike",
    "StepPath",
    "SubPipeline",
    "Switch",
    "Tolerance",
    "check_expression",
    "check_parameters",
    "condition_names",
    "convert",
    "declares_index",
    "effective_resource",
    "evaluate_condition",
    "handler_name",
    "handler_names",
    "index_of",
    "name_in",
    "pipeline_differences",
    "remarks",
    "render",
    "share_of",
    "snake_case",
    "telling_key",
    "template_names",
    "tightest",
    "without_secrets",
]
