"""The progress of a run, step by step, as Markdown that can be shown again and again while it runs."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from flows.author import Outcome
from flows.engine import Event, LoopStarted, RunStarted, StepFinished, StepProgressed, StepStarted, StepStuck
from flows.model import StepPath
from flows.planning import FanIn, Leaf, Node, Sub, node_children
from flows.reports.tables import cell, markdown_table

MAX_ROWS = 200
_WIDTH = 20


class LiveProgress:
    """An observer that counts the started and ended calls of every step, items of loops included."""

    def __init__(self) -> None:
        self.changes = 0
        """Grows with every change, so that an unchanged page need not be written again."""
        self._steps: dict[StepPath, _StepCount] = {}
        self._loops: set[StepPath] = set()
        self._stuck: dict[StepPath, StepStuck] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._expect_steps(event.plan.root, "")
            case LoopStarted():
                self._start_loop(event.path, event.items)
            case StepStarted():
                self._count_at(event.path, event.id).running += 1
            case StepProgressed():
                if self._stuck.pop(event.path, None) is None:
                    return
            case StepStuck():
                self._stuck[event.path] = event
            case StepFinished():
                self._stuck.pop(event.outcome.path, None)
                if not event.outcome.is_leaf:
                    return
                self._count_outcome(event.outcome)
            case _:
                return
        self.changes += 1

    def _expect_steps(self, node: Node, prefix: str) -> None:
        if isinstance(node, (Leaf, FanIn)):
            self._steps[StepPath(prefix + node.path)] = _StepCount(node.id)
        for child in node_children(node):
            self._expect_steps(child, f"{prefix}{node.path}/" if isinstance(node, Sub) else prefix)

    def _start_loop(self, path: StepPath, items: int) -> None:
        again = path.plain in self._loops
        self._loops.add(path.plain)
        for plain, step in self._steps.items():
            if plain.inside(path.plain):
                # An inner loop starts once for every item of the outer loop.
                step.total = step.total + items if again else items

    def _count_outcome(self, outcome: Outcome) -> None:
        step = self._count_at(outcome.path, outcome.id)
        step.ended += 1
        step.aside += len(outcome.failures)
        if outcome.status not in ("succeeded", "skipped"):
            step.bad[outcome.status] = step.bad.get(outcome.status, 0) + 1
        if step.running:
            step.running -= 1

    @property
    def share(self) -> float:
        """The share of calls that have ended, of all calls known so far, 0 to 1."""
        total = sum(step.known for step in self._steps.values())
        return sum(step.ended for step in self._steps.values()) / total if total else 0.0

    def markdown(self) -> str:
        rows = [
            (
                cell(step.id),
                f"`{_progress_bar(step)}`",
                f"{step.ended} of {step.known}",
                str(step.running or ""),
                ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in step.bad.items()),
                str(step.aside or ""),
            )
            for step in list(self._steps.values())[:MAX_ROWS]
        ]
        running = [step.id for step in self._steps.values() if step.running]
        now = f"Running: {', '.join(running[:10])}" if running else "Nothing is running."
        stuck = [line for found in self._stuck.values() for line in (f"**Stuck?** {cell(str(found))}.", "")]
        return "\n".join(
            [
                f"**{self.share:.0%} done.** {cell(now)}",
                "",
                *stuck,
                *markdown_table(("step", "", "ended >", "running >", "not succeeded", "set aside >"), rows),
            ]
        )

    async def texts(self, ended: asyncio.Event, *, every_s: float) -> AsyncGenerator[str]:
        """Yield the page at intervals if something has changed, and once more when the run has ended."""
        seen_changes = -1
        while seen_changes < 0 or not ended.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), every_s)
            if self.changes != seen_changes:
                seen_changes = self.changes
                yield self.markdown()

    def _count_at(self, path: StepPath, id: str) -> "_StepCount":
        return self._steps.setdefault(path.plain, _StepCount(StepPath(id).step))


class _StepCount:
    def __init__(self, id: str) -> None:
        self.id = id
        self.total, self.ended, self.running, self.aside = 1, 0, 0, 0
        self.bad: dict[str, int] = {}

    @property
    def known(self) -> int:
        return max(self.total, self.ended)


def _progress_bar(step: _StepCount) -> str:
    full = _WIDTH if step.known == step.ended else int(_WIDTH * step.ended / step.known)
    return "█" * full + "░" * (_WIDTH - full)
