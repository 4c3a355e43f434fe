"""Progress of a run on the terminal: a bar a step that counts its batches, or plain lines where nobody watches."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from flows.author import Outcome
from flows.engine import Event, LoopStarted, RunStarted, StepFinished, StepStarted, StepStuck
from flows.model import StepPath
from flows.planning import FanIn, Leaf, Plan


def watch(console: Console, *, quiet: bool = False) -> "Watch":
    """The progress display that suits the console; use it as a context manager."""
    if quiet:
        return Watch()
    return Bars(console) if console.is_terminal else Lines(console)


class Watch:
    """An observer that shows nothing."""

    def __call__(self, event: Event) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Lines(Watch):
    """A line for every step that ended, with the seconds since the run began."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._began = clock()

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._began = self._clock()
                steps = len(event.plan.leaves)
                self._console.print(f"{event.plan.pipeline.name}: run {event.run_id} started, {steps} steps")
            case LoopStarted():
                self._line(f"{event.id}: {event.items} items or batches")
            case StepStuck():
                self._line(str(event), style="yellow")
            case StepFinished() if event.outcome.is_leaf:
                self._line(_ending(event.outcome))
            case _:
                pass

    def _line(self, text: str, *, style: str | None = None) -> None:
        self._console.print(f"{self._clock() - self._began:7.1f} s  {text}", style=style, markup=False)


def _ending(outcome: Outcome) -> str:
    why = outcome.error.message if outcome.error else outcome.reason
    aside = f", {len(outcome.failures)} set aside" if outcome.failures else ""
    seconds = f" in {outcome.seconds:.2f} s" if outcome.started is not None else ""
    text = f"{outcome.id} {outcome.status}{seconds}{aside}"
    return f"{text}: {why}" if why else text


class Bars(Watch):
    """A bar for every step; a step inside a loop counts its items or batches."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._tasks: dict[StepPath, TaskID] = {}
        self._loops: set[StepPath] = set()
        self._running: dict[TaskID, int] = {}
        self._bad: dict[TaskID, list[str]] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._start(event.plan, event.run_id)
            case LoopStarted():
                self._start_loop(event.path, event.items)
            case StepStarted():
                self._start_step(event.path)
            case StepStuck():
                self._progress.console.print(str(event), style="yellow", markup=False)
            case StepFinished():
                self._finish(event.outcome)
            case _:
                pass

    def _start(self, plan: Plan, run_id: str) -> None:
        self._progress.console.print(f"{plan.pipeline.name}: run {run_id}", style="dim")
        for node in plan.nodes:
            path = StepPath(node.path)
            if isinstance(node, (Leaf, FanIn)) and path not in self._tasks:
                label = Text("  " * len(path.around) + node.label).plain
                self._tasks[path] = self._progress.add_task(label, total=1, start=False, note="")

    def _start_loop(self, path: StepPath, items: int) -> None:
        again = path.plain in self._loops
        self._loops.add(path.plain)
        for step, task in self._tasks.items():
            if step.inside(path.plain):
                # A loop in a loop begins once for every item of the outer one.
                before = int(self._progress.tasks[task].total or 0) if again else 0
                self._progress.update(task, total=before + items)

    def _start_step(self, path: StepPath) -> None:
        task = self._tasks.get(path.plain)
        if task is None:
            return
        if not self._running.get(task) and not self._progress.tasks[task].started:
            self._progress.start_task(task)
        self._running[task] = self._running.get(task, 0) + 1
        self._note(task)

    def _finish(self, outcome: Outcome) -> None:
        task = self._tasks.get(outcome.path.plain) if outcome.is_leaf else None
        if task is None:
            return
        if outcome.started is not None:
            self._running[task] = max(0, self._running.get(task, 0) - 1)
        if outcome.failures:
            self._bad.setdefault(task, []).extend(["set aside"] * len(outcome.failures))
        if outcome.status not in ("succeeded", "skipped"):
            self._bad.setdefault(task, []).append(outcome.status.replace("_", " "))
        if outcome.status == "skipped":
            self._bad.setdefault(task, []).append("skipped")
        self._note(task)
        self._progress.advance(task)

    def _note(self, task: TaskID) -> None:
        parts = [f"[cyan]{self._running[task]} running[/]"] if self._running.get(task) else []
        bad = self._bad.get(task, [])
        parts += [f"[yellow]{bad.count(word)} {word}[/]" for word in dict.fromkeys(bad)]
        self._progress.update(task, note=" ".join(parts))
