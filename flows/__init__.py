"""Describe and run pipelines; only the names exported here are public."""

import importlib
from typing import TYPE_CHECKING, Any

from flows.author import (
    Call,
    FatalFailure,
    Outcome,
    Registry,
    RunResult,
    Success,
    TransientFailure,
    handler,
    merge_strategy,
    split_strategy,
)
from flows.errors import FatalError, OrchestrationError, PipelineFailed, TransientError
from flows.model import Pipeline
from flows.state import Context, Services, reducer

if TYPE_CHECKING:
    from flows.loaders import PipelineBuilder, load_pipeline, parallel, pipeline
    from flows.running import arun, plan, run, to_flow

__all__ = [
    "Call",
    "Context",
    "FatalError",
    "FatalFailure",
    "OrchestrationError",
    "Outcome",
    "Pipeline",
    "PipelineBuilder",
    "PipelineFailed",
    "Registry",
    "RunResult",
    "Services",
    "Success",
    "TransientError",
    "TransientFailure",
    "arun",
    "handler",
    "load_pipeline",
    "merge_strategy",
    "parallel",
    "pipeline",
    "plan",
    "reducer",
    "run",
    "split_strategy",
    "to_flow",
]

_LAZY = {
    "PipelineBuilder": "flows.loaders",
    "arun": "flows.running",
    "load_pipeline": "flows.loaders",
    "parallel": "flows.loaders",
    "pipeline": "flows.loaders",
    "plan": "flows.running",
    "run": "flows.running",
    "to_flow": "flows.running",
}
"""Whoever only writes handlers need not wait for the engine."""


if not TYPE_CHECKING:  # a type checker would take any name for one of ours

    def __getattr__(name: str) -> Any:
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
