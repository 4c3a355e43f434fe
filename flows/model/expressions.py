"""Conditions and templates of pipelines: jinja2 in a sandbox, in which a missing name is an error, never empty."""

import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

from flows.errors import FatalError, message_of, suggest
from flows.model.evaluation import BUDGET, Budget
from flows.model.sandbox import GLOBALS, check_tree, sandbox

_ONE_EXPRESSION = re.compile(r"\s*\{\{(?P<expression>(?:(?!\}\}).)*)\}\}\s*", re.DOTALL)
MOST_LETTERS_OF_A_CONDITION = 10_000
_MOST_LETTERS_OF_A_TEMPLATE = 1_000_000
_SHOWN = 200


class BadExpression(FatalError, ValueError):
    """A condition or template that cannot be evaluated; the message quotes it and has the reason."""


def check_expression(text: str) -> str | None:
    """The syntax error in a condition or template; None if there is none."""
    is_template = "{{" in text or "{%" in text
    try:
        _names_in(_parse(text if is_template else "{{ " + text + " }}", condition=not is_template))
    except BadSyntax as error:
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
        return f"{shown!r} is not an expression: {error}"
    return None


class BadSyntax(Exception):
    """A text that is no condition or template."""


def _parse(text: str, *, condition: bool = False) -> Any:
    """The syntax tree of a template.

    Raises:
        BadSyntax: it is none, or is too long, too deep or has too many parts.
    """
    from jinja2 import TemplateSyntaxError

    most = MOST_LETTERS_OF_A_CONDITION if condition else _MOST_LETTERS_OF_A_TEMPLATE
    if len(text) > most:
        raise BadSyntax(f"it has more than {most} letters")
    try:
        return check_tree(sandbox().parse(text))
    except TemplateSyntaxError as error:
        raise BadSyntax(error.message or "syntax error") from error
    except (RecursionError, MemoryError):
        raise BadSyntax("it is nested too deeply") from None
    except (ValueError, OverflowError) as error:  # numbers of thousands of digits
        raise BadSyntax(str(error).partition(";")[0]) from error


def condition_names(text: str) -> frozenset[str]:
    """The fields that a condition reads; empty if its syntax is wrong."""
    return _field_names("{{ " + text + " }}")


def template_names(value: Any) -> frozenset[str]:
    """The fields that the templates in a value read, at any depth; a text without `{{` is not a template."""
    if isinstance(value, str):
        return _field_names(value) if "{{" in value else frozenset()
    if isinstance(value, Mapping):
        return frozenset[str]().union(*map(template_names, cast("Mapping[Any, Any]", value).values()))
    if isinstance(value, (list, tuple)):
        return frozenset[str]().union(*map(template_names, cast("Sequence[Any]", value)))
    return frozenset()


@lru_cache(maxsize=1024)
def required_names(template: str) -> frozenset[str]:
    """The fields that a template requires: those that it reads without `is defined` or `default`."""
    if "{" not in template:
        return frozenset()  # without importing jinja2, which takes 20 ms
    from jinja2 import nodes

    try:
        tree = _parse(template)
        names = _names_in(tree)
    except BadSyntax:
        return frozenset()
    guards = [test.node for test in tree.find_all(nodes.Test) if test.name in ("defined", "undefined", "none")]
    guards += [each.node for each in tree.find_all(nodes.Filter) if each.name in ("default", "d")]
    return names - {name for guard in guards if guard is not None for name in _names_below(guard)}


def _names_below(node: Any) -> list[str]:
    from jinja2 import nodes

    return [node.name] if isinstance(node, nodes.Name) else [each.name for each in node.find_all(nodes.Name)]


def _names_in(tree: Any) -> frozenset[str]:
    """The undeclared names in a syntax tree.

    Raises:
        BadSyntax: it uses an unknown filter or test, or is nested too deeply.
    """
    from jinja2 import TemplateSyntaxError
    from jinja2.meta import find_undeclared_variables

    try:
        return frozenset(find_undeclared_variables(tree)) - frozenset(GLOBALS)
    except TemplateSyntaxError as error:
        raise BadSyntax(error.message or "syntax error") from error
    except (RecursionError, MemoryError):
        raise BadSyntax("it is nested too deeply") from None


@lru_cache(maxsize=1024)
def _field_names(template: str) -> frozenset[str]:
    try:
        return _names_in(_parse(template))
    except BadSyntax:
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
    given = BUDGET.set(Budget())
    try:
        value = _compile(expression)(**_select(fields, _field_names("{{ " + expression + " }}")))
        if type(value).__name__ == "StrictUndefined":
            str(value)  # raises an error that names the undefined field
        return list(cast("Iterable[Any]", value)) if isinstance(value, Generator) else value
    except Exception as error:
        raise _bad_expression(expression.strip(), fields, error) from error
    finally:
        BUDGET.reset(given)


@lru_cache(maxsize=1024)
def _compile(expression: str) -> Any:
    _parse("{{ " + expression + " }}", condition=True)
    # Undefined names stay undefined instead of becoming None, so that using one is an error.
    return sandbox().compile_expression(expression, undefined_to_none=False)


@lru_cache(maxsize=256)
def _template(text: str) -> Any:
    _parse(text)
    return sandbox().from_string(text)


def _render_text(template: str, fields: Mapping[str, Any]) -> str:
    given = BUDGET.set(Budget())
    try:
        return _template(template).render(**_select(fields, _field_names(template)))
    except Exception as error:
        raise _bad_expression(template, fields, error) from error
    finally:
        BUDGET.reset(given)


def _select(fields: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: fields[name] for name in sorted(names) if name in fields}


def _bad_expression(text: str, fields: Mapping[str, Any], error: Exception) -> BadExpression:
    names = _field_names(text if "{{" in text else "{{ " + text + " }}")
    missing = sorted(name for name in names if name not in fields)
    if missing:
        return BadExpression(f"{text!r}: no field named {missing[0]!r}{suggest(missing[0], sorted(map(str, fields)))}")
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return BadExpression(f"{shown!r} cannot be evaluated: {message_of(error)}")
