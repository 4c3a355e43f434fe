"""A run as Markdown: what its Prefect artifacts show."""

from collections.abc import Iterator

from flows.plan import Chain, Choice, FanIn, Group, Leaf, Loop, Node, Plan, Sub, node_children
from flows.results import Outcome, RunResult


def plan_outline(plan: Plan) -> str:
    """The steps of a plan as a nested list with the limits of its groups; Prefect's UI draws no Mermaid."""
    return "\n".join(_outline(plan.root, 0))


def _outline(node: Node, depth: int) -> Iterator[str]:
    indent, deeper = "  " * depth, depth + 1
    match node:
        case Leaf() | FanIn():
            yield f"{indent}- {node.label}"
        case Chain() if not node.own_outcome:
            deeper = depth
        case Chain():
            yield f"{indent}- in order:"
        case Group():
            how = "as soon as what they read is there" if node.derived else f"at once, at most {node.limit}"
            yield f"{indent}- **{len(node.children)} {how}** ({node.policy.name}):"
        case Loop():
            batch = f", {node.batch_size} a batch" if node.batch_size else ""
            yield f"{indent}- **{node.label}{batch}, at once at most {node.limit}**:"
        case Choice():
            yield f"{indent}- **the first case that holds**:"
        case Sub():
            yield f"{indent}- **pipeline {node.label}**:"
    for child in node_children(node):
        yield from _outline(child, deeper)


def outcome_table(result: RunResult, *, most: int = 500) -> str:
    """Status, time and cost of a run, then a row a step; beyond `most` rows, those that succeeded are left out."""
    kept = [outcome for outcome in result.outcomes if outcome.kind != "item" or outcome.status != "succeeded"]
    if len(kept) > most:
        kept = [outcome for outcome in kept if outcome.status != "succeeded"][:most]
    lines = [
        f"**{result.pipeline}** {result.run_id}: **{result.status}** in {result.seconds:.1f} s; "
        f"{result.busy_seconds:.1f} s of steps side by side, at most {result.time_saved:.1f} s saved.",
        "",
        "| step | status | seconds | attempts | cost | why |",
        "|---|---|---:|---:|---|---|",
        *(_row(outcome) for outcome in kept),
    ]
    if result.failures:
        lines += ["", "| set aside | step | reason |", "|---|---|---|"]
        lines += [f"| {_cell(f.item)} | {_cell(f.step_id)} | {_cell(f.error)} |" for f in result.failures[:most]]
    return "\n".join(lines)


def _row(outcome: Outcome) -> str:
    cost = ", ".join(f"{amount:g} {unit}" for unit, amount in outcome.cost.items())
    why = outcome.error.message if outcome.error else outcome.reason
    return (
        f"| {_cell(outcome.id)} | {outcome.status} | {outcome.seconds:.2f} "
        f"| {outcome.attempts} | {_cell(cost)} | {_cell(why)} |"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")[:200]
