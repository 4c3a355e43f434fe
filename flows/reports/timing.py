"""When each step ran: the critical path of a run, the time that parallelism saved, and a chart of characters."""

from collections.abc import Iterable, Sequence

from flows.author import Outcome
from flows.model import StepPath
from flows.reports.critical_path import Link, critical_path, end_time
from flows.reports.tables import shortened

WIDTH = 100
MAX_ROWS, MAX_PATH_STEPS = 60, 8
_LABEL, _FACTS = 34, 18
# Plain ASCII, since in the fonts of browsers block characters are wider than others, so columns would not be aligned.
_BUSY, _CRITICAL, _FAILED = "=", "#", "x"


def timing_markdown(outcomes: Iterable[Outcome], *, started: float, seconds: float) -> str:
    """A chart of the steps over time in a code block, with the critical path and the time saved."""
    listed = tuple(outcomes)
    listed = tuple(outcome for outcome in listed if not outcome.reused)
    ran = [outcome for outcome in listed if outcome.is_leaf and outcome.started is not None]
    if not ran:
        return "No step of this run started."
    path = critical_path(listed, started=started)
    busy = sum(outcome.seconds for outcome in ran)
    waited = sum(link.waited_s for link in path)
    idle = sum(outcome.waited_s for outcome in ran)
    lines = [
        f"The run took **{_time_text(seconds)}**; its steps worked {_time_text(busy)} in all "
        f"and waited {_time_text(idle)}, so running side by side "
        f"saved at most **{_time_text(max(0.0, busy - seconds))}** "
        f"({busy / seconds if seconds else 1:.1f} at once on average).",
        "",
        "```text",
        *_chart(listed, path, started=started, seconds=seconds),
        "```",
        "",
        f"`{_CRITICAL}` on the critical path, `{_BUSY}` beside it, `{_FAILED}` did not succeed. A row with a count "
        "is a step of a loop, all its items together.",
        "",
        f"**Critical path**: {_time_text(sum(link.worked_s for link in path))} in {len(path)} calls, "
        f"{_time_text(waited)} of waiting between them. To make the run faster, make these faster:",
        "",
        *_path_lines(path),
    ]
    return "\n".join(lines)


def _path_lines(path: Sequence[Link]) -> list[str]:
    total = sum(link.worked_s for link in path) or 1.0
    by_step: dict[str, list[Link]] = {}
    for link in path:
        by_step.setdefault(link.outcome.step, []).append(link)
    dearest = sorted(by_step.items(), key=lambda pair: -sum(link.worked_s for link in pair[1]))
    lines: list[str] = []
    for step, links in dearest[:MAX_PATH_STEPS]:
        spent = sum(link.worked_s for link in links)
        calls = f" in {len(links)} calls" if len(links) > 1 else ""
        lines.append(f"- `{step}`: {_time_text(spent)}{calls}, {spent / total:.0%} of it")
    if len(dearest) > MAX_PATH_STEPS:
        lines.append(f"- and {len(dearest) - MAX_PATH_STEPS} more steps")
    return lines


def _chart(outcomes: Sequence[Outcome], path: Sequence[Link], *, started: float, seconds: float) -> list[str]:
    """One row per step, the steps of a group below the group; at most `WIDTH` characters wide."""
    critical = {link.outcome.path for link in path}
    rows: dict[StepPath, list[Outcome]] = {}
    depth: dict[StepPath, int] = {}
    groups = {outcome.path.plain for outcome in outcomes if outcome.kind in ("group", "sequence")}
    heads: dict[StepPath, Outcome] = {}
    for outcome in outcomes:
        plain = outcome.path.plain
        if outcome.is_leaf or outcome.kind in ("group", "sequence"):
            if plain not in depth:
                depth[plain] = len(groups.intersection(plain.around))
            if outcome.is_leaf:
                rows.setdefault(plain, []).append(outcome)
            else:
                heads.setdefault(plain, outcome)
                rows.setdefault(plain, [])
    bar = WIDTH - _LABEL - _FACTS
    lines = [f"{'':{_LABEL}}{_ruler(seconds, bar)}"]
    rows_drawn = 0
    for plain, calls in rows.items():
        if rows_drawn >= MAX_ROWS:
            lines.append(f"… and {len(rows) - rows_drawn} more rows")
            break
        rows_drawn += 1
        indent = "  " * min(depth[plain], 6)
        if plain in heads and not calls:
            lines.append(shortened(f"{indent}{_call_label(heads[plain])}", _LABEL + bar).rstrip())
            continue
        began = [call for call in calls if call.started is not None]
        label = shortened(f"{indent}{calls[0].step}", _LABEL - 1)
        if not began:
            lines.append(f"{label:{_LABEL}}{'':{bar}} {calls[0].status}")
            continue
        count = f"{len(began)}× " if len(began) > 1 else ""
        facts = f"{count}{_time_text(sum(call.seconds for call in began))}"
        drawn = _call_bar(began, critical, started=started, seconds=seconds, width=bar)
        lines.append(f"{label:{_LABEL}}{drawn} {facts}".rstrip())
    return lines


def _call_bar(calls: Sequence[Outcome], critical: set[StepPath], *, started: float, seconds: float, width: int) -> str:
    scale = width / seconds if seconds > 0 else 0.0
    busy, marked, failed = [False] * width, [False] * width, [False] * width
    for call in calls:
        first = min(width - 1, max(0, int(((call.started or 0.0) - started) * scale)))
        last = min(width - 1, max(first, int((end_time(call) - started) * scale - 1e-9)))
        for column in range(first, last + 1):
            busy[column] = True
            marked[column] = marked[column] or call.path in critical
        failed[last] = failed[last] or call.status != "succeeded"
    return "".join(
        _FAILED if failed[i] else _CRITICAL if marked[i] else _BUSY if busy[i] else " " for i in range(width)
    )


def _ruler(seconds: float, width: int) -> str:
    """A line with four marks over the width: `0 s      1 s      2 s`."""
    line = [" "] * (width + _FACTS)
    for quarter in range(4):
        text = f"|{_time_text(seconds * quarter / 4)}"
        at = quarter * width // 4
        line[at : at + len(text)] = text
    line[width] = "|"
    line[width + 1 : width + 1 + len(_time_text(seconds))] = _time_text(seconds)
    return "".join(line).rstrip()


def _call_label(outcome: Outcome) -> str:
    return outcome.step if outcome.status == "succeeded" else f"{outcome.step} ({outcome.status})"


def _time_text(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    if seconds >= 120:
        return f"{seconds / 60:.1f} min"
    return f"{seconds:.1f} s" if seconds >= 10 else f"{seconds:.2f} s" if seconds >= 0.1 else f"{seconds * 1000:.0f} ms"
