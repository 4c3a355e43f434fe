"""Parses values of settings: names of indexes, durations, budgets, tables and lists."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from flows.errors import OrchestrationError

_INDEX_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")
_MOST_CHARACTERS = 64


class InvalidSettings(OrchestrationError, ValueError):
    """Settings that cannot be used; the message names each variable with its mistake."""


class InvalidIndexName(InvalidSettings):
    """A name that is not allowed for an index."""


def index_name(name: str) -> str:
    """The name of an index, checked because it becomes part of a path, without the version of `NAME@VERSION`.

    Raises:
        InvalidIndexName: it is empty, too long, or has other characters than letters, digits, `-`, `_` and single dots.
    """
    index, at, version = name.partition("@")
    for part in (index, version) if at else (index,):
        if len(part) > _MOST_CHARACTERS or _INDEX_NAME.fullmatch(part) is None:
            raise InvalidIndexName(
                f"{part!r} cannot be the name of {'an index' if part == index else 'a version'}; use up to "
                f"{_MOST_CHARACTERS} letters, digits, '-', '_' and single dots, starting with a letter or digit, for "
                "example 'manuals-2026'"
            )
    return index


def index_version(name: str) -> str | None:
    """The version in `NAME@VERSION`."""
    return name.partition("@")[2] or None


def with_index_placeholder(template: str | None) -> str | None:
    """The URL of every index; to one in PostgreSQL, a missing placeholder for the index's name is added.

    Raises:
        ValueError: the placeholder is missing elsewhere; the message reads after the name of the setting.
    """
    if template is not None and template.startswith(("postgresql", "postgres:")) and "{index}" not in template:
        # A database can hold any number of indexes.
        return f"{template}{'&' if '?' in template else '?'}index={{index}}"
    if template is not None and "{index}" not in template:
        raise ValueError("needs the placeholder {index}, else all indexes would be one")
    return template


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def read_duration(value: Any) -> Any:
    """The seconds of a text such as `15m`; other values unchanged.

    Raises:
        ValueError: the text is not a duration.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", value.strip()) if isinstance(value, str) else None
    if isinstance(value, str) and found is None:
        raise ValueError("write a number of seconds, or a number with s, m, h, d or w, for example 15m")
    return float(found[1]) * _SECONDS[found[2]] if found is not None else value


def duration_text(seconds: float) -> str:
    """Seconds as a duration text: `6h`."""
    fitting = [unit for unit, length in _SECONDS.items() if seconds >= length and seconds % length == 0]
    return f"{seconds / _SECONDS[fitting[-1]]:g}{fitting[-1]}" if fitting else f"{seconds:g}s"


def read_budget(texts: Iterable[str]) -> dict[str, float]:
    """`usd=5` texts as a budget by unit.

    Raises:
        InvalidSettings: one is not a unit with a number above 0, or a unit is given twice.
    """
    found: dict[str, float] = {}
    for text in texts:
        unit, _, amount = (part.strip() for part in text.partition("="))
        try:
            value = float(amount)
        except ValueError:
            value = 0.0
        if not unit.isidentifier() or not 0 < value < float("inf"):
            raise InvalidSettings(f"{text!r} is not a budget; write UNIT=AMOUNT, for example usd=5 or seconds=3600")
        if unit in found:
            raise InvalidSettings(f"the budget of {unit!r} is given twice")
        found[unit] = value
    return found


def read_table(text: str) -> Any:
    """The table in a JSON text, or in the JSON or YAML file that the text names.

    Raises:
        ValueError: it is neither; the message reads after the name of the setting.
    """
    if not text.lstrip().startswith("{"):
        try:
            text = Path(text).read_text(encoding="utf-8")
        except OSError as error:
            raise ValueError(f"is neither JSON nor a file that can be read: {error}") from error
    try:
        return YAML(typ="safe", pure=True).load(text)  # JSON is a subset of YAML
    except YAMLError as error:
        raise ValueError(f"cannot be read: {error}") from error


def read_list(value: Any, separators: str) -> Any:
    """The parts of a text between `separators`; anything else is returned as it is."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in re.split(f"[{separators}]", value) if part.strip())
