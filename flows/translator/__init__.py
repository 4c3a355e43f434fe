"""The only room that knows Prefect: pipelines as flows, leaves as task runs, seats on the server."""

from flows.translator.announcing import BUDGET_USED
from flows.translator.blocks import secret_of_block
from flows.translator.flows import arun_as_flow, current_flow_run_id, run_as_flow, translate
from flows.translator.form import INDEX, MAX_CONCURRENCY, Control, field_control, flow_description, form_schema
from flows.translator.pipeline_flow import PipelineFlow
from flows.translator.seats import LEASE_S, PREFIX, PrefectSeats
from flows.translator.turns import OVERLAP_TAG, TURNS, WAITING, Overlap, Turns

__all__ = [
    "BUDGET_USED",
    "INDEX",
    "LEASE_S",
    "MAX_CONCURRENCY",
    "OVERLAP_TAG",
    "PREFIX",
    "TURNS",
    "WAITING",
    "Control",
    "Overlap",
    "PipelineFlow",
    "PrefectSeats",
    "Turns",
    "arun_as_flow",
    "current_flow_run_id",
    "field_control",
    "flow_description",
    "form_schema",
    "run_as_flow",
    "secret_of_block",
    "translate",
]
