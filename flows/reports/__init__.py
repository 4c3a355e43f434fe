"""Reports of a run for people: pages, charts, causes of errors, costs, timing and progress."""

from flows.reports.cost import CostReport, cost_json, cost_report
from flows.reports.errors import error_json, error_report
from flows.reports.estimates import Estimate, estimate
from flows.reports.mermaid import draw_mermaid
from flows.reports.names import StepNames
from flows.reports.pages import Page, plan_page, run_pages
from flows.reports.progress import LiveProgress
from flows.reports.result_shapes import (
    file_facts,
    has_own_form,
    location_text,
    shape_of,
    short_text,
    shown_passage,
    table_of,
)
from flows.reports.results import result_markdown
from flows.reports.run_page import RUN_PAGE, run_page
from flows.reports.summary import what_came_of_it
from flows.reports.tables import counted, time_text

__all__ = [
    "RUN_PAGE",
    "CostReport",
    "Estimate",
    "LiveProgress",
    "Page",
    "StepNames",
    "cost_json",
    "cost_report",
    "counted",
    "draw_mermaid",
    "error_json",
    "error_report",
    "estimate",
    "file_facts",
    "has_own_form",
    "location_text",
    "plan_page",
    "result_markdown",
    "run_page",
    "run_pages",
    "shape_of",
    "short_text",
    "shown_passage",
    "table_of",
    "time_text",
    "what_came_of_it",
]
