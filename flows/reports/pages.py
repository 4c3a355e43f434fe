"""The pages of a run as Markdown, for its Prefect artifacts; empty pages are left out."""

from collections.abc import Mapping
from dataclasses import dataclass

from flows.author import RunResult
from flows.planning import Plan
from flows.reports.cost import cost_markdown, cost_report
from flows.reports.error_page import error_markdown
from flows.reports.errors import error_report
from flows.reports.names import StepNames
from flows.reports.outcome_page import outcome_markdown
from flows.reports.plan_picture import plan_picture
from flows.reports.results import ReadFile, result_markdown
from flows.reports.timing import timing_markdown


@dataclass(frozen=True)
class Page:
    """One artifact: its key without the prefix, its description and its Markdown."""

    key: str
    description: str
    markdown: str


def plan_page(plan: Plan) -> Page:
    """The page that is shown when a run starts."""
    limit = f"At most {plan.limit.value} calls at once in the whole run.\n\n" if plan.limit.value is not None else ""
    resources = "".join(f"- resource {name}: {settled}\n" for name, settled in plan.all_resources.items())
    return Page("plan", "The plan of this run", f"{plan_picture(plan)}\n\n{limit}{resources}".rstrip())


def run_pages(
    plan: Plan, result: RunResult, *, spent: Mapping[str, float] | None = None, read: ReadFile | None = None
) -> list[Page]:
    """The pages that are made when a run has ended, except the first one; their keys are the same for every run.

    `read` reads the files of pictures among the outputs.
    """
    names = StepNames(plan).learn(result.outcomes)
    cost = cost_report(result.outcomes, late=result.late_cost, budget=plan.budget, before=spent, seconds=result.seconds)
    paid = cost.total or cost.budget
    outputs = result_markdown(result.output_records, result.output_fields, read=read) if result.output_fields else ""
    pages = [
        Page("result", "The result of the run", outputs),
        Page("errors", "Errors, with their causes and advice", error_markdown(error_report(result.outcomes), names)),
        Page("outcomes", "The outcome of every step", outcome_markdown(result, names)),
        Page(
            "timing",
            "The times of all steps, and the reasons for waiting",
            timing_markdown(result.outcomes, started=result.started, seconds=result.seconds, names=names),
        ),
        Page("cost", "The cost of the run per step", cost_markdown(cost) if paid else ""),
    ]
    return [page for page in pages if page.markdown]
