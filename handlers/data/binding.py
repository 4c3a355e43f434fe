"""Placeholders: `{name}` and `{name.inner}` in queries stand for values, which never become part of the query."""

import datetime as dt
import decimal
import enum
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, cast

import numpy as np

from flows.errors import FatalError

Lookup: TypeAlias = Callable[[str], Any]
"""From the name in a placeholder to its value."""
PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*(?:\.\w+)*)\}")
_SCALARS = (str, int, float, bool, bytes, decimal.Decimal, dt.date, dt.time, dt.timedelta, uuid.UUID, type(None))


class BadQuery(FatalError, ValueError):
    """A query that Braid refuses or the server does not understand; the message has the cure."""


def texts_in(value: Any) -> Iterator[str]:
    """Every text in a value at any depth, including the keys of mappings."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in cast("Mapping[Any, Any]", value).items():
            yield from texts_in(key)
            yield from texts_in(item)
    elif isinstance(value, (list, tuple)):
        for item in cast("Sequence[Any]", value):
            yield from texts_in(item)


def fields_in(*values: Any) -> tuple[str, ...]:
    """The context's fields that the placeholders in values read, each once, in order."""
    names = (
        found[1].split(".")[0] for value in values for text in texts_in(value) for found in PLACEHOLDER.finditer(text)
    )
    return tuple(dict.fromkeys(names))


def refuse_templates(options: Mapping[str, Any]) -> None:
    """Refuse templates, because they would insert values into the text of a query.

    Raises:
        BadQuery: an option has one.
    """
    for name, value in options.items():
        if any("{{" in text or "{%" in text for text in texts_in(value)):
            raise BadQuery(
                f"the option {name!r} has a template; write {{name}} instead of {{{{ name }}}}: it is bound as a "
                "parameter and cannot change what the query does"
            )


def bind_value(name: str, lookup: Lookup) -> Any:
    """The value of a placeholder, if a query can take it as a parameter.

    Raises:
        BadQuery: it is neither a number, text, time or the like, nor a list of such.
    """
    value = _python_value(lookup(name))
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [_python_value(item) for item in cast("Sequence[Any]", value)]
        if all(isinstance(item, _SCALARS) for item in items):
            return items
    raise BadQuery(
        f"{{{name}}} is a {type(value).__name__}, which a query cannot take as a parameter; give a number, a text, a "
        f"time or a list of these, for example by a path into it: {{{name}.key}}"
    )


def fill(value: Any, lookup: Lookup, *, text: Callable[[str], str] = str) -> Any:
    """`value` with its placeholders filled: one alone gives the value itself, one within a text gives `text(value)`.

    Raises:
        BadQuery: a value cannot be a parameter, or a placeholder stands in a key.
    """
    if isinstance(value, str):
        whole = PLACEHOLDER.fullmatch(value)
        if whole:
            return bind_value(whole[1], lookup)
        return PLACEHOLDER.sub(lambda found: text(str(_single_value(found[1], lookup))), value)
    if isinstance(value, Mapping):
        filled: dict[Any, Any] = {}
        for key, item in cast("Mapping[Any, Any]", value).items():
            if isinstance(key, str) and PLACEHOLDER.search(key):
                raise BadQuery(f"{key!r} is used as a name; placeholders can only be values: write the name itself")
            filled[key] = fill(item, lookup, text=text)
        return filled
    if isinstance(value, (list, tuple)):
        return [fill(item, lookup, text=text) for item in cast("Sequence[Any]", value)]
    return value


def _single_value(name: str, lookup: Lookup) -> Any:
    value = bind_value(name, lookup)
    if isinstance(value, list):
        raise BadQuery(
            f"{{{name}}} is a list inside a longer text; use the placeholder alone, or name one item of the list"
        )
    return value


def _python_value(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    return value.value if isinstance(value, enum.Enum) else value
