"""What may be declared about limits: resources, circuit breakers, retry budgets; and how two of them combine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic import Field, model_validator

from flows.model.policies import Frozen


class Breaker(Frozen):
    """When calls that keep failing are no longer made, and for how long."""

    failures: int = Field(default=5, ge=1, description="Transient failures that open the breaker.")
    within_s: float = Field(default=60.0, gt=0.0, description="Seconds in which they must happen.")
    open_s: float = Field(default=30.0, gt=0.0, description="Seconds without calls, before one is let through.")


class Resource(Frozen):
    """A named thing that calls share and must not overload."""

    concurrency: int | None = Field(default=None, ge=1, description="Calls at once.")
    per_minute: int | None = Field(default=None, ge=1, description="Calls begun in any 60 seconds.")
    tokens_per_minute: int | None = Field(default=None, ge=1, description="Tokens that calls report in any 60 seconds.")
    breaker: Breaker | None = Field(default=None, description="When to stop calling what keeps failing.")
    shared: bool | None = Field(
        default=None,
        description="Whether all runs share it, on all machines; by default so if the settings define it.",
    )


class RetryBudget(Frozen):
    """How many retries a whole run may make; once they are used up, transient failures are final."""

    max_retries: int | None = Field(default=None, ge=0, description="Retries in all.")
    share: float | None = Field(default=None, gt=0.0, description="Retries as a share of the calls begun so far.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return {"max_retries": value}
        if isinstance(value, str) and value.strip().endswith("%"):
            return {"share": float(value.strip()[:-1]) / 100}
        return value

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.max_retries is None and self.share is None:
            raise ValueError("give max_retries, a share, or both")
        return self

    def __str__(self) -> str:
        parts = [f"{self.max_retries} retries"] if self.max_retries is not None else []
        parts += [f"{self.share:.0%} of the calls"] if self.share is not None else []
        return " and ".join(parts)


NUMBERS = ("concurrency", "per_minute", "tokens_per_minute")
WORDS = {"concurrency": "at once", "per_minute": "a minute", "tokens_per_minute": "tokens a minute"}


@dataclass(frozen=True)
class Settled:
    """A resource as a run respects it, and who said each of its limits."""

    name: str
    resource: Resource
    origins: Mapping[str, str] = field(default_factory=dict[str, str])
    shared: Mapping[str, Resource] = field(default_factory=dict[str, Resource])
    """Under which name all runs count it, and what they agree on; empty if it is this process's own."""

    def __str__(self) -> str:
        parts = [
            f"{value} {WORDS[name]} ({self.origins.get(name, 'pipeline')})"
            for name in NUMBERS
            if (value := getattr(self.resource, name)) is not None
        ]
        breaker = self.resource.breaker
        if breaker is not None:
            parts.append(
                f"breaker: {breaker.failures} failures in {breaker.within_s:g} s stop calls for {breaker.open_s:g} s "
                f"({self.origins.get('breaker', 'pipeline')})"
            )
        return ", ".join(parts or ["unlimited"]) + ("; shared by all runs" if self.shared else "")


def settle(name: str, own: Resource | None, common: Resource | None, *, own_origin: str, common_origin: str) -> Settled:
    """What holds for a pipeline's resource: the tighter number of what it says (`own`) and the settings (`common`) say.

    A resource of the settings is shared unless they say otherwise; one of a pipeline only if it says so, and then
    between the runs of that pipeline.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for number in NUMBERS:
        mine, theirs = (getattr(one, number) if one is not None else None for one in (own, common))
        if theirs is not None and (mine is None or mine >= theirs):
            values[number] = theirs
            origins[number] = common_origin + (f", below the pipeline's {mine}" if mine and mine > theirs else "")
        elif mine is not None:
            values[number] = mine
            origins[number] = own_origin
    for one, origin in ((own, own_origin), (common, common_origin)):
        if one is not None and one.breaker is not None:
            # A breaker is no number: the pipeline's own is the nearer one to its calls.
            values.setdefault("breaker", one.breaker)
            origins.setdefault("breaker", origin)
    shared: dict[str, Resource] = {}
    if common is not None and common.shared is not False:
        shared[name] = common
    elif own is not None and own.shared:
        shared[f"{own_origin.removeprefix('pipeline ')}/{name}"] = own
    return Settled(name, Resource(**values, shared=bool(shared)), origins, shared)


def tightest(first: Settled, second: Settled) -> Settled:
    """Both at once: what holds for a step of a pipeline that runs inside another one."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for one in (first, second):
        for name in NUMBERS:
            value = getattr(one.resource, name)
            if value is not None and (name not in values or value < values[name]):
                values[name], origins[name] = value, one.origins.get(name, "pipeline")
        if one.resource.breaker is not None and "breaker" not in values:
            values["breaker"], origins["breaker"] = one.resource.breaker, one.origins.get("breaker", "pipeline")
    shared = {**first.shared, **second.shared}
    return Settled(first.name, Resource(**values, shared=bool(shared)), origins, shared)
