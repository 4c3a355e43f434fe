"""Describe and run pipelines: the step model, the planner, the context, the engine and the translator."""

from flows.author import Call, handler
from flows.errors import FatalError, OrchestrationError, TransientError
from flows.state import Context

__all__ = ["Call", "Context", "FatalError", "OrchestrationError", "TransientError", "handler"]
