"""A run from its request to its record: parameters, wiring, running, resuming."""

from deployments.runs.recording import start_recording
from deployments.runs.resuming import find_run
from deployments.runs.run import run_pipeline
from deployments.runs.wiring import load_handlers, make_services, overrides_from, prepare
from flows.engine import new_run_id
from flows.model import InvalidParameters, check_parameters, convert

__all__ = [
    "InvalidParameters",
    "check_parameters",
    "convert",
    "find_run",
    "load_handlers",
    "make_services",
    "new_run_id",
    "overrides_from",
    "prepare",
    "run_pipeline",
    "start_recording",
]
