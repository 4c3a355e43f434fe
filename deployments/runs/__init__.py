"""One run in this process: its request, parameters, wiring and plan; running, recording and resuming it."""

from deployments.runs.finishing import BuiltVersion
from deployments.runs.inputs import with_inputs
from deployments.runs.judging import Comparison, compare_versions
from deployments.runs.making import making_by
from deployments.runs.notices import FAILED, FINISHED, INGESTIONS, SET_ASIDE, STALE, named_source, resource_of
from deployments.runs.opening import open_run_store
from deployments.runs.preparing import plan_request, prepare, refuse_missing_index
from deployments.runs.recording import start_recording
from deployments.runs.request import Request, TaskRunner
from deployments.runs.resuming import find_run, request_to_resume
from deployments.runs.run import arun_pipeline, run_pipeline
from deployments.runs.searching import Searches, checked_question, require_chat
from deployments.runs.versions import for_a_question
from deployments.runs.wiring import load_handlers, make_secrets, make_services

__all__ = [
    "FAILED",
    "FINISHED",
    "INGESTIONS",
    "SET_ASIDE",
    "STALE",
    "BuiltVersion",
    "Comparison",
    "Request",
    "Searches",
    "TaskRunner",
    "arun_pipeline",
    "checked_question",
    "compare_versions",
    "find_run",
    "for_a_question",
    "load_handlers",
    "make_secrets",
    "make_services",
    "making_by",
    "named_source",
    "open_run_store",
    "plan_request",
    "prepare",
    "refuse_missing_index",
    "request_to_resume",
    "require_chat",
    "resource_of",
    "run_pipeline",
    "start_recording",
    "with_inputs",
]
