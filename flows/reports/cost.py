"""The cost of a run: by step, by group and branch, by item, and the share spent by failed steps."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from flows.author import Outcome, add_up, cost_text
from flows.model import StepPath
from flows.reports.tables import cell, markdown_table

MAX_ROWS, MAX_ITEMS = 200, 30


@dataclass(frozen=True)
class CostRow:
    """The cost of one step, group, branch or item, including everything inside it."""

    path: str
    id: str
    kind: str
    calls: int
    cost: dict[str, float]
    in_vain: dict[str, float]
    """The cost of the calls that did not succeed."""


@dataclass(frozen=True)
class CostReport:
    """The cost of a run; the costs of the steps add up to the total without the late cost."""

    total: dict[str, float]
    in_vain: dict[str, float]
    late: dict[str, float]
    """The cost that calls reported after the engine gave them up; included in the total."""
    steps: tuple[CostRow, ...]
    """One row per step, all its items together, in declared order."""
    groups: tuple[CostRow, ...]
    """Groups, loops, sub-pipelines and branches of several steps, outer ones first."""
    items: tuple[CostRow, ...]
    """Items or batches of loops."""
    budget: dict[str, float] = field(default_factory=dict[str, float])
    seconds: float = 0.0
    before: dict[str, float] = field(default_factory=dict[str, float])
    """The cost of the earlier runs that this one resumes; it counts for the budget."""


def cost_report(
    outcomes: Iterable[Outcome],
    *,
    late: Mapping[str, float] | None = None,
    budget: Mapping[str, float] | None = None,
    before: Mapping[str, float] | None = None,
    seconds: float = 0.0,
) -> CostReport:
    """Add up the costs of the steps, including failed, cancelled and abandoned ones."""
    listed = tuple(outcomes)
    paid = [outcome for outcome in listed if outcome.is_leaf and outcome.cost and not outcome.reused]
    inside = _paid_inside(paid)
    rows = {
        outcome.path: _cost_row(outcome, inside[outcome.path])
        for outcome in listed
        if not outcome.is_leaf and outcome.path in inside
    }
    steps: dict[str, list[Outcome]] = {}
    for outcome in paid:
        steps.setdefault(outcome.step, []).append(outcome)
    return CostReport(
        total=add_up([*(outcome.cost for outcome in paid), late or {}]),
        in_vain=_cost_in_vain(paid),
        late=dict(late or {}),
        steps=tuple(
            CostRow(
                calls[0].path.plain,
                step,
                "step",
                sum(o.attempts for o in calls),
                add_up(o.cost for o in calls),
                _cost_in_vain(calls),
            )
            for step, calls in steps.items()
        ),
        groups=tuple(row for row in rows.values() if row.kind != "item"),
        items=tuple(row for row in rows.values() if row.kind == "item"),
        budget=dict(budget or {}),
        seconds=seconds,
        before=dict(before or {}),
    )


def _paid_inside(paid: Iterable[Outcome]) -> dict[StepPath, list[Outcome]]:
    """The steps with a cost, by every path that encloses them."""
    found: dict[StepPath, list[Outcome]] = {}
    for outcome in paid:
        for path in outcome.path.around:
            found.setdefault(path, []).append(outcome)
    return found


def _cost_row(outcome: Outcome, inside: list[Outcome]) -> CostRow:
    return CostRow(
        outcome.path,
        outcome.id,
        outcome.kind,
        sum(o.attempts for o in inside),
        add_up(o.cost for o in inside),
        _cost_in_vain(inside),
    )


def _cost_in_vain(outcomes: Iterable[Outcome]) -> dict[str, float]:
    return add_up(outcome.cost for outcome in outcomes if outcome.status != "succeeded")


def cost_json(report: CostReport) -> dict[str, Any]:
    """The report as plain data."""
    return asdict(report)


def cost_markdown(report: CostReport) -> str:
    """The report as Markdown; only the costliest items are listed, money before other units."""
    if not report.total and not report.budget:
        return "No step of this run reported a cost."
    lines = [f"This run cost **{cell(cost_text(report.total) or 'nothing')}**."]
    if report.in_vain:
        lines[0] += f" Of that, {cell(cost_text(report.in_vain))} went into steps that did not succeed."
    if report.late:
        lines[0] += f" {cell(cost_text(report.late))} was reported late, by calls that had been abandoned."
    if report.budget:
        used = {**report.total, "seconds": report.seconds}
        rows = [
            (
                unit,
                _amount(amount),
                _amount(used.get(unit, 0.0) + report.before.get(unit, 0.0)),
                _amount(report.before.get(unit, 0.0)),
            )
            for unit, amount in report.budget.items()
        ]
        lines += ["", *markdown_table(("budget", "allowed >", "used >", "of that by earlier runs >"), rows)]
    for title, rows in (("step", report.steps), ("group or branch", report.groups)):
        if rows:
            lines += ["", *_table(title, rows[:MAX_ROWS])]
    if report.items:
        dearest = sorted(report.items, key=lambda row: _money_first(row.cost), reverse=True)[:MAX_ITEMS]
        head = (
            f"The {len(dearest)} costliest of {len(report.items)} items" if len(report.items) > MAX_ITEMS else "Items"
        )
        lines += ["", f"{head}:", "", *_table("item", dearest)]
    return "\n".join(lines)


def _table(title: str, rows: Iterable[CostRow]) -> list[str]:
    return markdown_table(
        (title, "calls >", "cost", "of that in failed steps"),
        [(cell(row.id), str(row.calls), cell(cost_text(row.cost)), cell(cost_text(row.in_vain))) for row in rows],
    )


def _money_first(cost: Mapping[str, float]) -> tuple[float, float]:
    return cost.get("usd", 0.0) + cost.get("eur", 0.0), sum(cost.values())


def _amount(amount: float) -> str:
    return f"{amount:,.6g}"
