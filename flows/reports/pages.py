"""The pages of a run as Markdown, for its Prefect artifacts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from flows.author import Outcome, RunResult, cost_text
from flows.planning import Chain, Choice, FanIn, Group, Leaf, Loop, Node, Plan, Sub, node_children
from flows.reports.cost import cost_markdown, cost_report
from flows.reports.errors import error_markdown, error_report
from flows.reports.mermaid import draw_mermaid
from flows.reports.results import ReadFile, result_markdown
from flows.reports.tables import cell
from flows.reports.timing import timing_markdown

MAX_ROWS = 500


@dataclass(frozen=True)
class Page:
    """One artifact: its key without the prefix, its description and its Markdown."""

    key: str
    description: str
    markdown: str


def plan_page(plan: Plan) -> Page:
    """The page that is shown when a run starts."""
    return Page("plan", "What this run does", f"{plan_outline(plan)}\n\n```mermaid\n{draw_mermaid(plan)}\n```")


def run_pages(
    plan: Plan, result: RunResult, *, spent: Mapping[str, float] | None = None, read: ReadFile | None = None
) -> list[Page]:
    """The pages that are shown when a run has ended; their keys are the same for every run.

    `read` reads the files of pictures among the outputs.
    """
    cost = cost_report(result.outcomes, late=result.late_cost, budget=plan.budget, before=spent, seconds=result.seconds)
    chart = timing_markdown(result.outcomes, started=result.started, seconds=result.seconds)
    given = result_markdown(result.output_records, result.output_fields, read=read)
    return [
        Page("result", "The result of the run", given),
        Page("outcomes", "How every step ended", outcome_table(result)),
        Page("errors", "What went wrong, and what to do", error_markdown(error_report(result.outcomes))),
        Page("cost", "What the run cost, step by step", cost_markdown(cost)),
        Page("timing", "What ran when, and what the run waited for", chart),
    ]


def plan_outline(plan: Plan) -> str:
    """The steps of a plan as a nested list with the limits of its groups, since Prefect's UI does not draw Mermaid."""
    return "\n".join(_outline(plan.root, 0))


def _outline(node: Node, depth: int) -> Iterator[str]:
    indent, deeper = "  " * depth, depth + 1
    match node:
        case Leaf() if node.label != node.spec.name:
            yield f"{indent}- {node.label} ({node.spec.name})"
        case Leaf() | FanIn():
            yield f"{indent}- {node.label}"
        case Chain() if not node.own_outcome:
            deeper = depth
        case Chain():
            yield f"{indent}- in order:"
        case Group():
            how = "as soon as what they read is there" if node.derived else f"at once, at most {node.limit}"
            name = f"{node.label}: " if node.named else ""
            yield f"{indent}- **{name}{len(node.children)} {how}** ({node.policy.name}):"
        case Loop():
            yield f"{indent}- **{node.label}{node.batch_text}, at once at most {node.limit}**:"
        case Choice():
            yield f"{indent}- **the first case that holds**:"
        case Sub():
            yield f"{indent}- **pipeline {node.label}**:"
    for child in node_children(node):
        yield from _outline(child, deeper)


def outcome_table(result: RunResult) -> str:
    """Status and time of a run, then one row per step; if there are more than `MAX_ROWS`, only those that failed."""
    kept = [outcome for outcome in result.outcomes if outcome.kind != "item" or outcome.status != "succeeded"]
    if len(kept) > MAX_ROWS:
        kept = [outcome for outcome in kept if outcome.status != "succeeded"][:MAX_ROWS]
    lines = [
        f"**{result.pipeline}** {result.run_id}: **{result.status}** in {result.seconds:.1f} s; "
        f"{result.busy_seconds:.1f} s of steps side by side, at most {result.time_saved:.1f} s saved.",
        "",
        "| step | status | seconds | attempts | cost | why |",
        "|---|---|---:|---:|---|---|",
        *(_outcome_row(outcome) for outcome in kept),
    ]
    if result.failures:
        lines += ["", "| set aside | step | reason |", "|---|---|---|"]
        lines += [f"| {cell(f.item)} | {cell(f.step_id)} | {cell(f.error)} |" for f in result.failures[:MAX_ROWS]]
    return "\n".join(lines)


def _outcome_row(outcome: Outcome) -> str:
    cost = cost_text(outcome.cost)
    why = outcome.error.message if outcome.error else outcome.reason
    return (
        f"| {cell(outcome.id)} | {outcome.status} | {outcome.seconds:.2f} "
        f"| {outcome.attempts} | {cell(cost)} | {cell(why)} |"
    )
