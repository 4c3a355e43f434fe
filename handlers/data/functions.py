"""Functions by name: `@transform` registers one, and a step of a pipeline calls it with fields as its arguments."""

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from flows.author import REGISTRY
from flows.errors import DuplicateName, FatalError, MissingRead, suggest
from flows.state import Context

Function = TypeVar("Function", bound=Callable[..., Any])
FUNCTIONS: dict[str, Callable[..., Any]] = {}


def transform(function: Callable[..., Any] | None = None, /, *, name: str | None = None) -> Any:
    """Make a function callable by `transform` steps and action skills; its parameters are the step's `inputs`.

    Raises:
        DuplicateName: another function has the name.
    """

    def register(function: Function) -> Function:
        chosen = name or function.__name__
        known = FUNCTIONS.get(chosen)
        if known is not None and _origin(known) != _origin(function):
            raise DuplicateName(
                f"two transform functions are named {chosen!r}: {_origin(known)} and "
                f"{_origin(function)}; give one another name with @transform(name=…)"
            )
        FUNCTIONS[chosen] = function
        return function

    return register(function) if function is not None else register


def _origin(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def function_named(name: str) -> Callable[..., Any]:
    """The function: one of `@transform`, else a handler that takes plain values.

    Raises:
        FatalError: there is none of that name.
    """
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    spec = REGISTRY.find(name)
    if spec is not None and not spec.takes_context and spec.call_parameter is None:
        return spec.function
    raise FatalError(f"Transform function '{name}' not found in registry{suggest(name, sorted(FUNCTIONS))}")


def named_inputs(inputs: Any) -> dict[str, str]:
    """Parameter: field, from a list of fields or a mapping."""
    if isinstance(inputs, Mapping):
        return {str(name): str(field) for name, field in cast("Mapping[Any, Any]", inputs).items()}
    return {str(field): str(field) for field in cast("Sequence[Any]", inputs or ())}


def bind_inputs(name: str, function: Callable[..., Any], inputs: Any, params: Mapping[str, Any]) -> bool:
    """Whether `inputs` are passed by name; a list with names that the function does not have is passed by position.

    Raises:
        FatalError: the function cannot be called with these inputs; the message has its signature.
    """
    names, signature = named_inputs(inputs), inspect.signature(function)
    takes_any = any(one.kind is one.VAR_KEYWORD for one in signature.parameters.values())
    known = [field for field in names if takes_any or field in signature.parameters]
    by_name = bool(known) or isinstance(inputs, Mapping)
    try:
        if by_name:
            signature.bind(**dict.fromkeys(names), **params)
        else:
            signature.bind(*names, **params)
    except TypeError as error:
        given = ", ".join([*names, *params])
        raise FatalError(
            f"{name}{signature} cannot be called with {given or 'nothing'}: {error}; `inputs` may be a "
            "mapping from parameter to field"
        ) from error
    return by_name


def call_named_function(name: str, values: Mapping[str, Any], inputs: Any, params: Mapping[str, Any]) -> Any:
    """The function's result for these values; an `async def` runs to its end in its own event loop."""
    function = function_named(name)
    if bind_inputs(name, function, inputs, params):
        result = function(**values, **params)
    else:
        result = function(*values.values(), **params)
    return asyncio.run(_awaited(result)) if inspect.isawaitable(result) else result


async def _awaited(result: Any) -> Any:
    return await result


def read_inputs(context: Context, inputs: Any, *, step: str) -> dict[str, Any]:
    """The values of a step's inputs by parameter.

    Raises:
        MissingRead: one of them was never written; None is never passed instead.
    """
    names = named_inputs(inputs)
    for field in names.values():
        if field not in context.data:
            known = ", ".join(sorted(set(names.values()) & set(context.data))) or "none of its inputs"
            raise MissingRead(f"{step} reads the field {field!r}, which no step has written; available fields: {known}")
    return {parameter: context.data[field] for parameter, field in names.items()}


def output_names(output: Any) -> tuple[str, ...]:
    """The fields that a step's `output` names, one or several.

    Raises:
        FatalError: a name comes twice, or is empty.
    """
    if output is None:
        return ()
    names = (output,) if isinstance(output, str) else tuple(str(name) for name in cast("Sequence[Any]", output))
    double = sorted({name for name in names if names.count(name) > 1})
    if double or not all(names):
        raise FatalError(
            f"`output` names {double[0] if double else ''!r} twice; each output needs a name of its own"
            if double
            else "`output` has an empty name"
        )
    return names


def pick_outputs(result: Any, output: str | Sequence[str], *, step: str) -> dict[str, Any]:
    """The result by output name: one name gets the whole result, several names get a mapping's keys or a list's items.

    Raises:
        FatalError: keys are missing, the lengths differ, or the result is neither a mapping nor a list.
    """
    names = output_names(output)
    if isinstance(output, str):
        return {output: result}
    if isinstance(result, Mapping):
        pairs = cast("Mapping[str, Any]", result)
        missing = [name for name in names if name not in pairs]
        if missing:
            raise FatalError(
                f"{step}: the result lacks the outputs {', '.join(missing)}; "
                f"it has: {', '.join(map(str, pairs)) or 'nothing'}"
            )
        return {name: pairs[name] for name in names}
    if isinstance(result, (list, tuple)):
        items = cast("Sequence[Any]", result)
        if len(items) != len(names):
            raise FatalError(f"{step}: the result has {len(items)} items for {len(names)} outputs ({', '.join(names)})")
        return dict(zip(names, items, strict=True))
    kind = type(result).__name__
    raise FatalError(f"{step}: several outputs need a mapping, list or tuple; the result is a {kind}")
