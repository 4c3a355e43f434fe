"""The environment of conditions and templates: jinja2 in a sandbox with limits of memory and time.

Jinja's sandbox keeps expressions away from Python code. Ours also counts their work (`evaluation`): every call, filter,
operator and loop iteration is checked here first, and is refused if its result would be too large.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, wraps
from typing import Any, cast

from flows.model.evaluation import MOST_LETTERS, TooMuch, check_items, check_letters, counted, letters_of, made, spend

_PADDING = frozenset(
    {"center", "expandtabs", "format", "format_map", "ljust", "rjust", "to_bytes", "translate", "zfill"}
)
"""Methods that make texts of a length that the author chooses."""
_LEFT_OUT = frozenset({"batch", "center", "format", "indent", "pprint", "slice", "urlize", "wordwrap", "xmlattr"})
"""Filters that do the same, or are meant for web pages."""
_OF_ARRAYS = frozenset("all any argmax argmin item max mean min std sum tolist var".split())
"""The allowed methods of arrays; others write files or make arrays of any size."""
_MOST_BITS = 100_000
_MOST_DIGITS = 100
_MOST_NODES = 20_000
GLOBALS = ("range", "dict")


@cache
def sandbox() -> Any:
    """The environment; jinja2 is imported when it is first needed."""
    from jinja2 import StrictUndefined, nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from jinja2.visitor import NodeTransformer

    class Bounded(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"+", "-", "*", "/", "//", "**", "%"})

        @staticmethod
        def concat(parts: Iterable[str]) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
            return _joined(parts)

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            spend()
            _check_operation(operator, left, right)
            value = super().call_binop(context, operator, left, right)
            return made(value) if operator in "+*" and isinstance(value, (list, tuple)) else value

        def call(self, context: Any, obj: Any, *args: Any, **kwargs: Any) -> Any:  # pyright: ignore
            spend()
            _check_call(obj, args, kwargs)
            value = super().call(context, obj, *args, **kwargs)
            return made(value) if isinstance(value, (list, tuple, dict)) else value

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            return attr not in _PADDING and super().is_safe_attribute(obj, attr, value)

        def wrap_str_format(self, value: Any) -> Any:
            if super().wrap_str_format(value) is not None:
                raise TooMuch("str.format is not available; join texts with ~")
            return None

        def _generate(self, source: Any, *args: Any, **kwargs: Any) -> str:
            return super()._generate(_bounded(source), *args, **kwargs)

    def _bounded(tree: Any) -> Any:
        """The tree, changed so that loop iterations are counted and values are measured."""
        check_tree(tree)
        for loop in tree.find_all(nodes.For):
            loop.iter = nodes.Filter(loop.iter, "_counted", [], [], None, None, lineno=loop.lineno)
        return _Measured().visit(tree)

    class _Measured(NodeTransformer):
        def visit_Concat(self, node: Any) -> Any:
            self.generic_visit(node)
            items = nodes.Tuple(node.nodes, "load", lineno=node.lineno)
            return nodes.Filter(items, "_concat", [], [], None, None, lineno=node.lineno)

        def _measure(self, node: Any) -> Any:
            self.generic_visit(node)
            if getattr(node, "ctx", "load") != "load":
                return node
            return nodes.Filter(node, "_made", [], [], None, None, lineno=node.lineno)

        visit_List = visit_Tuple = visit_Dict = _measure

    environment: Any = Bounded(undefined=StrictUndefined, autoescape=False, optimized=False, finalize=_shown)
    environment.globals = {"range": environment.globals["range"], "dict": dict}
    filters = {name: _guarded(name, call) for name, call in environment.filters.items() if name not in _LEFT_OUT}
    environment.filters = {**filters, "_counted": counted, "_made": made, "_concat": _joined}
    return environment


def check_tree(tree: Any) -> Any:
    """The syntax tree of a template; refuse unsupported statements and too many parts.

    Raises:
        TemplateSyntaxError: the tree is refused.
    """
    from jinja2 import nodes
    from jinja2.exceptions import TemplateSyntaxError

    refused = (nodes.Macro, nodes.CallBlock, nodes.FilterBlock, nodes.Include, nodes.Import, nodes.FromImport)
    waiting, count = [tree], 0
    while waiting:
        node: Any = waiting.pop()
        count += 1
        if isinstance(node, (*refused, nodes.Extends, nodes.Block)) or getattr(node, "recursive", False):
            raise TemplateSyntaxError("templates take `if`, `for`, `set` and `with`, and no other statements", 1)
        if count > _MOST_NODES:
            raise TemplateSyntaxError(f"it has more than {_MOST_NODES} parts", 1)
        waiting += node.iter_child_nodes()
    return tree


def _check_operation(operator: str, left: Any, right: Any) -> None:
    """Refuse an operation whose result would be too large.

    Raises:
        TooMuch: it would be.
    """
    for value in (left, right):
        if hasattr(value, "shape"):
            sizes = [getattr(each, "size", 1) for each in (left, right)]
            check_items(int(sizes[0]) * int(sizes[1]) if len(sizes) > 1 and left is not right else int(sizes[0]))
    numbers = isinstance(left, int) and isinstance(right, int)
    if operator == "**" and numbers and left.bit_length() * max(right, 0) > _MOST_BITS:
        raise TooMuch(f"the result of ** has more than {_MOST_BITS} bits")
    if operator == "%" and isinstance(left, (str, bytes)):
        text = left if isinstance(left, str) else left.decode("latin-1")
        widths = re.findall(r"\d{1,18}", text.replace("*", str(MOST_LETTERS + 1)))
        check_letters(sum(map(int, widths)) + len(text) + letters_of(right))
    elif operator == "*" and numbers and left.bit_length() + right.bit_length() > _MOST_BITS:
        raise TooMuch(f"the result of * has more than {_MOST_BITS} bits")
    elif operator == "*" and isinstance(left, int) != isinstance(right, int):
        times, repeated = (left, right) if isinstance(left, int) else (right, left)
        if isinstance(repeated, (str, bytes)):
            check_letters(times * len(repeated))
        elif isinstance(repeated, (list, tuple)):
            check_items(times * len(cast("list[Any]", repeated)))
    elif operator == "+" and isinstance(left, str) and isinstance(right, str):
        check_letters(len(left) + len(right))
    elif operator == "+" and isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        check_items(len(cast("list[Any]", left)) + len(cast("list[Any]", right)))


def _check_call(called: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Refuse a call whose result would be too large, or that does more than read a value.

    Raises:
        TooMuch: the call is refused.
    """
    owner, name = getattr(called, "__self__", None), getattr(called, "__name__", "")
    if type(owner).__module__.partition(".")[0] in ("numpy", "pandas", "pyarrow", "polars"):
        if name not in _OF_ARRAYS:
            raise TooMuch(f"{name}() of an array is not available; compute it in a handler")
        check_items(int(getattr(owner, "size", 1)))
    elif isinstance(owner, (str, bytes)) and name == "replace":
        _check_replacing(owner, *args, **kwargs)
    elif isinstance(owner, (str, bytes)) and name == "join":
        check_letters(letters_of(args) + len(owner) * _length(args[0] if args else ()))
    elif called is not dict:
        spend(_length(owner) // 1000)


def _check_replacing(text: Any, old: Any = "", new: Any = "", *rest: Any, **more: Any) -> None:
    if type(old) is type(text) is type(new):
        times = text.count(old)
        check_letters(len(text) + times * max(len(new) - len(old), 0))


def _length(value: Any) -> int:
    return len(value) if hasattr(value, "__len__") else 0


def _guarded(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """A filter whose work is counted, and which is refused if its result would be too large."""
    first = 1 if hasattr(call, "jinja_pass_arg") else 0

    @wraps(call)
    def filtered(*args: Any, **kwargs: Any) -> Any:
        head, value, rest = args[:first], args[first], args[first + 1 :]
        if not hasattr(value, "__len__") and hasattr(value, "__iter__"):
            value = counted(value)
            if name == "join":
                value = list(value)
        spend(1 + (_length(value) // 1000 if name in _QUICK else _length(value)))
        _check_filter(name, value, rest, kwargs)
        return call(*head, value, *rest, **kwargs)

    return filtered


_QUICK = frozenset(
    "abs attr capitalize count d default escape e filesizeformat first float forceescape int last length lower random "
    "replace round safe string striptags title tojson trim truncate upper urlencode wordcount".split()
)
"""Filters that take no step of Python for an item."""
_WRITES = {"string": 1, "escape": 6, "e": 6, "forceescape": 6, "tojson": 6, "urlencode": 12, "striptags": 1, "title": 1}
"""Filters that turn any value into text, with the most letters that they make of one letter."""


def _check_filter(name: str, value: Any, rest: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    if name == "replace":
        old, new = (*rest, kwargs.get("old"), kwargs.get("new"))[:2] if len(rest) < 2 else rest[:2]
        check_letters(letters_of(value))
        text = str(value)
        check_letters(len(text) + text.count(str(old)) * len(str(new)))
    elif name == "join":
        between = str(rest[0] if rest else kwargs.get("d", ""))
        check_letters(letters_of(value) + len(between) * _length(value))
    elif name == "round":
        precision = rest[0] if rest else kwargs.get("precision", 0)
        if isinstance(precision, int) and abs(precision) > _MOST_DIGITS:
            raise TooMuch(f"it rounds to more than {_MOST_DIGITS} digits")
    elif name == "sum":
        check_items(letters_of([value, *rest, *kwargs.values()]))
    elif name == "tojson" and any(isinstance(each, int) and each > 10 for each in (*rest, *kwargs.values())):
        raise TooMuch("it indents by more than 10 letters")
    if name in _WRITES:
        # We count the lower bound of the length; only short texts grow to more than twice their length.
        check_letters(letters_of(value))


def _joined(parts: Iterable[Any]) -> str:
    """The parts as one text."""
    texts: list[str] = []
    for part in counted(parts):
        check_letters(letters_of(part))
        texts.append(str(part))
    check_letters(sum(map(len, texts)))
    return "".join(texts)


def _shown(value: Any) -> Any:
    """A value that a template is about to write."""
    check_letters(letters_of(value))
    return value
