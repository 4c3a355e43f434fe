"""`transform`, which calls a registered function, and `merge`, which combines fields by a merge strategy."""

from collections.abc import Mapping
from typing import Any

from flows.author import MERGE_STRATEGIES, BranchResult, Call, ReadParameter, StepDeclaration, handler, merge_results
from flows.errors import FatalError, UnknownName
from flows.state import Context
from handlers.data.functions import (
    bind_inputs,
    call_named_function,
    function_named,
    named_inputs,
    output_names,
    pick_outputs,
    read_inputs,
)
from handlers.data.references import resolve


def declare_transform(options: Mapping[str, Any]) -> StepDeclaration:
    """The step reads the inputs and writes the outputs; the function must be registered and accept these inputs."""
    name = options.get("function")
    if isinstance(name, str):
        bind_inputs(name, function_named(name), options.get("inputs"), options.get("params") or {})
    reads = tuple(
        ReadParameter(field, True, Any) for field in dict.fromkeys(named_inputs(options.get("inputs")).values())
    )
    return StepDeclaration(reads, output_names(options.get("output")))


@handler(name="transform", declares=declare_transform)
def transform_fields(
    context: Context,
    *,
    function: str,
    output: str | list[str],
    inputs: list[str] | dict[str, str] | None = None,
    params: dict[str, Any] | None = None,
    call: Call,
) -> dict[str, Any]:
    """The result of a registered function; several outputs take a mapping's keys or a list's items.

    `inputs` go to the parameters of the same names, else by position; a mapping goes from parameter to field.
    """
    values = {name: resolve(value, call) for name, value in read_inputs(context, inputs, step=call.step_id).items()}
    result = call_named_function(function, values, inputs, params or {})
    return pick_outputs(result, output, step=f"function {function!r}")


def declare_merge(options: Mapping[str, Any]) -> StepDeclaration:
    """The step reads the inputs and writes `output`."""
    inputs = options.get("inputs")
    fields = list(named_inputs(inputs).values())
    if inputs is not None and len(fields) < 2:
        raise FatalError("'merge' requires at least 2 inputs")
    strategy = options.get("strategy", "by_name")
    if strategy not in MERGE_STRATEGIES:
        raise UnknownName("merge strategy", str(strategy), MERGE_STRATEGIES)
    return StepDeclaration(
        tuple(ReadParameter(field, True, Any) for field in fields), output_names(options.get("output", "merged"))
    )


@handler(name="merge", declares=declare_merge)
def merge_fields(
    context: Context,
    *,
    inputs: list[str] | dict[str, str],
    output: str = "merged",
    strategy: str = "by_name",
    params: dict[str, Any] | None = None,
    call: Call,
) -> dict[str, Any]:
    """Several fields combined by a merge strategy; the default `by_name` is a mapping from each field's name to its
    value.
    """
    values = read_inputs(context, inputs, step=call.step_id)
    results = [BranchResult(name, True, resolve(value, call)) for name, value in values.items()]
    return {output: merge_results(strategy, results, params or {})}
