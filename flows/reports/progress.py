"""How far a run is, step by step, as Markdown that can be shown again and again while it goes on."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from flows.author import Outcome
from flows.engine import Event, LoopStarted, RunStarted, StepFinished, StepProgressed, StepStarted, StepStuck
from flows.model import StepPath
from flows.planning import FanIn, Leaf, Node, Sub, node_children
from flows.reports.tables import cell, markdown_table

_WIDTH = 20


class LiveProgress:
    """An observer that counts what has started and ended of every step, items of loops included."""

    def __init__(self) -> None:
        self.changes = 0
        """Grows with everything that happens, so that nothing need be written twice."""
        self._steps: dict[StepPath, _Step] = {}
        self._loops: set[StepPath] = set()
        self._stuck: dict[StepPath, StepStuck] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._expect(event.plan.root, "")
            case LoopStarted():
                self._start_loop(event.path, event.items)
            case StepStarted():
                self._at(event.path, event.id).running += 1
            case StepProgressed():
                if self._stuck.pop(event.path, None) is None:
                    return
            case StepStuck():
                self._stuck[event.path] = event
            case StepFinished():
                self._stuck.pop(event.outcome.path, None)
                if not event.outcome.is_leaf:
                    return
                self._finish(event.outcome)
            case _:
                return
        self.changes += 1

    def _expect(self, node: Node, prefix: str) -> None:
        if isinstance(node, (Leaf, FanIn)):
            self._steps[StepPath(prefix + node.path)] = _Step(node.id)
        for child in node_children(node):
            self._expect(child, f"{prefix}{node.path}/" if isinstance(node, Sub) else prefix)

    def _start_loop(self, path: StepPath, items: int) -> None:
        again = path.plain in self._loops
        self._loops.add(path.plain)
        for plain, step in self._steps.items():
            if plain.inside(path.plain):
                # A loop in a loop begins once for every item of the outer one.
                step.total = step.total + items if again else items

    def _finish(self, outcome: Outcome) -> None:
        step = self._at(outcome.path, outcome.id)
        step.ended += 1
        step.aside += len(outcome.failures)
        if outcome.status not in ("succeeded", "skipped"):
            step.bad[outcome.status] = step.bad.get(outcome.status, 0) + 1
        if step.running:
            step.running -= 1

    @property
    def share(self) -> float:
        """Ended calls of those known so far, 0 to 1."""
        total = sum(step.known for step in self._steps.values())
        return sum(step.ended for step in self._steps.values()) / total if total else 0.0

    def markdown(self, *, most: int = 200) -> str:
        rows = [
            (
                cell(step.id),
                f"`{_bar(step)}`",
                f"{step.ended} of {step.known}",
                str(step.running or ""),
                ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in step.bad.items()),
                str(step.aside or ""),
            )
            for step in list(self._steps.values())[:most]
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
        """The page now and then, when something has changed; the last time when the run has ended."""
        shown = -1
        while shown < 0 or not ended.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), every_s)
            if self.changes != shown:
                shown = self.changes
                yield self.markdown()

    def _at(self, path: StepPath, id: str) -> "_Step":
        return self._steps.setdefault(path.plain, _Step(StepPath(id).step))


class _Step:
    def __init__(self, id: str) -> None:
        self.id = id
        self.total, self.ended, self.running, self.aside = 1, 0, 0, 0
        self.bad: dict[str, int] = {}

    @property
    def known(self) -> int:
        return max(self.total, self.ended)


def _bar(step: _Step) -> str:
    full = _WIDTH if step.known == step.ended else int(_WIDTH * step.ended / step.known)
    return "█" * full + "░" * (_WIDTH - full)
