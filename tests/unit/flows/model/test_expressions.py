import re
import subprocess
import sys
import tracemalloc

import numpy as np
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
        "('a' * 1000) | replace('', 'b' * 100000) | length",
        "('a' * 100000).replace('a', 'b' * 100000)",
        "('a' * 100000) | replace('a', 'b' * 100000)",
        "('a' * 100000) | replace(new='b' * 100000, old='a')",
        "range(100000) | join('b' * 100000)",
        "('b' * 100000).join(['a'] * 100000)",
        "(['a' * 100000] * 100000) | join",
        "([[[1] * 1000] * 1000] * 1000) | string",
        "[[[1] * 1000] * 1000] * 1000",
        "('a' * 9000000) ~ ('a' * 9000000)",
        "('a' * 9000000) + ('a' * 9000000)",
        "['a' * 9000000, 'a' * 9000000] | tojson",
        "x | round(10 ** 8, 'ceil')",
        "(1).to_bytes(10 ** 9, 'big')",
        "text.translate({97: 'b' * 10 ** 7})",
        "[1] | tojson(indent=10 ** 8)",
        "array.repeat(10 ** 9)",
        "array.tofile('/tmp/braid-array')",
        "array.reshape(1000, 1) * array",
        "range(100000) | map('replace', '', 'b' * 100000) | list",
        "'%9999999d%9999999d' % (1, 1)",
        "b.join([b] * 100000)",
    ],
)
@pytest.mark.timeout(5)
def test_a_few_letters_cannot_fill_the_memory(bomb):
    with pytest.raises(BadExpression):
        evaluate_condition(bomb, {**FIELDS, "array": np.arange(100_000), "b": b"b" * 100_000})


NESTED = "{% for a in range(100000) %}" * 4 + "{{ 1 }}" + "{% endfor %}" * 4


@pytest.mark.parametrize(
    "bomb",
    [
        NESTED,
        NESTED.replace("{{ 1 }}", "{% set y = 1 %}"),
        "{% for a in range(100000) %}{% for b in range(100000) if a in range(100000) | list %}{% endfor %}{% endfor %}",
        "{% for a in range(100000) %}{{ text * 1000 }}{% endfor %}",
        "{% set a %}{% for a in range(100000) %}{{ text * 1000 }}{% endfor %}{% endset %}{{ a | length }}",
        "{% set a = [1, 1] %}" + "{% set a = [a, a] %}" * 40 + "{{ a }}",
        "{% set a = {'x': 1} %}" + "{% set a = {'x': a, 'y': a} %}" * 40 + "{{ a == x }}",
        "{% set a = [1, 1] %}" + "{% set a = a + a %}" * 40 + "{{ a | length }}",
        "{% set a = 'ab' %}" + "{% set a = a ~ a %}" * 40 + "{{ a | length }}",
        "{% set a = 'ab' %}" + "{% set a = a + a %}" * 40 + "{{ a | length }}",
        "{% set a = (1, 1) %}" + "{% set a = (a, a) %}" * 40 + "{{ a }}",
        "{% set a = dict(x=1) %}" + "{% set a = dict(x=a, y=a) %}" * 40 + "{{ a | tojson }}",
        "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
        "{% for a in [[1]] recursive %}{{ loop([a]) }}{% endfor %}",
        "{% filter replace('', 'bb') %}a{% endfilter %}",
        "{{ range(100000) | map('string') | map('length') | map('string') | select('in', 'x' * 9000000) | list }}",
    ],
)
@pytest.mark.timeout(30)
@pytest.mark.slow
def test_a_short_template_cannot_take_all_time_and_memory(bomb):
    tracemalloc.start()
    try:
        with pytest.raises(BadExpression):
            render(bomb, FIELDS)
        assert tracemalloc.get_traced_memory()[1] < 300_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ("(" * 4000 + "x" + ")" * 4000, "nested too deeply"),
        ("not " * 4000 + "x", "nested too deeply|more than"),
        ("x == " + "9" * 5000, "Exceeds the limit"),
        ("x + " * 20000 + "x", "more than 10000 letters"),
        ("x | batch(3)", "No filter named 'batch'"),
        ("a.b is nowhere", "No test named 'nowhere'"),
    ],
)
def test_what_is_too_much_to_read_is_a_syntax_error(condition, why):
    assert re.search(why, check_expression(condition) or "")
    assert len(check_expression(condition) or "") < 500
    with pytest.raises(BadExpression):
        evaluate_condition(condition, FIELDS)
    assert condition_names(condition) == frozenset()


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("{% for a in docs %}{{ loop.index }}:{{ a }};{% endfor %}", "1:1;2:2;"),
        ("{% set y = x ~ '-' ~ text %}{{ y }}", "3-abc"),
        ("{% if x > 2 %}{{ text | replace('a', 'b') | upper }}{% else %}no{% endif %}", "BBC"),
        ("{{ docs | map('string') | join(', ') }}", "1, 2"),
        ("{{ docs | sum + x }}", 6),
        ("{{ docs | select('>', 1) | list }}", [2]),
        ("{{ [x, docs | length] }}", [3, 2]),
        ("{{ {'n': x}.n }}", 3),
        ("{{ text.replace('a', 'x') }}", "xbc"),
        ("{{ big | map(attribute='n') | sum }}", 499_500),
        ("{{ big | tojson | length > 10000 }}", True),
        ("{{ array.tolist() }}", [0, 1, 2]),
        ("{{ x | round(1) }}", 3),
        ("a {{ docs | tojson }}", "a [1, 2]"),
    ],
)
def test_what_people_write_still_works(template, rendered):
    fields = {**FIELDS, "big": [{"n": n} for n in range(1000)], "array": np.arange(3)}
    assert render(template, fields) == rendered


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
