"""A run as Markdown: what its Prefect artifacts show."""

from flows.results import Outcome, RunResult

_MARKS = {
    "succeeded": "✅", "failed": "❌", "timed_out": "⏱️", "cancelled": "⛔", "abandoned": "👻", "skipped": "⏭️",
}  # fmt: skip


def outcome_table(result: RunResult, *, most: int = 500) -> str:
    """Status, time and cost of a run, then a row a step; beyond `most` rows, those that succeeded are left out."""
    kept = [outcome for outcome in result.outcomes if outcome.kind != "item" or outcome.status != "succeeded"]
    if len(kept) > most:
        kept = [outcome for outcome in kept if outcome.status != "succeeded"][:most]
    lines = [
        f"**{result.pipeline}** {result.run_id}: **{result.status}** in {result.seconds:.1f} s; "
        f"{result.busy_seconds:.1f} s of work side by side, {result.time_saved:.1f} s saved.",
        "",
        "| | step | status | seconds | attempts | cost | why |",
        "|---|---|---|---:|---:|---|---|",
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
        f"| {_MARKS[outcome.status]} | {_cell(outcome.id)} | {outcome.status} | {outcome.seconds:.2f} "
        f"| {outcome.attempts} | {_cell(cost)} | {_cell(why)} |"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")[:200]
