"""Describe and run pipelines: the step model, the planner, the context, the engine and the translator."""

from flows.author.call import Call
from flows.author.registry import handler
from flows.errors import FatalError, OrchestrationError, TransientError
from flows.state.context import Context

__all__ = ["Call", "Context", "FatalError", "OrchestrationError", "TransientError", "handler"]
