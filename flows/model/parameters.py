"""Parameters of a run: checked against the declarations of the pipeline, and converted to the declared types."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, assert_never

from flows.errors import OrchestrationError, suggest
from flows.model.steps import Parameter, Pipeline

LEFT_OUT = "***"
"""Stands in the run store for a secret."""
_SECRET = re.compile(r"(?i)secret|password|passwd|token$|api_?key|credential")
_URL_PASSWORD = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^/@\s:]*:)[^/@\s]*@")


class InvalidParameters(OrchestrationError, ValueError):
    """Parameters that a pipeline cannot run with; the message lists every problem."""


def check_parameters(pipeline: Pipeline, given: Mapping[str, Any]) -> dict[str, Any]:
    """Values for all declared parameters, defaults filled in; texts are read as the declared types.

    Raises:
        InvalidParameters: unknown names, missing values, wrong types, values out of bounds, all at once.
    """
    declared = pipeline.parameters
    problems = [
        f"{pipeline.name} has no parameter {name!r}{suggest(name, list(declared)) if declared else '; it takes none'}"
        for name in given
        if name not in declared
    ]
    values: dict[str, Any] = {}
    for name, parameter in declared.items():
        value = given.get(name)
        if value is None:
            values[name] = parameter.default
            if parameter.required:
                about = f": {parameter.description}" if parameter.description else ""
                problems.append(f"{pipeline.name} needs the parameter {name!r}{about}")
            continue
        try:
            values[name] = convert(value, parameter)
        except ValueError as error:
            problems.append(f"parameter {name!r} {error}, not {_short_repr(value)}")
    if problems:
        raise InvalidParameters("\n".join(problems))
    return values


def convert(value: Any, parameter: Parameter) -> Any:
    """`value` as the parameter's type.

    Raises:
        ValueError: the value has another type or is out of bounds; the message reads after the parameter's name.
    """
    converted = _READ[parameter.type](value)
    match parameter.type:
        case "integer" | "number":
            if parameter.minimum is not None and converted < parameter.minimum:
                raise ValueError(f"must be at least {parameter.minimum:g}")
            if parameter.maximum is not None and converted > parameter.maximum:
                raise ValueError(f"must be at most {parameter.maximum:g}")
        case "text":
            if parameter.choices and converted not in parameter.choices:
                raise ValueError(
                    f"must be one of {', '.join(parameter.choices)}{_nearest(converted, parameter.choices)}"
                )
        case "boolean" | "list" | "mapping":
            pass
        case _:
            assert_never(parameter.type)
    return converted


def without_secrets(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters that may be stored and shown: `***` stands for secrets, and for passwords in URLs."""
    return {name: LEFT_OUT if _SECRET.search(name) else _clean(value) for name, value in parameters.items()}


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _URL_PASSWORD.sub(rf"\1{LEFT_OUT}@", value)
    if isinstance(value, Mapping):
        return without_secrets({str(key): item for key, item in value.items()})  # pyright: ignore
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def _to_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise ValueError("must be a text")


def _to_integer(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError("must be a whole number")
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ValueError("must be a whole number") from None


def _to_number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if isinstance(value, bool) or number != number:
        raise ValueError("must be a number")
    return number


def _to_boolean(value: Any) -> bool:
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if isinstance(value, bool):
        return value
    if str(value).strip().lower() in words:
        return words[str(value).strip().lower()]
    raise ValueError("must be true or false")


def _to_list(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return list(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, str):
        if value.lstrip().startswith("["):
            return _parse_json(value, list, "must be a list: values separated by commas, or a JSON list")
        return [part.strip() for part in value.split(",") if part.strip()]
    raise ValueError("must be a list")


def _to_mapping(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, str):
        return _parse_json(value, dict, 'must be a mapping written as JSON, for example {"team": "legal"}')
    raise ValueError("must be a mapping")


def _parse_json(text: str, kind: type[Any], complaint: str) -> Any:
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = None
    if not isinstance(value, kind):
        raise ValueError(complaint)
    return value


_READ: dict[str, Callable[[Any], Any]] = {
    "text": _to_text,
    "integer": _to_integer,
    "number": _to_number,
    "boolean": _to_boolean,
    "list": _to_list,
    "mapping": _to_mapping,
}


def _nearest(value: str, choices: tuple[str, ...]) -> str:
    hint = suggest(value, choices)
    return hint if "did you mean" in hint else ""


def _short_repr(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
