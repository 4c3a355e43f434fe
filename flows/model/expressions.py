"""Conditions and templates of pipelines: jinja2 in a sandbox, in which a missing name is an error, never empty."""

import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, cast

from flows.errors import FatalError, message_of, suggest

_ONE_EXPRESSION = re.compile(r"\s*\{\{(?P<expression>(?:(?!\}\}).)*)\}\}\s*", re.DOTALL)
_MAX_RESULT_SIZE = 100_000
# Attributes and filters that pad to any width that the author chooses.
_PADDING = frozenset(
    {"batch", "center", "expandtabs", "format", "format_map", "indent", "ljust", "rjust", "slice", "zfill"}
)
_GLOBALS = frozenset({"range", "dict"})


class BadExpression(FatalError, ValueError):
    """A condition or template that cannot be evaluated; the message quotes it and says why."""


@cache
def _environment() -> Any:
    from jinja2 import StrictUndefined
    from jinja2.exceptions import SecurityError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class BoundedEnvironment(ImmutableSandboxedEnvironment):
        """A sandbox without access to code, that changes no value and cannot fill the memory from a short template."""

        intercepted_binops = frozenset({"*", "**", "%"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if _result_size(operator, left, right) > _MAX_RESULT_SIZE:
                raise SecurityError(f"the result of {operator!r} is too large")
            return super().call_binop(context, operator, left, right)

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            return attr not in _PADDING and super().is_safe_attribute(obj, attr, value)

        def wrap_str_format(self, value: Any) -> Any:
            if super().wrap_str_format(value) is not None:
                raise SecurityError("str.format is not available; join texts with ~")
            return None

    environment: Any = BoundedEnvironment(undefined=StrictUndefined, autoescape=False)
    environment.globals = {"range": environment.globals["range"], "dict": dict}
    environment.filters = {name: call for name, call in environment.filters.items() if name not in _PADDING}
    return environment


def _result_size(operator: str, left: Any, right: Any) -> int:
    """Roughly how many letters, items or bits an operation returns; 0 if its result is no larger than its operands."""
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
    """The syntax error in a condition or template; None if there is none."""
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
    """The fields that a condition reads; empty if its syntax is wrong."""
    return _field_names("{{ " + text + " }}")


def template_names(value: Any) -> frozenset[str]:
    """The fields that the templates in a value read, at any depth; text without `{{` is no template."""
    if isinstance(value, str):
        return _field_names(value) if "{{" in value else frozenset()
    if isinstance(value, Mapping):
        return frozenset[str]().union(*map(template_names, cast("Mapping[Any, Any]", value).values()))
    if isinstance(value, (list, tuple)):
        return frozenset[str]().union(*map(template_names, cast("Sequence[Any]", value)))
    return frozenset()


@lru_cache(maxsize=1024)
def required_names(template: str) -> frozenset[str]:
    """The fields that a template cannot do without: those for which it asks neither `is defined` nor a `default`."""
    from jinja2 import TemplateSyntaxError, nodes

    try:
        tree = _environment().parse(template)
    except TemplateSyntaxError:
        return frozenset()
    guards = [test.node for test in tree.find_all(nodes.Test) if test.name in ("defined", "undefined", "none")]
    guards += [each.node for each in tree.find_all(nodes.Filter) if each.name in ("default", "d")]
    guarded = {name.name for guard in guards if guard is not None for name in _names_in(guard)}
    return _field_names(template) - guarded


def _names_in(node: Any) -> list[Any]:
    from jinja2 import nodes

    return [node] if isinstance(node, nodes.Name) else list(node.find_all(nodes.Name))


@lru_cache(maxsize=1024)
def _field_names(template: str) -> frozenset[str]:
    from jinja2 import TemplateSyntaxError
    from jinja2.meta import find_undeclared_variables

    try:
        return frozenset(find_undeclared_variables(_environment().parse(template))) - _GLOBALS
    except TemplateSyntaxError:
        return frozenset()


def evaluate_condition(text: str, fields: Mapping[str, Any]) -> bool:
    """Whether a condition holds.

    Raises:
        BadExpression: it cannot be evaluated, for example because a field is missing; `is defined` checks for a field.
    """
    value = _evaluate(text, fields)
    try:
        return bool(value)
    except Exception as error:  # an array of several numbers, for example, is neither true nor false
        raise BadExpression(
            f"{text.strip()!r} is neither true nor false, but a {type(value).__name__}: {message_of(error)}"
        ) from error


def render(value: Any, fields: Mapping[str, Any]) -> Any:
    """`value` with its templates rendered: a text that is one expression becomes its value, any other one a text.

    Raises:
        BadExpression: a template cannot be evaluated.
    """
    if isinstance(value, str):
        if "{{" not in value and "{%" not in value:
            return value
        one = _ONE_EXPRESSION.fullmatch(value)
        return _evaluate(one["expression"], fields) if one else _render_text(value, fields)
    if isinstance(value, Mapping):
        return {key: render(item, fields) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list):
        return [render(item, fields) for item in cast("list[Any]", value)]
    if isinstance(value, tuple):
        return tuple(render(item, fields) for item in cast("tuple[Any, ...]", value))
    return value


def _evaluate(expression: str, fields: Mapping[str, Any]) -> Any:
    try:
        value = _compile(expression)(**_select(fields, _field_names("{{ " + expression + " }}")))
        if type(value).__name__ == "StrictUndefined":
            str(value)  # raises an error that names the undefined field
    except Exception as error:
        raise _bad_expression(expression.strip(), fields, error) from error
    return value


@lru_cache(maxsize=1024)
def _compile(expression: str) -> Any:
    # Undefined names stay undefined instead of becoming None, so that using one is an error.
    return _environment().compile_expression(expression, undefined_to_none=False)


def _render_text(template: str, fields: Mapping[str, Any]) -> str:
    try:
        return _environment().from_string(template).render(**_select(fields, _field_names(template)))
    except Exception as error:
        raise _bad_expression(template, fields, error) from error


def _select(fields: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: fields[name] for name in sorted(names) if name in fields}


def _bad_expression(text: str, fields: Mapping[str, Any], error: Exception) -> BadExpression:
    names = _field_names(text if "{{" in text else "{{ " + text + " }}")
    missing = sorted(name for name in names if name not in fields)
    if missing:
        return BadExpression(f"{text!r}: no field named {missing[0]!r}{suggest(missing[0], sorted(map(str, fields)))}")
    return BadExpression(f"{text!r} cannot be evaluated: {error}")
