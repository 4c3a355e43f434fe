"""The outcome of every step of a run: a row per step with the counts of its calls, unsuccessful steps first."""

from collections.abc import Sequence

from flows.author import RunResult
from flows.reports.names import StepNames
from flows.reports.summary import StepSummary, step_summaries
from flows.reports.tables import cell, counted, escaped, markdown_table, shortened, time_text

MAX_ROWS, _SHOWN_S = 300, 0.1
SIGNS = {
    "succeeded": "✓",
    "failed": "✗",
    "timed_out": "✗",
    "abandoned": "✗",
    "cancelled": "■",
    "skipped": "–",
}


def outcome_markdown(result: RunResult, names: StepNames) -> str:
    """Tables of the steps that failed, were stopped, succeeded and were not needed, and of the items set aside."""
    steps = step_summaries(result.outcomes)
    parts = (
        ("Failed", [step for step in steps if step.failed]),
        ("Stopped, or not started because of that", [step for step in steps if step.status == "cancelled"]),
        ("Succeeded", [step for step in steps if step.status == "succeeded"]),
    )
    lines = [f"**{result.pipeline}** `{result.run_id}` {result.status} in {time_text(result.seconds)}."]
    for title, found in parts:
        if found:
            lines += ["", f"### {SIGNS[found[0].status]} {title} ({len(found):,})", "", *_table(found, names)]
    skipped = [step for step in steps if step.status == "skipped"]
    if skipped:
        lines += ["", f"### – Not needed ({len(skipped):,})", ""]
        lines += [f"- `{names.step(s.path, s.calls[0].id)}`: {_condition(s.first_why)}" for s in skipped[:MAX_ROWS]]
    lines += _bad_groups(result, names)
    if result.failures:
        lines += ["", f"### Set aside ({len(result.failures):,})", ""]
        paths = {outcome.id: outcome.path for outcome in result.outcomes if outcome.is_leaf}
        for each in result.failures[:MAX_ROWS]:
            by = names.call(paths[each.step_id], each.step_id) if each.step_id in paths else each.step_id
            lines.append(f"- **{escaped(each.item)}**: {escaped(shortened(each.error, 400))} ({escaped(by)})")
        if len(result.failures) > MAX_ROWS:
            lines.append(f"- and {len(result.failures) - MAX_ROWS:,} more")
    return "\n".join(lines)


def _condition(why: str) -> str:
    """Why a step was not needed: `only if not xs` for one with a condition."""
    condition = why.removeprefix("when: ")
    return f"only if `{condition.replace('`', '')}`" if condition != why else escaped(why)


def _table(steps: Sequence[StepSummary], names: StepNames) -> list[str]:
    """A row per step. Columns without values are left out to save width; costs have their own page."""
    waits = any(call.waited_s >= _SHOWN_S for step in steps for call in step.calls if not call.reused)
    again = any(call.attempts != 1 or call.reused for step in steps for call in step.calls)
    whys = any(step.first_why or step.aside for step in steps)
    head = ["", "step", "calls >", "work >", *(["waited >"] if waits else []), *(["attempts >"] if again else [])]
    head += ["why"] if whys else []
    rows: list[list[str]] = []
    for step in steps[:MAX_ROWS]:
        calls = [call for call in step.calls if not call.reused]
        good = sum(call.status == step.status for call in step.calls)
        group = names.group(step.path)
        rows.append(
            [
                SIGNS[step.status],
                cell(names.step(step.path, step.calls[0].id)) + (f" ({cell(group)})" if group else ""),
                str(good) if good == len(step.calls) else f"{good} of {len(step.calls)}",
                time_text(sum(call.seconds for call in calls)),
                *([time_text(waited) if (waited := sum(call.waited_s for call in calls)) >= _SHOWN_S else ""] * waits),
                *([str(sum(call.attempts for call in calls)) if calls else "taken over"] * again),
                *([cell(_why(step))] if whys else []),
            ]
        )
    lines = markdown_table(head, rows)
    return [*lines, "", f"and {len(steps) - MAX_ROWS:,} more"] if len(steps) > MAX_ROWS else lines


def _why(step: StepSummary) -> str:
    aside = f"{counted(step.aside, 'item')} set aside" if step.aside else ""
    return "; ".join(part for part in (step.first_why, aside) if part)


def _bad_groups(result: RunResult, names: StepNames) -> list[str]:
    """The groups, loops and sub-pipelines that failed, and why."""
    bad = [
        outcome
        for outcome in result.outcomes
        if outcome.kind in ("group", "pipeline") and outcome.status in ("failed", "timed_out")
    ]
    if not bad:
        return []
    rows = [
        (cell(names.step(each.path, each.id)), each.status.replace("_", " "), cell(each.reason, most=400))
        for each in bad[:MAX_ROWS]
    ]
    return ["", f"### ✗ Groups that failed ({len(bad):,})", "", *markdown_table(("group", "ended", "why"), rows)]
