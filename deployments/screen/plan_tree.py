"""A plan as a tree of steps and limits with their origins; and an estimate of a run in words."""

from collections.abc import Iterator
from typing import assert_never

from rich.console import RenderableType
from rich.text import Text
from rich.tree import Tree

from flows.author import cost_text
from flows.model import Retry
from flows.planning import Chain, Choice, FanIn, Group, Leaf, Limit, Loop, Node, Plan, Sub, node_children
from flows.reports import Estimate


def plan_tree(plan: Plan) -> RenderableType:
    """The steps of a plan with their limits (and the origin of each), retries, timeouts, reads and writes."""
    head = Text.assemble((plan.pipeline.name, "bold"), (f"  {plan.pipeline.description}", "dim"))
    tree = Tree(head, guide_style="dim")
    limit, timeout = (_limit_text(plan.limit), "cyan"), _timeout_text(plan.pipeline.timeout_s)
    facts = tree.add(Text.assemble("whole run: ", limit, timeout))
    if plan.task_runner.name != "threads":
        facts.add(Text.assemble("sync handlers run on: ", (str(plan.task_runner), "cyan")))
    usual = plan.pipeline.retry or Retry()
    if usual.max_attempts > 1:
        facts.add(Text(f"every step: {_attempts_text(usual)}, for transient failures only", "cyan"))
    for name, settled in plan.all_resources.items():
        facts.add(Text.assemble(f"resource {name}: ", (str(settled), "cyan")))
    if plan.retry_budget is not None:
        facts.add(Text.assemble("retries of the whole run: at most ", (str(plan.retry_budget), "cyan")))
    for node in visible_roots(plan):
        _add_step(tree, node, usual)
    return tree


def moved_steps(plan: Plan) -> list[str]:
    """A line per step of each group that `mode: dag` derived: which steps it waits for, and why."""
    return [line for node in plan.nodes if isinstance(node, Group) and node.derived for line in node.why]


def estimate_text(found: Estimate | None, pipeline: str) -> Text:
    """The probable time and cost of a run, its critical path, and the time that parallel steps save."""
    if found is None:
        return Text(f"Time and cost: no recorded runs of {pipeline} yet.", "dim")
    lines = [
        f"From {found.runs} recorded run(s): {found.seconds_p50:.2f} s at the median (p90 {found.seconds_p90:.2f} s); "
        f"in order {found.in_order_s:.2f} s, so running in parallel saves about "
        f"{max(0.0, found.in_order_s - found.seconds_p50):.2f} s."
    ]
    if found.cost_p50:
        lines.append(f"Cost: {cost_text(found.cost_p50)} at the median (p90 {cost_text(found.cost_p90)}).")
    lines.append(f"Critical path: {' → '.join(found.critical_path) or 'nothing takes time'}")
    for group in found.groups:
        if not group.worth_it:
            lines.append(
                f"Hardly worth running in parallel: {group.id} saves {group.saved_s * 1000:.0f} ms, less than 100 ms"
            )
        elif group.short_branches:
            lines.append(f"Shorter than 100 ms in {group.id}: {', '.join(group.short_branches)}")
    lines += found.batches
    if found.unknown:
        lines.append(f"Not in any recorded run, so counted as 0 s: {', '.join(found.unknown)}")
    return Text("\n".join(lines))


def visible_roots(plan: Plan) -> list[Node]:
    """The nodes at the top of the tree."""
    return [plan.root] if isinstance(plan.root, Group) else list(visible_children(plan.root))


def _add_step(tree: Tree, node: Node, usual: Retry) -> None:
    branch = tree.add(_step_text(node, usual))
    if not isinstance(node, Choice):
        for child in visible_children(node):
            _add_step(branch, child, usual)
        return
    for condition, case in node.cases:
        inside = branch.add(Text(f"when {condition}" if condition is not None else "otherwise", "italic"))
        for child in visible_children(case):
            _add_step(inside, child, usual)


def visible_children(node: Node) -> Iterator[Node]:
    """The nodes below a node; the list of steps of a pipeline or an item is not a separate level."""
    for child in node_children(node):
        if isinstance(child, Chain) and not child.own_outcome:
            yield from visible_children(child)
        else:
            yield child


def _step_text(node: Node, usual: Retry) -> Text:
    text = Text()
    if node.path:
        text.append(f"{node.path} ", "dim")
    match node:
        case Leaf():
            text.append(node.label, "bold")
            if node.label != node.spec.name:
                text.append(f" ({node.spec.name})", "dim")
            text.append(f"  {_reads_text(node)} → {', '.join(sorted(node.writes.values())) or '·'}")
            if node.spec.effects:
                text.append(f"  changes {', '.join(sorted(node.spec.effects))}", "magenta")
            if node.retry != usual:
                text.append(f"  {_attempts_text(node.retry)}", "cyan")
            if node.uses:
                text.append(f"  uses {', '.join(node.uses)}", "cyan")
            if node.spec.isolation == "process":
                text.append("  own process", "cyan")
        case Group():
            derived = "order derived from reads and writes" if node.derived else f"policy {node.policy.name}"
            text.append(node.label if node.named else "parallel", "bold green")
            text.append(f"  {_limit_text(node.limit)}", "cyan")
            text.append(f"  {derived}" + (f", merged by {node.merge.strategy}" if node.merge else ""))
        case Loop():
            text.append(node.label, "bold green")
            text.append(node.batch_text)
            text.append(f"  {_limit_text(node.limit)}", "cyan")
            if node.tolerated is not None:
                share = f"{node.tolerated.ratio:.0%}" if node.tolerated.ratio is not None else f"{node.tolerated.count}"
                text.append(f"  {share} may fail")
        case FanIn():
            text.append(node.label, "bold")
            text.append(f"  {node.group or ', '.join(node.inputs)} → {node.merge.output}")
        case Sub():
            text.append(f"pipeline {node.label}", "bold green")
        case Chain():
            text.append(node.label, "bold")
        case Choice():
            text.append("switch: the first case that holds", "bold")
        case _:
            assert_never(node)
    text.append(_timeout_text(node.timeout_s))
    if node.when is not None:
        text.append(f"  when {node.when}", "italic")
    if not node.enabled:
        text.append("  not enabled", "yellow")
    return text


def _reads_text(leaf: Leaf) -> str:
    required = {read.name: read.required for read in leaf.spec.reads or ()}
    names = [field if required.get(name, True) else f"{field}?" for name, field in leaf.reads.items()]
    if leaf.spec.reads is None:
        return "context"
    return ", ".join(names) or "·"


def _limit_text(limit: Limit) -> str:
    return f"at most {limit}" if limit.value is not None else str(limit)


def _attempts_text(retry: Retry) -> str:
    if retry.max_attempts == 1:
        return "one attempt"
    within = f", each within {retry.attempt_timeout_s:g} s" if retry.attempt_timeout_s is not None else ""
    return f"up to {retry.max_attempts} attempts, first after {retry.delay_s:g} s, {retry.backoff}{within}"


def _timeout_text(timeout_s: float | None) -> Text:
    return Text(f"  within {timeout_s:g} s" if timeout_s is not None else "", "cyan")
