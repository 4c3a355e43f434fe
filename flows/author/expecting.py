"""Functions that say whether a step has given what is expected of it, for the key `expect` of a step."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

Check: TypeAlias = Callable[[Mapping[str, Any]], "str | bool | None"]
Function = TypeVar("Function", bound=Check)

EXPECTATIONS: dict[str, Check] = {}


def expectation(function: Function) -> Function:
    """Register a function by its name, for `expect: {check: NAME}`.

    It gets the fields that the step writes, and returns why they are not as expected: a text, or False. An empty text,
    True and None mean that all is well.
    """
    EXPECTATIONS[function.__name__] = function
    return function
