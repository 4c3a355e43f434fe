"""Limits as pipelines and settings declare them: resources, circuit breakers, retry budgets; and how two combine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, cast

from pydantic import Field, model_validator

from flows.model.policies import FrozenModel
from flows.model.shares import parse_percentage

AUTO_CEILING = 64
"""The most calls at once to a resource whose concurrency is `auto`."""


class Breaker(FrozenModel):
    """A circuit breaker: when to stop making calls that keep failing, and for how long."""

    failures: int = Field(default=5, ge=1, description="How many transient failures open the breaker.")
    within_s: float = Field(default=60.0, gt=0.0, description="The seconds within which they must occur.")
    open_s: float = Field(default=30.0, gt=0.0, description="Seconds without calls, before one is let through.")


class Resource(FrozenModel):
    """A named thing that calls share and must not overload."""

    concurrency: int | None = Field(
        default=None, ge=1, description="The most calls at once; `auto` finds the best number, up to 64 (see `adapts`)."
    )
    adapts: bool = Field(
        default=False,
        description="Whether to make fewer calls at once than `concurrency` while the resource fails or slows down.",
    )
    per_minute: int | None = Field(default=None, ge=1, description="The most calls that begin in any 60 seconds.")
    tokens_per_minute: int | None = Field(
        default=None, ge=1, description="The most tokens that calls report in any 60 seconds."
    )
    breaker: Breaker | None = Field(
        default=None, description="When to stop calling the resource because calls keep failing."
    )
    shared: bool | None = Field(
        default=None,
        description="Whether all runs on all machines share it; default: yes if the settings define it.",
    )

    @model_validator(mode="before")
    @classmethod
    def _auto(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        given = cast("Mapping[str, Any]", value)
        return {**given, "concurrency": AUTO_CEILING, "adapts": True} if given.get("concurrency") == "auto" else given


class RetryBudget(FrozenModel):
    """How many retries a whole run may make; after that, transient failures are final."""

    max_retries: int | None = Field(default=None, ge=0, description="Retries in total.")
    share: float | None = Field(
        default=None, gt=0.0, allow_inf_nan=False, description="Retries as a share of the calls begun so far."
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return {"max_retries": value}
        if isinstance(value, str) and (given := parse_percentage(value)) is not None:
            return {"share": given}
        return value

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.max_retries is None and self.share is None:
            raise ValueError("give max_retries, a share, or both")
        return self

    def __str__(self) -> str:
        parts = [f"{self.max_retries} retries"] if self.max_retries is not None else []
        parts += [f"{self.share:.0%} of the calls"] if self.share is not None else []
        return " and ".join(parts)


LIMIT_UNITS = {"concurrency": "at once", "per_minute": "per minute", "tokens_per_minute": "tokens per minute"}


@dataclass(frozen=True)
class EffectiveResource:
    """A resource with the limits that hold in a run, and the origin of each limit."""

    name: str
    resource: Resource
    origins: Mapping[str, str] = field(default_factory=dict[str, str])
    shared: Mapping[str, Resource] = field(default_factory=dict[str, Resource])
    """The name under which all runs count it, and the limits they share; empty if only this process uses it."""

    def __str__(self) -> str:
        parts = [
            f"{value} {unit} ({self.origins.get(name, 'pipeline')})"
            for name, unit in LIMIT_UNITS.items()
            if (value := getattr(self.resource, name)) is not None
        ]
        breaker = self.resource.breaker
        if breaker is not None:
            parts.append(
                f"breaker: {breaker.failures} failures in {breaker.within_s:g} s stop calls for {breaker.open_s:g} s "
                f"({self.origins.get('breaker', 'pipeline')})"
            )
        return ", ".join(parts or ["unlimited"]) + ("; shared by all runs" if self.shared else "")


def effective_resource(
    name: str, own: Resource | None, common: Resource | None, *, own_origin: str, common_origin: str
) -> EffectiveResource:
    """The tighter of two limits for each number: of the pipeline's resource (`own`) and the settings' (`common`).

    A resource of the settings is shared by default. A resource of a pipeline is shared only if it says so, and then
    only among the runs of that pipeline.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for limit in LIMIT_UNITS:
        mine, theirs = (getattr(one, limit) if one is not None else None for one in (own, common))
        if theirs is not None and (mine is None or mine >= theirs):
            values[limit] = theirs
            origins[limit] = common_origin + (f", below the pipeline's {mine}" if mine and mine > theirs else "")
        elif mine is not None:
            values[limit] = mine
            origins[limit] = own_origin
    for one, origin in ((own, own_origin), (common, common_origin)):
        if one is not None and one.breaker is not None:
            # Breakers have no order as numbers do, so the pipeline's own takes precedence: its author knows its calls.
            values.setdefault("breaker", one.breaker)
            origins.setdefault("breaker", origin)
    shared: dict[str, Resource] = {}
    if common is not None and common.shared is not False:
        shared[name] = common
    elif own is not None and own.shared:
        shared[f"{own_origin.removeprefix('pipeline ')}/{name}"] = own
    adapts = any(one is not None and one.adapts for one in (own, common))
    return EffectiveResource(name, Resource(**values, shared=bool(shared), adapts=adapts), origins, shared)


def tightest(first: EffectiveResource, second: EffectiveResource) -> EffectiveResource:
    """Both limits at once, as they hold for a step of a pipeline that runs inside another one."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for one in (first, second):
        for name in LIMIT_UNITS:
            value = getattr(one.resource, name)
            if value is not None and (name not in values or value < values[name]):
                values[name], origins[name] = value, one.origins.get(name, "pipeline")
        if one.resource.breaker is not None and "breaker" not in values:
            values["breaker"], origins["breaker"] = one.resource.breaker, one.origins.get("breaker", "pipeline")
    shared = {**first.shared, **second.shared}
    return EffectiveResource(
        first.name,
        Resource(**values, shared=bool(shared), adapts=first.resource.adapts or second.resource.adapts),
        origins,
        shared,
    )
