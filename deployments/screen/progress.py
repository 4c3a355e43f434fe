"""The progress of a run: on a terminal a bar per step that counts its batches, otherwise plain lines."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from flows.author import Outcome
from flows.engine import (
    Event,
    LoopStarted,
    Observer,
    RunStarted,
    StepFinished,
    StepStarted,
    StepStuck,
    ignore_event,
)
from flows.model import StepPath
from flows.planning import FanIn, Leaf, Plan

_SUCCEEDED, _FAILED, _STOPPED = "✓", "✗", "–"


@contextmanager
def show_progress(console: Console, *, quiet: bool = False) -> Iterator[Observer]:
    """An observer that shows the progress of a run in a form for this console, or nothing if `quiet`."""
    if quiet:
        yield ignore_event
    elif console.is_terminal:
        with _bars_on(console) as bars:
            yield ProgressBars(bars)
    else:
        yield ProgressLines(console)


class ProgressLines:
    """Prints a line for every step that has ended, with the seconds since the run began."""

    def __init__(self, console: Console) -> None:
        self._console, self._began = console, time.monotonic()

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._began = time.monotonic()
                steps = len(event.plan.leaves)
                self._console.print(f"{event.plan.pipeline.name}: run {event.run_id} started, {steps} steps")
            case LoopStarted():
                self._line(f"{event.id}: {event.items} items or batches")
            case StepStuck():
                self._line(str(event), style="yellow")
            case StepFinished() if event.outcome.is_leaf:
                self._line(_ending_text(event.outcome))
            case _:
                pass

    def _line(self, text: str, *, style: str | None = None) -> None:
        self._console.print(f"{time.monotonic() - self._began:7.1f} s  {text}", style=style, markup=False)


def _ending_text(outcome: Outcome) -> str:
    reason = outcome.error.message if outcome.error else outcome.reason
    aside = f", {len(outcome.failures)} set aside" if outcome.failures else ""
    seconds = f" in {outcome.seconds:.2f} s" if outcome.started is not None else ""
    text = f"{outcome.id} {outcome.status}{seconds}{aside}"
    return f"{text}: {reason}" if reason else text


class _EndingColumn(SpinnerColumn):
    """A spinner while a step is running, then the symbol of its status."""

    def render(self, task: Task) -> RenderableType:
        if task.total is None or task.completed < task.total:  # rich sets `finished` only for tasks that were started
            return super().render(task)
        sign = str(task.fields.get("sign", _SUCCEEDED))
        return Text(sign, {_SUCCEEDED: "green", _STOPPED: "yellow"}.get(sign, "red"))


def _bars_on(console: Console) -> Progress:
    return Progress(
        _EndingColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=console,
    )


class ProgressBars:
    """Advances a bar for every step; a step inside a loop counts its items or batches."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[StepPath, TaskID] = {}
        self._loops: set[StepPath] = set()
        self._running = Counter[TaskID]()
        self._trouble: dict[TaskID, Counter[str]] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._start(event.plan, event.run_id)
            case LoopStarted():
                self._start_loop(event.path, event.items)
            case StepStarted():
                self._start_step(event.path)
            case StepStuck():
                self._bars.console.print(str(event), style="yellow", markup=False)
            case StepFinished():
                self._finish(event.outcome)
            case _:
                pass

    def _start(self, plan: Plan, run_id: str) -> None:
        self._bars.console.print(f"{plan.pipeline.name}: run {run_id}", style="dim")
        for node in plan.nodes:
            path = StepPath(node.path)
            if isinstance(node, (Leaf, FanIn)) and path not in self._tasks:
                label = Text("  " * len(path.around) + node.label).plain
                self._tasks[path] = self._bars.add_task(label, total=1, start=False, note="", sign=_SUCCEEDED)

    def _start_loop(self, path: StepPath, items: int) -> None:
        again = path.plain in self._loops
        self._loops.add(path.plain)
        for step, task in self._tasks.items():
            if step.inside(path.plain):
                # A nested loop begins once for every item of the outer loop.
                before = int(self._bars.tasks[task].total or 0) if again else 0
                self._bars.update(task, total=before + items, visible=before + items > 0)

    def _start_step(self, path: StepPath) -> None:
        task = self._tasks.get(path.plain)
        if task is None:
            return
        if not self._running[task] and not self._bars.tasks[task].started:
            self._bars.start_task(task)
        self._running[task] += 1
        self._note(task)

    def _finish(self, outcome: Outcome) -> None:
        task = self._tasks.get(outcome.path.plain) if outcome.is_leaf else None
        if task is None:
            return
        if outcome.started is not None:
            self._running[task] = max(0, self._running[task] - 1)
        trouble = self._trouble.setdefault(task, Counter())
        if outcome.failures:
            trouble["set aside"] += len(outcome.failures)
        if outcome.status in ("failed", "timed_out", "abandoned"):
            self._bars.update(task, sign=_FAILED)
        elif outcome.status != "succeeded" and self._bars.tasks[task].fields["sign"] == _SUCCEEDED:
            self._bars.update(task, sign=_STOPPED)
        if outcome.status != "succeeded":
            trouble[outcome.status.replace("_", " ")] += 1
        self._note(task)
        self._bars.advance(task)

    def _note(self, task: TaskID) -> None:
        parts = [f"[cyan]{self._running[task]} running[/]"] if self._running[task] else []
        parts += [f"[yellow]{count} {word}[/]" for word, count in self._trouble.get(task, Counter[str]()).items()]
        self._bars.update(task, note=" ".join(parts))
