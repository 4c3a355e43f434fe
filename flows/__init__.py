"""Describe and run pipelines; only the names exported here are public."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from flows.loaders import PipelineBuilder, load_pipeline, parallel, pipeline
    from flows.model import Pipeline
    from flows.running import arun, plan, run, to_flow
    from flows.state import Context, Services, reducer

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
    "Call": "flows.author",
    "Context": "flows.state",
    "FatalError": "flows.errors",
    "FatalFailure": "flows.author",
    "OrchestrationError": "flows.errors",
    "Outcome": "flows.author",
    "Pipeline": "flows.model",
    "PipelineBuilder": "flows.loaders",
    "PipelineFailed": "flows.errors",
    "Registry": "flows.author",
    "RunResult": "flows.author",
    "Services": "flows.state",
    "Success": "flows.author",
    "TransientError": "flows.errors",
    "TransientFailure": "flows.author",
    "arun": "flows.running",
    "handler": "flows.author",
    "load_pipeline": "flows.loaders",
    "merge_strategy": "flows.author",
    "parallel": "flows.loaders",
    "pipeline": "flows.loaders",
    "plan": "flows.running",
    "reducer": "flows.state",
    "run": "flows.running",
    "split_strategy": "flows.author",
    "to_flow": "flows.running",
}
"""Imports a public name when it is first used, so that `import flows` and the help of the command line stay fast."""


if not TYPE_CHECKING:  # with `__getattr__` in sight, a type checker would accept every name

    def __getattr__(name: str) -> Any:
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
