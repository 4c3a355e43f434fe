"""Parameters that a pipeline declares, and the conversion of a value to the declared type."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal, Self, assert_never

from pydantic import Field, ValidationInfo, field_validator, model_validator

from flows.errors import suggest
from flows.model.policies import FrozenModel
from flows.model.secrecy import hide_secrets, hide_secrets_in, keep_parameters_secret


class Parameter(FrozenModel):
    """One value that a run is given: a typed field of the form in the Prefect UI, and a field of the context."""

    type: Literal["text", "integer", "number", "boolean", "list", "mapping"] = Field(
        default="text", description="The type of the value; a list is a list of texts."
    )
    description: str = Field(default="", description="Shown beside the field.")
    required: bool = Field(default=False, description="A run without it is refused.")
    title: str = Field(default="", description="The name of the field in the form; default: its own, in words.")
    advanced: bool = Field(
        default=False, description="Whether to show it at the end of the form, because it is seldom needed."
    )
    choices: tuple[str, ...] = Field(default=(), description="The only texts that are allowed.")
    minimum: float | None = Field(default=None, description="The smallest number that is allowed.")
    maximum: float | None = Field(default=None, description="The largest number that is allowed.")
    # The last field, since its check needs the others.
    default: Any = Field(default=None, description="Used when the run gives no value; converted to the type.")

    @field_validator("default")
    @classmethod
    def _convert_default(cls, value: Any, info: ValidationInfo) -> Any:
        declared = info.data
        if value is None or "type" not in declared:
            return value
        if declared["type"] == "text" and not isinstance(value, str):
            raise ValueError(f"the default {short_repr(value)} is not a text; write it in quotes")
        try:
            return convert(value, Parameter.model_construct(**declared))
        except ValueError as error:
            raise ValueError(f"the default {error}, not {short_repr(value)}") from None

    @model_validator(mode="after")
    def _bounds_fit_type(self) -> Self:
        if self.choices and self.type != "text":
            raise ValueError(f"choices are for parameters of type text, not {self.type}")
        if (self.minimum is not None or self.maximum is not None) and self.type not in ("integer", "number"):
            raise ValueError(f"minimum and maximum are for parameters of type integer or number, not {self.type}")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum:g} is above maximum {self.maximum:g}")
        return self


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
    keep_parameters_secret(parameters)
    return hide_secrets_in(parameters)


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


def short_repr(value: Any) -> str:
    text = hide_secrets(repr(value))
    return text if len(text) <= 80 else f"{text[:77]}…"
