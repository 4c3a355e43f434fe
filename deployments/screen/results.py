"""The result of a finished run, as tables and as JSON, with its steps, failures and cost."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from rich.console import Group as Rows
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from deployments.screen.outputs import output_parts
from deployments.screen.tables import STATUS_STYLE, plain_table
from flows.author import Outcome, RunResult, add_up, cost_text, outputs_json
from flows.reports import CostReport, cost_json, cost_report, error_json, error_report


def result_json(result: RunResult, *, index: str) -> dict[str, Any]:
    return {
        "run_id": result.run_id,
        "pipeline": result.pipeline,
        "index": index,
        "status": result.status,
        "started": result.started,
        "seconds": result.seconds,
        "busy_seconds": result.busy_seconds,
        "waited_seconds": result.waited_seconds,
        "time_saved": result.time_saved,
        "cost": result.cost,
        "stopped": result.stopped,
        "fingerprint": result.fingerprint,
        **outputs_json(result.output_records),
        "outcomes": [
            {name: value for name, value in asdict(outcome).items() if name not in ("items", "tries", "size")}
            | {"waited_s": outcome.waited_s}
            for outcome in result.outcomes
        ],
        "failures": [asdict(failure) for failure in result.failures],
        "errors": error_json(error_report(result.outcomes)),
        "costs": cost_json(cost_report(result.outcomes, late=result.late_cost)),
        **{name: result.context.data[name] for name in ("balance", "index_version") if name in result.context.data},
    }


def result_tables(result: RunResult) -> RenderableType:
    """The status, a row per step, the cost, everything that failed or was set aside, and the outputs."""
    parts: list[RenderableType] = [
        Text.assemble(
            (f"{result.pipeline} ", "bold"),
            f"{result.run_id}: ",
            (result.status, STATUS_STYLE[result.status]),
            f" in {result.seconds:.1f} s; its steps worked {result.busy_seconds:.1f} s in all, so running in parallel "
            f"saved at most {result.time_saved:.1f} s",
        ),
        step_table(result.outcomes),
    ]
    parts += cost_table(cost_report(result.outcomes, late=result.late_cost))
    parts += failure_tables(result.outcomes)
    if result.stopped:
        parts += [Text(""), Text(result.stopped, "bold red")]
    # Last, so that the result is directly above the prompt.
    return Rows(*parts, *output_parts(result.output_records, result.output_fields))


def step_table(outcomes: Iterable[Outcome]) -> Table:
    """A row per step: number of calls, status, total seconds, longest call, cost."""
    numbers = ("runs", "seconds", "longest", "waited", "attempts")
    table = plain_table("step", "runs", "ended", "seconds", "longest", "waited", "attempts", "cost", right=numbers)
    by_step: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.is_leaf:
            by_step.setdefault(outcome.step, []).append(outcome)
    for step, ended in by_step.items():
        statuses = {
            status: sum(1 for o in ended if o.status == status) for status in dict.fromkeys(o.status for o in ended)
        }
        words = Text(", ").join(
            Text(status if len(statuses) == 1 else f"{count} {status}", STATUS_STYLE[status])
            for status, count in statuses.items()
        )
        cost = add_up(outcome.cost for outcome in ended)
        table.add_row(
            Text(step),
            str(len(ended)),
            words,
            f"{sum(o.seconds for o in ended):.2f}",
            f"{max(o.seconds for o in ended):.2f}",
            f"{sum(o.waited_s for o in ended):.2f}",
            str(sum(o.attempts for o in ended)),
            Text(cost_text(cost)),
        )
    return table


def failure_tables(outcomes: Iterable[Outcome]) -> list[RenderableType]:
    """Failures and items set aside, grouped by cause, each with a cure; empty when there are none."""
    report = error_report(outcomes)
    if not report.summary:
        return []
    table = plain_table("count", "cause", "where", "again?", "advice", right=("count",), overflow="fold")
    for cause in report.causes:
        set_aside = cause.kind == "set aside"
        example = f"{cause.example_item}: {cause.example}" if set_aside else cause.example
        text = Text.assemble((cause.kind, "yellow" if set_aside else "red"), f"\n{example}")
        table.add_row(
            str(cause.count),
            text,
            Text(f"{', '.join(cause.steps)}\npath {cause.example_path}"),
            "" if set_aside else "yes" if cause.retryable else "no",
            Text(cause.hint),
        )
    parts: list[RenderableType] = [Text(""), Text(report.summary, "bold red"), table]
    if report.never_started:
        parts.append(Text(f"{report.never_started} step(s) did not start because of it.", "dim"))
    return parts


def cost_table(report: CostReport) -> list[RenderableType]:
    """The cost of a run by group and step; empty when nothing was reported."""
    rows = [*report.groups, *report.steps]
    if not rows and not report.budget:
        return []
    table = plain_table("cost of", "calls", "cost", "of that in failed steps", right=("calls",))
    for row in rows:
        table.add_row(
            Text(row.id, "" if row.kind == "step" else "dim"),
            str(row.calls),
            Text(cost_text(row.cost)),
            Text(cost_text(row.in_vain)),
        )
    total = f"Cost: {cost_text(report.total) or 'nothing'}"
    if report.late:
        total += f" ({cost_text(report.late)} of it late, by calls that had been abandoned)"
    if report.budget:
        total += f"; the budget was {cost_text(report.budget)}"
    return [Text(""), Text(total, "bold"), *([table] if rows else [])]
