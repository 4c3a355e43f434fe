"""Everything shown in a terminal: plans, progress, results, recorded runs, hits and documents."""

from deployments.screen.balances import balance_table
from deployments.screen.documents import DocumentEntry, DocumentTable
from deployments.screen.hits import did_you_mean, errors_json, explanation, found_json, show_explanation, show_hits
from deployments.screen.outputs import output_parts
from deployments.screen.passages import excerpt
from deployments.screen.plan_json import plan_json
from deployments.screen.plan_tree import estimate_text, moved_steps, plan_tree
from deployments.screen.progress import show_progress
from deployments.screen.recorded_runs import (
    how_to_resume,
    read_run,
    read_runs,
    run_json,
    run_tables,
    runs_table,
)
from deployments.screen.results import failure_tables, result_json, result_tables, step_table
from deployments.screen.tables import STATUS_STYLE, local_time, plain_table

__all__ = [
    "STATUS_STYLE",
    "DocumentEntry",
    "DocumentTable",
    "balance_table",
    "did_you_mean",
    "errors_json",
    "estimate_text",
    "excerpt",
    "explanation",
    "failure_tables",
    "found_json",
    "how_to_resume",
    "local_time",
    "moved_steps",
    "output_parts",
    "plain_table",
    "plan_json",
    "plan_tree",
    "read_run",
    "read_runs",
    "result_json",
    "result_tables",
    "run_json",
    "run_tables",
    "runs_table",
    "show_explanation",
    "show_hits",
    "show_progress",
    "step_table",
]
