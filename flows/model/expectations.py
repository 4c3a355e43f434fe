"""Expectations of a step: bounds of its writes, of the share it sets aside, or a function that checks them."""

from collections.abc import Mapping, Sized
from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field, model_validator

from flows.model.policies import FrozenModel
from flows.model.shares import parse_percentage

SHARE_SET_ASIDE = "share_set_aside"
"""The share of a call's items that the call has set aside, between 0 and 1."""


def _number(value: Any) -> Any:
    share = parse_percentage(value) if isinstance(value, str) else None
    return value if share is None else share


class Bounds(FrozenModel):
    """The bounds of a number, or of the length of a list, text or mapping."""

    min: Annotated[float | None, BeforeValidator(_number)] = Field(default=None, description="The smallest value.")
    max: Annotated[float | None, BeforeValidator(_number)] = Field(
        default=None, description="The largest value, such as 10 or 5%."
    )

    def complaint(self, name: str, value: Any) -> str:
        """Why a value is not as expected; empty if it is."""
        if isinstance(value, (int, float)):
            number = float(value)
        elif isinstance(value, Sized):
            number = float(len(value))
        else:
            return f"{name} is {value!r}, which is neither a number nor has a length"
        if self.min is not None and number < self.min:
            return f"{name} is {number:g}, less than {self.min:g}"
        if self.max is not None and number > self.max:
            return f"{name} is {number:g}, more than {self.max:g}"
        return ""


class Expectation(FrozenModel):
    """The expectation of a step; `{passages: {min: 1}}` is short for `{fields: {passages: {min: 1}}}`."""

    fields: dict[str, Bounds] = Field(
        default_factory=dict[str, Bounds],
        description="Bounds for each field that the step writes, or for share_set_aside.",
    )
    check: str | None = Field(default=None, description="A function registered with @expectation.")
    otherwise: Literal["fail", "mark"] = Field(
        default="fail", description="fail: the step fails. mark: the step continues, and the run ends as partial."
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        given = cast("Mapping[str, Any]", value)
        own = {name: given[name] for name in ("check", "otherwise") if name in given}
        rest = {name: bounds for name, bounds in given.items() if name not in (*own, "fields")}
        return {**own, "fields": {**given.get("fields", {}), **rest}}
