"""The first page of a run that has ended: its result, a chart, errors, advice, and links to the other pages."""

from collections.abc import Iterator, Sequence

from flows.author import RunResult, cost_text
from flows.planning import Plan
from flows.reports.critical_path import critical_path
from flows.reports.error_page import cause_title
from flows.reports.errors import error_report
from flows.reports.names import StepNames
from flows.reports.pages import Page
from flows.reports.summary import what_came_of_it
from flows.reports.tables import escaped, shortened, time_text
from flows.reports.timing import timing_picture, timing_sentence

MAX_CAUSES = 5
MAX_RESULT = 6_000
"""Characters of the outputs on the page; longer ones are on their own page only."""
_ENDS = {"succeeded": ("✓", "Succeeded"), "partial": ("⚠", "Succeeded in part"), "failed": ("✗", "Failed")}
"""The symbol and words for each status of a run that ended by itself."""
_TITLES = {
    "result": "the whole result",
    "errors": "all errors",
    "outcomes": "every step",
    "timing": "timing",
    "cost": "cost",
    "plan": "plan",
    "balance": "the outcome of every object",
}
RUN_PAGE = "run"


def run_page(plan: Plan, result: RunResult, pages: Sequence[tuple[Page, str]], *, facts: Sequence[str] = ()) -> Page:
    """The first page; `pages` are the other pages, each with its address (may be empty); `facts` are sentences."""
    return Page(RUN_PAGE, "The result of the run, at a glance", "\n".join(_lines(plan, result, pages, facts)).strip())


def _lines(plan: Plan, result: RunResult, pages: Sequence[tuple[Page, str]], facts: Sequence[str]) -> Iterator[str]:
    names = StepNames(plan).learn(result.outcomes)
    sign, word = _ENDS.get(result.status, ("■", result.status.capitalize()))
    yield f"## {sign} {word} {'after' if sign == '■' else 'in'} {time_text(result.seconds)}"
    yield ""
    yield f"**{escaped(what_came_of_it(result))}**"
    yield ""
    sentences = [*facts, *([f"It cost {escaped(cost_text(result.cost))}."] if result.cost else [])]
    if sentences:
        yield "  \n".join(sentences)
        yield ""
    outputs = next((page.markdown for page, _ in pages if page.key == "result"), "")
    # Outputs that the run's one-line summary already contains are left out.
    size = 0 if result.summary else len(outputs)
    if 0 < size <= MAX_RESULT:
        yield from _result(outputs)
    yield from _chart(result, names)
    yield from _errors(result, names)
    linked = [f"[{_TITLES.get(page.key, page.key)}]({address})" for page, address in pages if address]
    if linked:
        yield f"More: {' · '.join(linked)}"
        yield ""
    yield f"Run `{result.run_id}`; in a terminal: `braid runs show {result.run_id}`"


def _result(outputs: str) -> Iterator[str]:
    yield "## Result"
    yield ""
    yield outputs
    yield ""


def _errors(result: RunResult, names: StepNames) -> Iterator[str]:
    report = error_report(result.outcomes)
    if not report.summary:
        return
    yield "## Errors and advice"
    yield ""
    for cause in report.causes[:MAX_CAUSES]:
        item = f"{escaped(cause.example_item)}: " if cause.kind == "set aside" and cause.example_item else ""
        yield f"- **{escaped(cause_title(cause, names))}**: {item}{escaped(shortened(cause.example, 400))}"
        if cause.hint:
            yield f"  - {escaped(cause.hint)}"
    if len(report.causes) > MAX_CAUSES:
        yield f"- and {len(report.causes) - MAX_CAUSES} more causes"
    if result.status == "failed" and not result.stopped:
        yield (
            "- When that is fixed: **Retry** in this UI, or `braid resume "
            f"{result.run_id}`; steps that succeeded are kept"
        )
    yield ""


def _chart(result: RunResult, names: StepNames) -> Iterator[str]:
    ran = [outcome for outcome in result.outcomes if outcome.is_leaf and outcome.asked is not None]
    if not ran:
        return
    path = critical_path(result.outcomes, started=result.started)
    yield "## Where the time went"
    yield ""
    yield timing_sentence(ran, result.seconds)
    yield ""
    yield timing_picture(result.outcomes, path, started=result.started, seconds=result.seconds, names=names)
    yield ""
