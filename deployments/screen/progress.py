"""Progress of a run on the terminal: a bar a step that counts its batches, or plain lines where nobody watches."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from flows.author import Outcome
from flows.engine import Observer, Stuck
from flows.model import StepPath
from flows.planning import FanIn, Leaf, Plan


def watch(console: Console, *, quiet: bool = False) -> "Watch":
    """The progress display that suits the console; use it as a context manager."""
    if quiet:
        return Watch()
    return Bars(console) if console.is_terminal else Lines(console)


class Watch(Observer):
    """Shows nothing."""

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

    def run_started(self, plan: Plan, run_id: str) -> None:
        self._began = self._clock()
        self._console.print(f"{plan.pipeline.name}: run {run_id} started, {len(plan.leaves)} steps")

    def loop_started(self, path: StepPath, id: str, items: int) -> None:
        self._console.print(f"{self._clock() - self._began:7.1f} s  {id}: {items} items or batches", markup=False)

    def stuck(self, found: Stuck) -> None:
        self._console.print(f"{self._clock() - self._began:7.1f} s  {found}", style="yellow", markup=False)

    def finished(self, outcome: Outcome) -> None:
        if not outcome.is_leaf:
            return
        why = outcome.error.message if outcome.error else outcome.reason
        aside = f", {len(outcome.failures)} set aside" if outcome.failures else ""
        detail = f" in {outcome.seconds:.2f} s" if outcome.started is not None else ""
        text = f"{self._clock() - self._began:7.1f} s  {outcome.id} {outcome.status}{detail}{aside}"
        self._console.print(f"{text}: {why}" if why else text, markup=False)


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

    def run_started(self, plan: Plan, run_id: str) -> None:
        self._progress.console.print(f"{plan.pipeline.name}: run {run_id}", style="dim")
        for node in plan.nodes:
            path = StepPath(node.path)
            if isinstance(node, (Leaf, FanIn)) and path not in self._tasks:
                label = Text("  " * len(path.around) + node.label).plain
                self._tasks[path] = self._progress.add_task(label, total=1, start=False, note="")

    def loop_started(self, path: StepPath, id: str, items: int) -> None:
        again = path.plain in self._loops
        self._loops.add(path.plain)
        for step, task in self._tasks.items():
            if step.inside(path.plain):
                # A loop in a loop begins once for every item of the outer one.
                before = int(self._progress.tasks[task].total or 0) if again else 0
                self._progress.update(task, total=before + items)

    def step_started(self, path: StepPath, id: str) -> None:
        task = self._tasks.get(path.plain)
        if task is None:
            return
        if not self._running.get(task) and not self._progress.tasks[task].started:
            self._progress.start_task(task)
        self._running[task] = self._running.get(task, 0) + 1
        self._note(task)

    def stuck(self, found: Stuck) -> None:
        self._progress.console.print(str(found), style="yellow", markup=False)

    def finished(self, outcome: Outcome) -> None:
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
