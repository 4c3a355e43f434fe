"""Describe and run pipelines: the step model, the planner, the context, the engine and the translator."""

from flows.calls import Call
from flows.context import Context
from flows.errors import FatalError, OrchestrationError, TransientError
from flows.registry import handler

__all__ = ["Call", "Context", "FatalError", "OrchestrationError", "TransientError", "handler"]
