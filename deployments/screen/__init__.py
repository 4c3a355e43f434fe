"""What people see in a terminal."""

from deployments.screen.documents import DocumentListing, Documents
from deployments.screen.hits import explanation, hit_json, show_explanation, show_hits
from deployments.screen.indexes import index_names, is_postgres, locate_index, remove_index, require_index
from deployments.screen.progress import watch
from deployments.screen.views import (
    STATUS_STYLE,
    cost_table,
    cost_text,
    estimate_text,
    failure_tables,
    moved_steps,
    plan_json,
    plan_tree,
    result_json,
    result_tables,
    step_table,
)

__all__ = [
    "STATUS_STYLE",
    "DocumentListing",
    "Documents",
    "cost_table",
    "cost_text",
    "estimate_text",
    "explanation",
    "failure_tables",
    "hit_json",
    "index_names",
    "is_postgres",
    "locate_index",
    "moved_steps",
    "plan_json",
    "plan_tree",
    "remove_index",
    "require_index",
    "result_json",
    "result_tables",
    "show_explanation",
    "show_hits",
    "step_table",
    "watch",
]
