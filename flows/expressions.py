"""Conditions and templates of pipelines: jinja2 in a sandbox, where a missing name is an error and never empty."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, cast

from flows.errors import FatalError, suggest

_WHOLE = re.compile(r"\s*\{\{(?P<expression>(?:(?!\}\}).)*)\}\}\s*", re.DOTALL)


class BadExpression(FatalError, ValueError):
    """A condition or template that cannot be evaluated; the message names it and what is missing."""


@cache
def _environment() -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)


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


def _names(template: str) -> frozenset[str]:
    from jinja2 import TemplateSyntaxError
    from jinja2.meta import find_undeclared_variables

    try:
        return frozenset(find_undeclared_variables(_environment().parse(template)))
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
        # Undefined names stay undefined here instead of becoming None, so that using one is an error.
        compiled = _environment().compile_expression(expression, undefined_to_none=False)
        value = compiled(**_used(_names("{{ " + expression + " }}"), fields))
    except Exception as error:
        raise _bad(expression, fields, error) from error
    if type(value).__name__ == "StrictUndefined":
        raise _bad(expression, fields, None)
    return value


def _rendered(template: str, fields: Mapping[str, Any]) -> str:
    try:
        return _environment().from_string(template).render(**_used(_names(template), fields))
    except Exception as error:
        raise _bad(template, fields, error) from error


def _used(names: frozenset[str], fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: fields[name] for name in sorted(names) if name in fields}


def _bad(text: str, fields: Mapping[str, Any], error: Exception | None) -> BadExpression:
    names = _names(text if "{{" in text else "{{ " + text + " }}")
    missing = sorted(name for name in names if name not in fields)
    if missing:
        return BadExpression(f"{text!r}: no field named {missing[0]!r}{suggest(missing[0], sorted(map(str, fields)))}")
    return BadExpression(f"{text!r} cannot be evaluated: {error}")
