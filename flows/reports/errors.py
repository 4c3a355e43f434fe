"""The errors of a run, grouped by cause: count, example, whether trying again helps, and a hint."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from flows.author import Outcome
from flows.model import ITEM, StepPath
from flows.reports.causes import hint_for
from flows.reports.tables import counted

_PLACEHOLDERS = (
    (re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>)\]]+", re.IGNORECASE), "<address>"),
    (re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|`[^`\n]*`|«[^»\n]*»|“[^”\n]*”"), "<value>"),
    (re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\b0x[0-9a-f]+\b|\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{7,}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+"), "<mail>"),
    (re.compile(r"(?<![\w<])(?:[A-Za-z]:)?(?:~|\.{1,2})?(?:[\\/][\w .@%+=,~-]*[\w@%+=~-])+[\\/]?"), "<path>"),
    (
        re.compile(r"\b[\w-]+\.(?:pdf|docx?|pptx?|xlsx?|html?|md|txt|csv|json|ya?ml|xml|png|jpe?g)\b", re.IGNORECASE),
        "<file>",
    ),
    (ITEM, ""),
)
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_BEFORE_STATUS = re.compile(r"(?:http|status|code|error|errno|answered|returned)\W*$", re.IGNORECASE)


@dataclass(frozen=True)
class Cause:
    """Failures that differ only in the names and numbers in their messages."""

    kind: str
    """The type of the error; `set aside` for items that a successful step set aside."""
    text: str
    """The message with placeholders for the parts that differ."""
    count: int
    example: str
    """The first message, unchanged."""
    example_path: str
    example_step: str
    example_item: str
    steps: tuple[str, ...]
    """Ids of the steps, without the indices of items, in declared order."""
    statuses: tuple[str, ...]
    retryable: bool
    hint: str


@dataclass(frozen=True)
class ErrorReport:
    """All errors of a run."""

    summary: str
    """One line; empty if there was no error."""
    causes: tuple[Cause, ...]
    """The causes, most frequent first, without failures that only follow from others."""
    groups: tuple[tuple[str, str], ...]
    """Id and summary line of every group, loop and sub-pipeline that failed as a consequence."""
    never_started: int
    """How many steps did not start as a consequence; steps skipped by a switch or by `when` are not counted."""


def error_report(outcomes: Iterable[Outcome]) -> ErrorReport:
    """Group the failures by cause; failures that only follow from others are left out."""
    listed = tuple(outcomes)
    inner = _messages_inside(listed)
    failed = [outcome for outcome in listed if _is_cause(outcome, inner.get(outcome.path, frozenset()))]
    aside = sum(len(outcome.failures) for outcome in listed)
    summary = ""
    if failed:
        summary = f"{_failed_text(failed)}: {failed[0].id}: {_message(failed[0])}"
    if aside:
        first = next(failure for outcome in listed for failure in outcome.failures)
        text = f"{counted(aside, 'item')} set aside. First: {first.item}: {first.error}"
        summary = f"{summary}; {text}" if summary else text
    refused = [outcome for outcome in listed if outcome.is_leaf and outcome.reason.startswith("budget: ")]
    if refused:
        text = f"{refused[0].reason}; {counted(len(refused), 'step')} not started"
        summary = f"{summary}; {text}" if summary else text
    return ErrorReport(
        summary,
        tuple(_group_causes([*_entries(failed), *_item_entries(listed)])),
        tuple(
            (outcome.id, _message(outcome))
            for outcome in listed
            if not outcome.is_leaf and outcome.kind != "item" and outcome.status in ("failed", "timed_out")
        ),
        sum(
            1
            for outcome in listed
            if outcome.is_leaf
            and outcome.started is None
            and (
                outcome.status in ("cancelled", "timed_out")
                or outcome.reason.endswith((" failed", " timed_out", " abandoned", "did not succeed"))
            )
        ),
    )


def _failed_text(failed: Sequence[Outcome]) -> str:
    """The counts of failed calls and steps, for the beginning of a sentence."""
    steps = len({outcome.path.plain for outcome in failed})
    if len(failed) == 1:
        return "Step failed"
    which = f"{steps} steps" if steps == len(failed) else f"{counted(len(failed), 'call')} of {counted(steps, 'step')}"
    return f"{which} failed. First failure"


def normalised(message: str) -> str:
    """A message with placeholders for numbers, ids, paths and quoted values, which differ from case to case.

    HTTP status codes are kept, since they identify the cause.
    """
    for pattern, placeholder in _PLACEHOLDERS:
        message = pattern.sub(placeholder, message)
    return " ".join(_NUMBER.sub(_mask_number, message).split())


def _mask_number(found: re.Match[str]) -> str:
    before = found.string[max(0, found.start() - 16) : found.start()]
    status = len(found[0]) == 3 and found[0][0] in "45" and _BEFORE_STATUS.search(before) is not None
    return found[0] if status else "<n>"


@dataclass(frozen=True)
class _Entry:
    kind: str
    message: str
    path: str
    step: str
    item: str
    status: str
    retryable: bool


def _entries(failed: Iterable[Outcome]) -> Iterator[_Entry]:
    for outcome in failed:
        error = outcome.error
        kind = error.kind if error is not None else outcome.kind
        yield _Entry(
            kind,
            _message(outcome),
            outcome.path,
            outcome.step,
            outcome.path.item,
            outcome.status,
            error is not None and error.transient,
        )


def _item_entries(outcomes: Iterable[Outcome]) -> Iterator[_Entry]:
    for outcome in outcomes:
        for failure in outcome.failures:
            yield _Entry("set aside", failure.error, outcome.path, outcome.step, failure.item, "set aside", False)


def _group_causes(entries: Iterable[_Entry]) -> list[Cause]:
    found: dict[tuple[str, str, bool], list[_Entry]] = {}
    for entry in entries:
        # Many messages contain the id of their step, which would separate failures of one cause.
        text = normalised(entry.message.replace(entry.step, "<step>"))
        found.setdefault((entry.kind, text, entry.retryable), []).append(entry)
    causes: list[Cause] = []
    for (kind, text, retryable), same in found.items():
        first = same[0]
        causes.append(
            Cause(
                kind,
                text,
                len(same),
                first.message,
                first.path,
                first.step,
                first.item,
                tuple(dict.fromkeys(entry.step for entry in same)),
                tuple(dict.fromkeys(entry.status for entry in same)),
                retryable,
                hint_for(kind, first.message),
            )
        )
    return sorted(causes, key=lambda cause: (cause.kind == "set aside", -cause.count))


def _messages_inside(outcomes: Iterable[Outcome]) -> dict[StepPath, set[str]]:
    """For every path, the messages of the failures inside it."""
    found: dict[StepPath, set[str]] = {}
    for outcome in outcomes:
        text = _message(outcome)
        if text and outcome.status not in ("succeeded", "skipped"):
            for path in outcome.path.around:
                found.setdefault(path, set()).add(text)
    return found


def _is_cause(outcome: Outcome, inner: Collection[str]) -> bool:
    """Whether an outcome failed by itself: a step, or a group that could not merge its branches' results."""
    if outcome.is_leaf:
        return outcome.error is not None
    if outcome.status not in ("failed", "timed_out") or outcome.kind in ("item", "sequence"):
        return False
    return not any(text in _message(outcome) for text in inner)


def _message(outcome: Outcome) -> str:
    return outcome.error.message if outcome.error is not None else outcome.reason


def error_json(report: ErrorReport) -> dict[str, Any]:
    """The report as plain data."""
    return asdict(report) | {"groups": [{"id": id, "summary": text} for id, text in report.groups]}
