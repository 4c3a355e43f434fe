"""The inputs of a run's start, made from its parameters in the process that runs it."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from flows.author import RunResult
from flows.engine.events import Observer, ignore_event
from flows.engine.journal import Journal
from flows.engine.stuck import Expectation
from flows.limits import UNNAMED, Share, SharedRates
from flows.planning import Plan
from flows.state import Context

_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"


@dataclass(frozen=True)
class Notice:
    """An event for others to react to, such as automations; the engine for tests and trials emits none."""

    event: str
    resource: Mapping[str, str]
    """`prefect.resource.id` and labels of the thing it happened to."""
    payload: Mapping[str, Any] = field(default_factory=dict[str, Any])
    related: Sequence[Mapping[str, str]] = ()


@dataclass(frozen=True)
class Prepared:
    """A plan, the context it starts with, and optional parts of a run."""

    plan: Plan
    context: Context
    observer: Observer = ignore_event
    """Called with every event of the run."""
    spent: Mapping[str, float] = field(default_factory=dict[str, float])
    """The amounts of the budget that earlier runs of the chain have used, their `seconds` included."""
    journal: Journal = field(default_factory=Journal)
    """Where finished calls are kept, and taken over from earlier runs; default: they are not kept."""
    expected: Expectation | None = None
    """How long steps may take before they are reported as stuck; None: no check."""
    item_seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    """Seconds per item in earlier runs, by path of the loop; see `flows.engine.batching`."""
    rates: SharedRates | None = None
    """Counts calls and tokens per minute for all runs; without it, they are counted in this process."""
    plan_only: bool = False
    """Whether to show the plan and run no step."""
    at_end: Callable[[RunResult], None] = lambda result: None
    """Called with the result before it is recorded; it may write more fields of the context."""
    summary: Callable[[RunResult], str] = lambda result: ""
    """A one-line result of the run, if it is better than one made from its outputs."""
    more_pages: Callable[[RunResult], Sequence[tuple[str, str, str]]] = lambda result: ()
    """Key, description and Markdown of pages that a run of this kind has besides those of every run."""
    facts: Callable[[RunResult], Sequence[str]] = lambda result: ()
    """Sentences in Markdown for the first page of a run of this kind."""
    share: Share = UNNAMED
    """The tenant and priority with which its calls wait for shared resources."""
    notices: Callable[[RunResult], Sequence[Notice]] = lambda result: ()
    """Events that other systems receive when the run ends."""


def new_run_id(now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> str:
    """A short id: the time to the millisecond, by which ids sort, and five random characters."""
    moment = now()
    random = "".join(secrets.choice(_ALPHABET) for _ in range(5))
    return f"{moment:%y%m%d-%H%M%S}{moment.microsecond // 1000:03d}-{random}"
