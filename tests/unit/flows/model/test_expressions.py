import subprocess
import sys

import pytest

from flows.model import check_expression, condition_names, evaluate_condition, render, template_names
from flows.model.expressions import BadExpression

FIELDS = {"x": 3, "docs": [1, 2], "d": {"a": {"b": 1}}, "text": "abc"}


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("x > 2", True),
        ("x > 3", False),
        ("d.a.b == 1 and docs | length == 2", True),
        ("'b' in text", True),
        ("missing is defined", False),
        ("x * 2 == 6 and 7 % 3 == 1 and 2 ** 10 == 1024 and 2.5 * 2 == 5", True),
        ("'%s!' % x == '3!' and text * 2 == 'abcabc'", True),
        ("range(3) | list == [0, 1, 2]", True),
    ],
)
def test_conditions(condition, holds):
    assert evaluate_condition(condition, FIELDS) is holds


@pytest.mark.parametrize(
    ("value", "rendered"),
    [
        ("{{ x }}", 3),
        (" {{ docs }} ", [1, 2]),
        ("n={{ x }}", "n=3"),
        ("{{ x }}{{ x }}", "33"),
        ({"a": ["{{ d.a }}", 1, "plain"], "b": ("{{ x }}",)}, {"a": [{"b": 1}, 1, "plain"], "b": (3,)}),
        ("{{ 'a}}b' }}", "a}}b"),
        ("no { braces }", "no { braces }"),
        (None, None),
    ],
)
def test_templates(value, rendered):
    assert render(value, FIELDS) == rendered


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("dosc | length", r"'dosc \| length': no field named 'dosc'; did you mean 'docs'\?"),
        ("d.zz", "'d.zz' cannot be evaluated: 'dict object' has no attribute 'zz'"),
        ("d.a.zz == 1", "has no attribute 'zz'"),
        ("1 / 0", "division by zero"),
        ("x + text", "unsupported operand"),
    ],
)
def test_what_cannot_be_evaluated_is_named(condition, message):
    with pytest.raises(BadExpression, match=message):
        evaluate_condition(condition, FIELDS)


def test_a_template_with_a_missing_field_is_an_error_and_not_empty():
    with pytest.raises(BadExpression, match="no field named 'doc'; did you mean 'docs'"):
        render({"deep": ["a {{ doc }} b"]}, FIELDS)


@pytest.mark.parametrize(
    "escape",
    [
        "x.__class__",
        "''.__class__.__mro__",
        "x | attr('__class__')",
        "'{0.__class__}'.format(x)",
        "[].__class__.__base__.__subclasses__()",
        "self.__init__.__globals__",
        "cycler.__init__.__globals__",
        "lipsum.__globals__",
        "docs.append(3)",
        "docs.clear()",
        "d.update({'a': 1})",
    ],
)
def test_nothing_leads_out_of_the_sandbox_or_changes_a_field(escape):
    with pytest.raises(BadExpression):
        evaluate_condition(escape, FIELDS)
    assert FIELDS == {"x": 3, "docs": [1, 2], "d": {"a": {"b": 1}}, "text": "abc"}


@pytest.mark.parametrize(
    "bomb",
    [
        "range(10 ** 9) | list",
        "'a' * 10 ** 10",
        "10 ** 10 * docs",
        "10 ** (10 ** 7)",
        "'%1000000000d' % 1",
        "'%*d' % (1000000000, 1)",
        "'{:>1000000000}'.format(1)",
        "text.ljust(10 ** 9)",
        "text | center(10 ** 9)",
        "docs | batch(10 ** 9, 'x') | list",
    ],
)
@pytest.mark.timeout(5)
def test_a_few_letters_cannot_fill_the_memory(bomb):
    with pytest.raises(BadExpression):
        evaluate_condition(bomb, FIELDS)


def test_names_are_the_fields_that_are_read():
    assert condition_names("x > range(3) | length and d.a.b") == {"x", "d"}
    assert condition_names("x >") == frozenset()
    assert template_names({"a": ["{{ x.y + z }}", "plain"], "b": "{{ docs[0] }}!"}) == {"x", "z", "docs"}


def test_syntax_is_checked_without_running_anything():
    assert check_expression("x > 2") is None
    assert check_expression("a {{ x }} b") is None
    assert check_expression("x >") == "'x >' is not an expression: unexpected 'end of print statement'"
    assert "is not an expression" in (check_expression("{{ x") or "")


def test_importing_expressions_does_not_import_jinja2():
    check = "import flows.model.expressions, sys; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0
