"""Runs one data step, or a few, as a pipeline run does: planned, then called with real services."""

import asyncio
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from flows.author import RunResult, load_modules
from flows.engine import Prepared, run_plan
from flows.model import Pipeline
from flows.planning import make_plan
from flows.state import Context, Identity, Services
from flows.storage import Storage
from handlers.data import AllowedHosts, Connections, Rest
from handlers.models import ChatModel


class StepFailed(Exception):
    """A step that did not succeed; its text is the error of the outcome."""


def data_services(
    folder: Path, *, connections: Mapping[str, str] | None = None, rest: Rest | None = None, chat: Any = None
) -> Services:
    """The services of data steps, their artifacts in `folder`."""
    return Services(
        {
            "storage": Storage,
            "artifacts_url": partial(str, folder / "artifacts"),
            "connections": partial(Connections, dict(connections or {})),
            "rest": lambda: rest or Rest(AllowedHosts()),
            "chat": lambda: chat or ChatModel(),
        }
    )


def run_steps(
    steps: list[Any], fields: Mapping[str, Any] | None = None, *, services: Services, **pipeline: Any
) -> tuple[RunResult, Context]:
    """Plan and run steps; the services are closed afterwards."""
    load_modules(["handlers.data"])
    declared = Pipeline.model_validate({"name": "test", "steps": steps, **pipeline})
    plan = make_plan(declared, given=list(fields or {}))
    context = Context(dict(fields or {}), identity=Identity("test", services=services))
    try:
        return asyncio.run(run_plan(Prepared(plan, context))), context
    finally:
        services.close()


def step_output(
    handler: str,
    options: Mapping[str, Any],
    fields: Mapping[str, Any] | None = None,
    *,
    services: Services,
    **step: Any,
) -> Any:
    """What a step writes to `out`.

    Raises:
        StepFailed: it fails.
    """
    declared = {"handler": handler, "options": {"output": "out", **options}, **step}
    result, context = run_steps([declared], fields, services=services)
    if result.status != "succeeded":
        error = result.outcomes[-1].error
        raise StepFailed(f"{error.kind}: {error.message}" if error is not None else result.status)
    return context.data["out"]
