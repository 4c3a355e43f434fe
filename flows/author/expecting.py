"""Functions that check the results of a step, for the key `expect`."""

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
