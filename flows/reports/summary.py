"""The result of a run in one line, and the counts of its steps by status: the same wherever they are shown."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from flows.author import Outcome, OutputRecord, RunResult, Status
from flows.model import StepPath
from flows.reports.result_shapes import shape_of, short_text
from flows.reports.tables import counted, shortened

MOST_OUTPUTS, MOST_TEXT = 3, 60
_BAD: tuple[Status, ...] = ("failed", "timed_out", "abandoned")


@dataclass(frozen=True)
class StepSummary:
    """All calls of one step, in one run."""

    path: StepPath
    """Its path in the plan."""
    calls: tuple[Outcome, ...]

    @property
    def status(self) -> Status:
        """The status of the step: that of a failed call if there is one, else of a cancelled call, else of the
        successful calls.
        """
        found = {call.status for call in self.calls}
        order: tuple[Status, ...] = (*_BAD, "cancelled", "succeeded", "skipped")
        return next(status for status in order if status in found)

    @property
    def failed(self) -> bool:
        return self.status in _BAD

    @property
    def first_why(self) -> str:
        """The reason of its first unsuccessful call; empty if all calls succeeded."""
        bad = next((call for call in self.calls if call.status == self.status and self.status != "succeeded"), None)
        return "" if bad is None else bad.error.message if bad.error is not None else bad.reason

    @property
    def aside(self) -> int:
        return sum(len(call.failures) for call in self.calls)


def step_summaries(outcomes: Iterable[Outcome]) -> list[StepSummary]:
    """The steps of a run in declared order."""
    found: dict[StepPath, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.is_leaf:
            found.setdefault(outcome.path.plain, []).append(outcome)
    return [StepSummary(path, tuple(calls)) for path, calls in found.items()]


def what_came_of_it(result: RunResult) -> str:
    """One line: the run's own summary, else its outputs, else its steps; and the failures."""
    parts = [result.summary or _outputs_text(result.output_records)]
    steps = step_summaries(result.outcomes)
    failed = sum(step.failed for step in steps)
    if failed or not parts[0]:
        parts.append(_steps_text(steps, failed))
    if result.failures and not result.summary:
        parts.append(f"{counted(len(result.failures), 'item')} set aside")
    if result.stopped:
        parts.append(result.stopped)
    return "; ".join(part for part in parts if part)


def _steps_text(steps: Iterable[StepSummary], failed: int) -> str:
    listed = list(steps)
    succeeded = sum(step.status == "succeeded" for step in listed)
    good = f"{counted(succeeded, 'step')} succeeded" if succeeded or not failed else ""
    bad = f"{failed:,} failed" if good else f"{counted(failed, 'step')} failed"
    return ", ".join(part for part in (good, bad if failed else "") if part)


def _outputs_text(records: Iterable[OutputRecord]) -> str:
    """The first outputs in a few words: `10 passages`, `total: 42`. Beside others, one that is false says nothing."""
    texts = {record.name: _output_text(record) for record in records}
    shown = [text for text in texts.values() if text]
    shown = [text for name, text in texts.items() if text and text != f"{name}: false"] or shown
    more = f" and {counted(len(shown) - MOST_OUTPUTS, 'more output')}" if len(shown) > MOST_OUTPUTS else ""
    return ", ".join(shown[:MOST_OUTPUTS]) + more


def _output_text(record: OutputRecord) -> str:
    value, name = record.value, record.name
    match shape_of(value):
        case "nothing":
            return ""
        case "passages":
            return counted(len(value), "passage") if name == "passages" else f"{name}: {counted(len(value), 'passage')}"
        case "answer":
            return f"{name}: {_short(cast('Mapping[str, Any]', value)['text'])}"
        case "file":
            return f"{name}: 1 file"
        case "files":
            return f"{name}: {counted(len(value), 'file')}"
        case "table":
            return f"{name}: {counted(len(value), 'row')}"
        case "list":
            return f"{name}: {counted(len(value), 'item')}"
        case "mapping":
            return f"{name}: {counted(len(value), 'entry', 'entries')}"
        case "text" | "scalar":
            return f"{name}: {_short(short_text(value))}"


def _short(text: str) -> str:
    return shortened(" ".join(text.split()), MOST_TEXT)
