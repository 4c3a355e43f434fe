"""What people see: a plan as a tree, a run as tables."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, assert_never

from rich.console import Group as Rows
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from flows.author import Outcome, RunResult, add_up, cost_text
from flows.model import Retry
from flows.planning import Chain, Choice, FanIn, Group, Leaf, Limit, Loop, Node, Plan, Sub, node_children
from flows.reports import CostReport, Estimate, cost_json, cost_report, error_json, error_report

STATUS_STYLE = {
    "succeeded": "green",
    "partial": "yellow",
    "failed": "bold red",
    "timed_out": "red",
    "cancelled": "yellow",
    "abandoned": "magenta",
    "skipped": "dim",
    "running": "cyan",
    "interrupted": "yellow",
}


def plan_tree(plan: Plan) -> RenderableType:
    """The steps of a plan with their limits and where each came from, retries, timeouts, reads and writes."""
    head = Text.assemble((plan.pipeline.name, "bold"), (f"  {plan.pipeline.description}", "dim"))
    tree = Tree(head, guide_style="dim")
    facts = tree.add(Text.assemble("whole run: ", (_limit(plan.limit), "cyan"), _timeout(plan.pipeline.timeout_s)))
    if plan.task_runner.name != "threads":
        facts.add(Text.assemble("sync handlers run on: ", (str(plan.task_runner), "cyan")))
    usual = plan.pipeline.retry or Retry()
    if usual.max_attempts > 1:
        facts.add(Text(f"every step: {_attempts(usual)}, only for what may pass by itself", "cyan"))
    for name, settled in plan.all_resources.items():
        facts.add(Text.assemble(f"resource {name}: ", (str(settled), "cyan")))
    if plan.retry_budget is not None:
        facts.add(Text.assemble("retries of the whole run: at most ", (str(plan.retry_budget), "cyan")))
    for node in _roots(plan):
        _add(tree, node, usual)
    return tree


def moved_steps(plan: Plan) -> list[str]:
    """For every group that `mode: dag` derived, what each step waits for and why."""
    return [line for node in plan.nodes if isinstance(node, Group) and node.derived for line in node.why]


def plan_json(plan: Plan) -> dict[str, Any]:
    return {
        "pipeline": plan.pipeline.name,
        "description": plan.pipeline.description,
        "mode": plan.pipeline.mode,
        "fingerprint": plan.fingerprint,
        "limit": _limit_json(plan.limit),
        "task_runner": asdict(plan.task_runner),
        "resources": {
            name: one.resource.model_dump() | {"origins": dict(one.origins), "shared_as": sorted(one.shared)}
            for name, one in plan.all_resources.items()
        },
        "retry_budget": plan.retry_budget.model_dump() if plan.retry_budget is not None else None,
        "timeout_s": plan.pipeline.timeout_s,
        "steps": [_node_json(node) for node in _roots(plan)],
        "derived": moved_steps(plan),
        "warnings": [str(problem) for problem in plan.warnings],
    }


def result_json(result: RunResult, *, index: str) -> dict[str, Any]:
    return {
        "run_id": result.run_id,
        "pipeline": result.pipeline,
        "index": index,
        "status": result.status,
        "started": result.started,
        "seconds": result.seconds,
        "busy_seconds": result.busy_seconds,
        "time_saved": result.time_saved,
        "cost": result.cost,
        "stopped": result.stopped,
        "fingerprint": result.fingerprint,
        "outcomes": [
            {name: value for name, value in asdict(outcome).items() if name != "items"} for outcome in result.outcomes
        ],
        "failures": [asdict(failure) for failure in result.failures],
        "errors": error_json(error_report(result.outcomes)),
        "costs": cost_json(cost_report(result.outcomes, late=result.late_cost)),
    }


def result_tables(result: RunResult, plan_labels: Mapping[str, str] | None = None) -> RenderableType:
    """Status, per-step times, and what failed or was set aside."""
    parts: list[RenderableType] = [
        Text.assemble(
            (f"{result.pipeline} ", "bold"),
            f"{result.run_id}: ",
            (result.status, STATUS_STYLE[result.status]),
            f" in {result.seconds:.1f} s; its steps add up to {result.busy_seconds:.1f} s, so running side by side "
            f"saved at most {result.time_saved:.1f} s",
        ),
        step_table(result.outcomes),
    ]
    parts += cost_table(cost_report(result.outcomes, late=result.late_cost))
    parts += failure_tables(result.outcomes)
    if result.stopped:
        parts += [Text(""), Text(result.stopped, "bold red")]
    return Rows(*parts)


def step_table(outcomes: Iterable[Outcome]) -> Table:
    """A row a step: how often it ran and how it ended, its seconds added up, the longest call, the cost."""
    table = Table(title=None, header_style="bold", box=None, pad_edge=False)
    table.add_column("step")
    for name in ("runs", "ended", "seconds", "longest", "attempts", "cost"):
        table.add_column(name, justify="left" if name in ("ended", "cost") else "right")
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
            str(sum(o.attempts for o in ended)),
            Text(cost_text(cost)),
        )
    return table


def failure_tables(outcomes: Iterable[Outcome]) -> list[RenderableType]:
    """What failed or was set aside, grouped by cause, with what to do; empty when there is nothing."""
    report = error_report(outcomes)
    if not report.summary:
        return []
    table = Table(header_style="bold", box=None, pad_edge=False)
    table.add_column("count", justify="right")
    for name in ("cause", "where", "again?", "what to do"):
        table.add_column(name, overflow="fold")
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
    table = Table(header_style="bold", box=None, pad_edge=False)
    for name in ("cost of", "calls", "cost", "of that in vain"):
        table.add_column(name, justify="right" if name == "calls" else "left")
    for row in rows:
        table.add_row(
            Text(row.id, "" if row.kind == "step" else "dim"),
            str(row.calls),
            Text(cost_text(row.cost)),
            Text(cost_text(row.in_vain)),
        )
    total = f"Cost: {cost_text(report.total) or 'nothing'}"
    if report.late:
        total += f" ({cost_text(report.late)} of it late, by calls that had been given up)"
    if report.budget:
        total += f"; the budget was {cost_text(report.budget)}"
    return [Text(""), Text(total, "bold"), *([table] if rows else [])]


def estimate_text(found: Estimate | None, pipeline: str) -> Text:
    """What a run will probably take and cost, its critical path, and what running side by side saves."""
    if found is None:
        return Text(f"Time and cost: no recorded runs of {pipeline} yet.", "dim")
    lines = [
        f"From {found.runs} recorded run(s): {found.seconds_p50:.2f} s at the median (p90 {found.seconds_p90:.2f} s); "
        f"in order {found.in_order_s:.2f} s, so running side by side saves about "
        f"{max(0.0, found.in_order_s - found.seconds_p50):.2f} s."
    ]
    if found.cost_p50:
        lines.append(f"Cost: {cost_text(found.cost_p50)} at the median (p90 {cost_text(found.cost_p90)}).")
    lines.append(f"Critical path: {' → '.join(found.critical_path) or 'nothing takes time'}")
    for group in found.groups:
        if not group.worth_it:
            lines.append(f"Not worth it: {group.id} saves {group.saved_s * 1000:.0f} ms, less than 100 ms")
        elif group.short_branches:
            lines.append(f"Shorter than 100 ms in {group.id}: {', '.join(group.short_branches)}")
    if found.unknown:
        lines.append(f"Not in any recorded run, counted as nothing: {', '.join(found.unknown)}")
    return Text("\n".join(lines))


def _roots(plan: Plan) -> list[Node]:
    return [plan.root] if isinstance(plan.root, Group) else list(_shown_children(plan.root))


def _add(tree: Tree, node: Node, usual: Retry) -> None:
    branch = tree.add(_described(node, usual))
    if not isinstance(node, Choice):
        for child in _shown_children(node):
            _add(branch, child, usual)
        return
    for condition, case in node.cases:
        inside = branch.add(Text(f"when {condition}" if condition is not None else "otherwise", "italic"))
        for child in _shown_children(case):
            _add(inside, child, usual)


def _shown_children(node: Node) -> Iterator[Node]:
    """What stands below a node on the page: the list of steps of a pipeline or an item is no level of its own."""
    for child in node_children(node):
        if isinstance(child, Chain) and not child.own_outcome:
            yield from _shown_children(child)
        else:
            yield child


def _described(node: Node, usual: Retry) -> Text:
    text = Text()
    if node.path:
        text.append(f"{node.path} ", "dim")
    match node:
        case Leaf():
            text.append(node.label, "bold")
            text.append(f"  {_reads(node)} → {', '.join(sorted(node.writes.values())) or '·'}")
            if node.spec.effects:
                text.append(f"  changes {', '.join(sorted(node.spec.effects))}", "magenta")
            if node.retry != usual:
                text.append(f"  {_attempts(node.retry)}", "cyan")
            if node.uses:
                text.append(f"  uses {', '.join(node.uses)}", "cyan")
            if node.spec.isolation == "process":
                text.append("  own process", "cyan")
        case Group():
            derived = "order derived from reads and writes" if node.derived else f"policy {node.policy.name}"
            text.append("parallel" if node.label.startswith("Parallel(") else node.label, "bold green")
            text.append(f"  {_limit(node.limit)}", "cyan")
            text.append(f"  {derived}" + (f", merged by {node.merge.strategy}" if node.merge else ""))
        case Loop():
            text.append(node.label, "bold green")
            text.append(f", batches of {node.batch_size}" if node.batch_size else "")
            text.append(f"  {_limit(node.limit)}", "cyan")
            if node.tolerated is not None:
                share = f"{node.tolerated.ratio:.0%}" if node.tolerated.ratio is not None else f"{node.tolerated.count}"
                text.append(f"  {share} may fail")
        case FanIn():
            text.append(node.label, "bold")
            text.append(f"  {node.source or ', '.join(node.inputs)} → {node.merge.output}")
        case Sub():
            text.append(f"pipeline {node.label}", "bold green")
        case Chain():
            text.append(node.label, "bold")
        case Choice():
            text.append("switch: the first case that holds", "bold")
        case _:
            assert_never(node)
    text.append(_timeout(node.timeout_s))
    if node.when is not None:
        text.append(f"  when {node.when}", "italic")
    if not node.enabled:
        text.append("  not enabled", "yellow")
    return text


def _reads(leaf: Leaf) -> str:
    required = {read.name: read.required for read in leaf.spec.reads or ()}
    names = [field if required.get(name, True) else f"{field}?" for name, field in leaf.reads.items()]
    if leaf.spec.reads is None:
        return "context"
    return ", ".join(names) or "·"


def _limit(limit: Limit) -> str:
    return f"at most {limit}" if limit.value is not None else str(limit)


def _attempts(retry: Retry) -> str:
    if retry.max_attempts == 1:
        return "one attempt"
    within = f", each within {retry.attempt_timeout_s:g} s" if retry.attempt_timeout_s is not None else ""
    return f"up to {retry.max_attempts} attempts, first after {retry.delay_s:g} s, {retry.backoff}{within}"


def _timeout(timeout_s: float | None) -> Text:
    return Text(f"  within {timeout_s:g} s" if timeout_s is not None else "", "cyan")


def _limit_json(limit: Limit) -> dict[str, Any]:
    return {"value": limit.value, "origin": limit.origin}


def _node_json(node: Node) -> dict[str, Any]:
    found: dict[str, Any] = {
        "path": node.path,
        "id": node.id,
        "label": node.label,
        "timeout_s": node.timeout_s,
        "when": node.when,
        "enabled": node.enabled,
    }
    match node:
        case Leaf():
            found |= {
                "type": "handler",
                "handler": node.spec.name,
                "options": dict(node.options),
                "reads": dict(node.reads),
                "writes": dict(node.writes),
                "effects": sorted(node.spec.effects or ()),
                "retry": node.retry.model_dump(),
                "uses": list(node.uses),
            }
        case Group():
            found |= {
                "type": "parallel",
                "max_concurrency": _limit_json(node.limit),
                "policy": node.policy.name,
                "derived": node.derived,
                "after": [sorted(waits) for waits in node.after],
            }
        case Loop():
            found |= {
                "type": "for_each",
                "over": node.over,
                "as": node.item_name,
                "batch_size": node.batch_size,
                "max_concurrency": _limit_json(node.limit),
                "max_items": node.max_items,
            }
        case FanIn():
            found |= {
                "type": "merge_results",
                "from": node.source,
                "inputs": list(node.inputs),
                "strategy": node.merge.strategy,
                "output": node.merge.output,
            }
        case Sub():
            found |= {"type": "pipeline"}
        case Chain():
            found |= {"type": "sequential"}
        case Choice():
            cases = [
                {"when": when, "steps": [_node_json(child) for child in _shown_children(case)]}
                for when, case in node.cases
            ]
            return found | {"type": "switch", "cases": cases}
        case _:
            assert_never(node)
    children = [_node_json(child) for child in _shown_children(node)]
    return found | ({"steps": children} if children else {})
