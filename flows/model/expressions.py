"""Conditions and templates of pipelines: jinja2 in a sandbox, where a missing name is an error and never empty."""

import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, cast

from flows.errors import FatalError, suggest

_WHOLE = re.compile(r"\s*\{\{(?P<expression>(?:(?!\}\}).)*)\}\}\s*", re.DOTALL)
_MOST_RESULT = 100_000
# Attributes and filters that pad to a width of the author's choosing.
_PADDING = frozenset(
    {"batch", "center", "expandtabs", "format", "format_map", "indent", "ljust", "rjust", "slice", "zfill"}
)
_GLOBALS = frozenset({"range", "dict"})


class BadExpression(FatalError, ValueError):
    """A condition or template that cannot be evaluated; the message names it and what is missing."""


@cache
def _environment() -> Any:
    from jinja2 import StrictUndefined
    from jinja2.exceptions import SecurityError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Bounded(ImmutableSandboxedEnvironment):
        """No way to code, no change of what it is given, and nothing that fills the memory from a few letters."""

        intercepted_binops = frozenset({"*", "**", "%"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if _result_size(operator, left, right) > _MOST_RESULT:
                raise SecurityError(f"the result of {operator!r} is too large")
            return super().call_binop(context, operator, left, right)

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            return attr not in _PADDING and super().is_safe_attribute(obj, attr, value)

        def wrap_str_format(self, value: Any) -> Any:
            if super().wrap_str_format(value) is not None:
                raise SecurityError("str.format is not available; join texts with ~")
            return None

    environment: Any = Bounded(undefined=StrictUndefined, autoescape=False)
    environment.globals = {"range": environment.globals["range"], "dict": dict}
    environment.filters = {name: call for name, call in environment.filters.items() if name not in _PADDING}
    return environment


def _result_size(operator: str, left: Any, right: Any) -> int:
    """About how many letters, items or bits come out of an operation; 0 where it is not more than what went in."""
    numbers = isinstance(left, int) and isinstance(right, int)
    if operator == "**":
        return abs(left).bit_length() * max(right, 0) if numbers else 0
    if operator == "%":  # `"%9999999d" % 1`
        widths = re.findall(r"\d{1,18}", left.replace("*", "999999")) if isinstance(left, str) else []
        return max(map(int, widths), default=0)
    if numbers:
        return left.bit_length() + right.bit_length()
    times, repeated = (left, right) if isinstance(left, int) else (right, left)
    return times * len(cast("Any", repeated)) if isinstance(times, int) and hasattr(repeated, "__len__") else 0


def check_expression(text: str) -> str | None:
    """What is wrong with the syntax of a condition or template; None if nothing is."""
    from jinja2 import TemplateSyntaxError

    try:
        if "{{" in text or "{%" in text:
            _environment().parse(text)
        else:
            _environment().parse("{{ " + text + " }}")
    except TemplateSyntaxError as error:
        return f"{text!r} is not an expression: {error.message}"
    return None


def condition_names(text: str) -> frozenset[str]:
    """The fields that a condition reads; none if its syntax is wrong."""
    return _names("{{ " + text + " }}")


def template_names(value: Any) -> frozenset[str]:
    """The fields that the templates in a value read, however deep they stand; text without `{{` is no template."""
    if isinstance(value, str):
        return _names(value) if "{{" in value else frozenset()
    if isinstance(value, Mapping):
        return frozenset[str]().union(*map(template_names, cast("Mapping[Any, Any]", value).values()))
    if isinstance(value, (list, tuple)):
        return frozenset[str]().union(*map(template_names, cast("Sequence[Any]", value)))
    return frozenset()


@lru_cache(maxsize=1024)
def _names(template: str) -> frozenset[str]:
    from jinja2 import TemplateSyntaxError
    from jinja2.meta import find_undeclared_variables

    try:
        return frozenset(find_undeclared_variables(_environment().parse(template))) - _GLOBALS
    except TemplateSyntaxError:
        return frozenset()


def evaluate_condition(text: str, fields: Mapping[str, Any]) -> bool:
    """Whether a condition holds.

    Raises:
        BadExpression: it cannot be evaluated; a field that is not there counts as that, use `is defined` to ask.
    """
    return bool(_evaluate(text, fields))


def render(value: Any, fields: Mapping[str, Any]) -> Any:
    """`value` with its templates filled in: `"{{ x }}"` alone gives the field itself, within other text its text.

    Raises:
        BadExpression: a template cannot be evaluated.
    """
    if isinstance(value, str):
        if "{{" not in value and "{%" not in value:
            return value
        whole = _WHOLE.fullmatch(value)
        return _evaluate(whole["expression"], fields) if whole else _rendered(value, fields)
    if isinstance(value, Mapping):
        return {key: render(item, fields) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list):
        return [render(item, fields) for item in cast("list[Any]", value)]
    if isinstance(value, tuple):
        return tuple(render(item, fields) for item in cast("tuple[Any, ...]", value))
    return value


def _evaluate(expression: str, fields: Mapping[str, Any]) -> Any:
    try:
        value = _compiled(expression)(**_used(_names("{{ " + expression + " }}"), fields))
        if type(value).__name__ == "StrictUndefined":
            str(value)  # raises, with what is not defined
    except Exception as error:
        raise _bad(expression.strip(), fields, error) from error
    return value


@lru_cache(maxsize=1024)
def _compiled(expression: str) -> Any:
    # Undefined names stay undefined here instead of becoming None, so that using one is an error.
    return _environment().compile_expression(expression, undefined_to_none=False)


def _rendered(template: str, fields: Mapping[str, Any]) -> str:
    try:
        return _environment().from_string(template).render(**_used(_names(template), fields))
    except Exception as error:
        raise _bad(template, fields, error) from error


def _used(names: frozenset[str], fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: fields[name] for name in sorted(names) if name in fields}


def _bad(text: str, fields: Mapping[str, Any], error: Exception) -> BadExpression:
    names = _names(text if "{{" in text else "{{ " + text + " }}")
    missing = sorted(name for name in names if name not in fields)
    if missing:
        return BadExpression(f"{text!r}: no field named {missing[0]!r}{suggest(missing[0], sorted(map(str, fields)))}")
    return BadExpression(f"{text!r} cannot be evaluated: {error}")
