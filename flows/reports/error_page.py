"""The errors of a run as a page: a card per cause with its message, its places and its advice."""

from collections.abc import Iterator

from flows.reports.errors import Cause, ErrorReport
from flows.reports.names import StepNames
from flows.reports.tables import counted, escaped, shortened

MAX_CAUSES, MAX_STEPS, MAX_MESSAGE = 50, 12, 1500


def error_markdown(report: ErrorReport, names: StepNames) -> str:
    """The page; empty if nothing went wrong."""
    if not report.summary:
        return ""
    lines: list[str] = []
    for cause in report.causes[:MAX_CAUSES]:
        lines += _card(cause, names)
    if len(report.causes) > MAX_CAUSES:
        lines += [f"*and {len(report.causes) - MAX_CAUSES:,} more causes*", ""]
    if not report.causes:
        lines += [escaped(report.summary), ""]
    if report.never_started:
        lines += [f"{counted(report.never_started, 'step')} did not start because of it.", ""]
    if report.groups:
        lines += ["Failed as a consequence:", ""]
        lines += [f"- {escaped(id)}: {escaped(shortened(text, 400))}" for id, text in report.groups[:MAX_CAUSES]]
    return "\n".join(lines).strip()


def cause_title(cause: Cause, names: StepNames) -> str:
    """The cause in a few words: how often, and where."""
    where = names.step(cause.example_path, cause.example_step)
    if cause.kind == "set aside":
        return f"{counted(cause.count, 'item')} set aside by {where}"
    times = f", {cause.count:,} times" if cause.count > 1 else ""
    ended = "ran out of time" if set(cause.statuses) <= {"timed_out", "abandoned"} else "failed"
    return f"{where} {ended}{times}"


def _card(cause: Cause, names: StepNames) -> Iterator[str]:
    aside = cause.kind == "set aside"
    yield f"### {'⚠' if aside else '✗'} {escaped(cause_title(cause, names))}"
    yield ""
    item = f"**{escaped(cause.example_item)}**: " if aside else ""
    yield f"> {item}{escaped(shortened(cause.example, MAX_MESSAGE))}"
    yield ""
    if cause.hint:
        yield f"- **Advice**: {escaped(cause.hint)}"
    if not aside:
        again = "yes, the cause may pass by itself" if cause.retryable else "no, fix the cause first"
        yield f"- **Try again?** {again}"
    yield f"- **Where**: {_places(cause, names)}"
    if not aside:
        yield f"- **Kind**: `{cause.kind}`"
    yield ""


def _places(cause: Cause, names: StepNames) -> str:
    place = escaped(names.call(cause.example_path, cause.example_step))
    others = len(cause.steps) - 1
    if not others:
        more = f", and {cause.count - 1:,} more calls" if cause.count > 1 and cause.kind != "set aside" else ""
        return place + more
    named = ", ".join(escaped(step) for step in cause.steps[1:MAX_STEPS])
    more = f" and {len(cause.steps) - MAX_STEPS:,} more" if len(cause.steps) > MAX_STEPS else ""
    return f"{place}, also {named}{more}"
