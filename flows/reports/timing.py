"""When each step ran: a drawn chart, the critical path of the run, and the time that parallelism saved."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from flows.author import Outcome, add_up
from flows.model import StepPath
from flows.reports.critical_path import Link, critical_path, end_time
from flows.reports.names import StepNames
from flows.reports.picture import WIDTH, Picture, fitted, image, text_width
from flows.reports.tables import cell, counted, markdown_table, time_text

MAX_ROWS, MAX_PATH_STEPS, MAX_WAITS = 60, 8, 8
SMALL_SHARE = 0.01
"""Of the critical path; steps with less are counted, not named."""
_ROW, _TOP, _MARGIN, _FACTS, _INDENT = 24.0, 84.0, 16.0, 200.0, 14.0
_LEGEND = (
    ("path", "work on the critical path"),
    ("work", "work beside it"),
    ("wait", "waiting"),
    ("again", "attempt that was tried again"),
    ("fail", "failure"),
)
_KINDS = ("wait", "work", "path", "again", "fail")
"""In drawing order: later kinds are drawn over earlier ones."""


@dataclass
class _Row:
    """A step with all its calls, or the heading of a group."""

    name: str
    depth: int
    calls: list[Outcome] = field(default_factory=list[Outcome])
    heading: bool = False

    @property
    def weight(self) -> tuple[bool, float]:
        """The priority of a row: failures first, then the longest."""
        bad = any(call.status not in ("succeeded", "skipped") for call in self.calls)
        return bad, sum(call.seconds + call.waited_s for call in self.calls)


def timing_markdown(outcomes: Iterable[Outcome], *, started: float, seconds: float, names: StepNames) -> str:
    """The chart, the reasons for waiting, and the steps that took the time; empty if no step ran."""
    listed = tuple(outcome for outcome in outcomes if not outcome.reused)
    ran = [outcome for outcome in listed if outcome.is_leaf and outcome.asked is not None]
    if not ran:
        return ""
    path = critical_path(listed, started=started)
    lines = [
        timing_sentence(ran, seconds),
        "",
        timing_picture(listed, path, started=started, seconds=seconds, names=names),
        "",
        f"**Critical path**: {time_text(sum(link.worked_s for link in path))} of work in {len(path)} calls, "
        f"{time_text(sum(link.waited_s for link in path))} of waiting between them. To make the run faster, make these "
        "faster:",
        "",
        *_path_lines(path, names),
    ]
    waits = add_up(outcome.waits for outcome in ran)
    longest = sorted(waits.items(), key=lambda each: -each[1])[:MAX_WAITS]
    if longest:
        rows = [(cell(what), time_text(waited)) for what, waited in longest]
        lines += ["", *markdown_table(("all calls waited for", "in all >"), rows)]
    return "\n".join(lines)


def timing_sentence(ran: Iterable[Outcome], seconds: float) -> str:
    """The duration of a run, its work, and an upper bound of the time that parallelism saved."""
    calls = tuple(ran)
    busy, waited = sum(call.seconds for call in calls), sum(call.waited_s for call in calls)
    return (
        f"The run took **{time_text(seconds)}**. Its steps worked {time_text(busy)} in all and waited "
        f"{time_text(waited)}; running side by side saved at most **{time_text(max(0.0, busy - seconds))}**."
    )


def timing_picture(
    outcomes: Sequence[Outcome], path: Sequence[Link], *, started: float, seconds: float, names: StepNames
) -> str:
    """The chart as Markdown: a row per step, the steps of a group below the group."""
    rows = _rows(outcomes, names)
    shown = _most_telling(rows)
    critical = {link.outcome.path for link in path}
    label = min(440.0, max(120.0, *(text_width(row.name) + row.depth * _INDENT + 16 for row in shown)))
    plot = WIDTH - 2 * _MARGIN - label - _FACTS
    x0, bottom = _MARGIN + label, _TOP + _ROW * len(shown)
    picture = Picture()
    _draw_legend(picture)
    for at, text in _ticks(seconds):
        x = x0 + plot * at / seconds if seconds else x0
        picture.line((x, _TOP - 8), (x, bottom + 4))
        picture.text(x, _TOP - 14, text, "s", anchor="middle")
    for number, row in enumerate(shown):
        y = _TOP + _ROW * number
        indent = _MARGIN + row.depth * _INDENT
        picture.text(indent, y + 16, fitted(row.name, x0 - indent - 8), "s b" if row.heading else "")
        if row.heading:
            continue
        for kind, spans in _spans(row.calls, critical, started=started, seconds=seconds, width=plot).items():
            height = 8.0 if kind == "wait" else 14.0
            picture.bars([(x0 + a, x0 + b) for a, b in spans], y + (24 - height) / 2 - 1, height, kind)
        bad = next((call.status for call in row.calls if call.status not in ("succeeded", "skipped")), "")
        facts = fitted(_facts(row.calls), _FACTS - 10, size=11.5)
        picture.text(x0 + plot + 10, y + 16, facts, "s r" if bad else "s")
    if len(shown) < len(rows):
        bottom += _ROW
        picture.text(_MARGIN, bottom - 6, f"and {len(rows) - len(shown)} more rows, which took less", "s")
    about = f"When each step ran, in {time_text(seconds)}"
    return image(picture.svg(bottom + 14, about=about), about=about)


def _draw_legend(picture: Picture) -> None:
    x = _MARGIN
    for kind, text in _LEGEND:
        picture.box(x, 20, 22, 8 if kind == "wait" else 12, kind, radius=2)
        picture.text(x + 28, 31, text, "s")
        x += 28 + text_width(text, size=11.5) + 22


def _facts(calls: Sequence[Outcome]) -> str:
    ran = [call for call in calls if call.started is not None]
    waited = sum(call.waited_s for call in calls)
    count = f"{len(calls)} calls · " if len(calls) > 1 else ""
    worked = time_text(sum(call.seconds for call in ran)) if ran else calls[0].status.replace("_", " ")
    return f"{count}{worked}{f' · waited {time_text(waited)}' if waited >= 0.1 else ''}"


def _rows(outcomes: Sequence[Outcome], names: StepNames) -> list[_Row]:
    """One row per step that was requested (all its items together), and one per enclosing group."""
    rows: dict[StepPath, _Row] = {}
    groups = {outcome.path.plain for outcome in outcomes if outcome.kind == "group"}
    for outcome in outcomes:
        plain = outcome.path.plain
        if outcome.kind == "group" or (outcome.is_leaf and outcome.asked is not None):
            if plain not in rows:
                depth = min(6, len(groups.intersection(plain.around)))
                rows[plain] = _Row(names.step(plain, outcome.id), depth, heading=not outcome.is_leaf)
            if outcome.is_leaf:
                rows[plain].calls.append(outcome)
    used = {around for plain, row in rows.items() if row.calls for around in plain.around}
    return [row for plain, row in rows.items() if row.calls or plain in used]


def _most_telling(rows: Sequence[_Row]) -> list[_Row]:
    """At most `MAX_ROWS` rows in their order: failed ones and the longest ones."""
    if len(rows) <= MAX_ROWS:
        return list(rows)
    calls = sorted((row for row in rows if row.calls), key=lambda row: row.weight, reverse=True)[:MAX_ROWS]
    kept = {id(row) for row in calls}
    return [row for row in rows if id(row) in kept]


def _spans(
    calls: Sequence[Outcome], critical: set[StepPath], *, started: float, seconds: float, width: float
) -> dict[str, list[tuple[float, float]]]:
    """The work and waits of calls as horizontal segments of the chart in pixels, by kind."""
    scale = width / seconds if seconds > 0 else 0.0
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in _KINDS}
    for call in calls:
        begun = call.asked if call.asked is not None else call.started
        if begun is not None and call.waited_s * scale >= 0.5:
            found["wait"].append((begun, begun + call.seconds + call.waited_s))
        for kind, first, last in _work(call, call.path in critical):
            found[kind].append((first, last))
    return {
        kind: list(_joined(((a - started) * scale, (b - started) * scale) for a, b in spans))
        for kind, spans in found.items()
        if spans
    }


def _work(call: Outcome, critical: bool) -> Iterator[tuple[str, float, float]]:
    for number, attempt in enumerate(call.tries, start=1):
        kind = "path" if critical else "work"
        if attempt.status != "succeeded":
            kind = "again" if number < len(call.tries) else "fail"
        yield kind, attempt.started, attempt.started + attempt.seconds
    if not call.tries and call.started is not None:
        kind = "fail" if call.status != "succeeded" else "path" if critical else "work"
        yield kind, call.started, end_time(call)
    elif not call.tries and call.asked is not None and call.status != "succeeded":
        yield "fail", call.asked + call.waited_s, call.asked + call.waited_s


def _joined(spans: Iterable[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Segments without overlaps, each wide enough to be visible."""
    last: tuple[float, float] | None = None
    for first, end in sorted((max(0.0, a), max(a + 2.0, b)) for a, b in spans):
        if last is not None and first <= last[1] + 0.5:
            last = last[0], max(last[1], end)
            continue
        if last is not None:
            yield last
        last = first, end
    if last is not None:
        yield last


def _ticks(seconds: float) -> list[tuple[float, str]]:
    """About five round times between the start and the end, for the axis."""
    if seconds <= 0:
        return [(0.0, "0 s")]
    step = next(s for s in _STEPS if seconds / s <= 6) if seconds <= 6 * _STEPS[-1] else seconds / 5
    return [(step * number, time_text(step * number) if number else "0 s") for number in range(int(seconds / step) + 1)]


_STEPS = [
    *(base * 10**power for power in (-3, -2, -1, 0) for base in (1, 2, 5)),
    *(10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400),
]
"""Seconds between two marks of the axis."""


def _path_lines(path: Sequence[Link], names: StepNames) -> list[str]:
    total = sum(link.worked_s for link in path) or 1.0
    by_step: dict[str, list[Link]] = {}
    for link in path:
        by_step.setdefault(names.step(link.outcome.path, link.outcome.id), []).append(link)
    dearest = sorted(by_step.items(), key=lambda pair: -sum(link.worked_s for link in pair[1]))
    lines: list[str] = []
    for step, links in dearest[:MAX_PATH_STEPS]:
        spent = sum(link.worked_s for link in links)
        if lines and spent / total < SMALL_SHARE:
            break
        calls = f" in {len(links)} calls" if len(links) > 1 else ""
        lines.append(f"- `{step}`: {time_text(spent)}{calls}, {spent / total:.0%} of it")
    if len(dearest) > len(lines):
        lines.append(f"- and {counted(len(dearest) - len(lines), 'more step')}")
    return lines
