"""Groups of options: the function receives one value per group, while steps set each option separately."""

import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from typing import Any


class Options:
    """Base of frozen dataclasses that hold some of a handler's options."""


def spread(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn each field of the function's keyword-only `Options` parameters into a keyword of its own.

    So a handler with many options has few parameters, while pipelines and callers still set each option by name:

        @handler(writes="keyword_hits")
        @spread
        def keyword_search(query: str, *, top_k: int = 50, bm25: Bm25) -> list[Hit]: ...

        keyword_search("storm", top_k=5, k1=1.5)
    """
    hints = typing.get_type_hints(function, include_extras=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, type[Any]] = {}
    for parameter in inspect.signature(function).parameters.values():
        hint = hints.get(parameter.name)
        if isinstance(hint, type) and issubclass(hint, Options):
            groups[parameter.name] = hint
            types = typing.get_type_hints(hint, include_extras=True)
            for field in fields(typing.cast("Any", hint)):
                hints[field.name] = types[field.name]
                parameters.append(inspect.Parameter(field.name, parameter.KEYWORD_ONLY, default=_default(field)))
            del hints[parameter.name]
        else:
            parameters.append(parameter)

    @functools.wraps(function)
    def spreading(*arguments: Any, **options: Any) -> Any:
        for name, group in groups.items():
            given = [field.name for field in fields(group) if field.name in options]
            options[name] = group(**{each: options.pop(each) for each in given})
        return function(*arguments, **options)

    spreading.__signature__ = inspect.Signature(parameters, return_annotation=hints.get("return", Any))  # pyright: ignore[reportAttributeAccessIssue]
    spreading.__annotations__ = hints
    return spreading


def _default(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return inspect.Parameter.empty if field.default is MISSING else field.default
