"""The progress of a run as a live page: one bar, then the running, waiting and failed calls."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import dataclass

from flows.author import Outcome
from flows.engine import Event, LoopStarted, RunStarted, StepFinished, StepProgressed, StepStarted, StepStuck
from flows.model import StepPath
from flows.planning import FanIn, Leaf, Loop, Node, Sub, node_children
from flows.reports.names import StepNames
from flows.reports.picture import WIDTH, Picture, image
from flows.reports.tables import cell, counted, escaped, markdown_table, shortened, time_text

MAX_ROWS = 20
_MOST_OF_A_CALL = 0.95
"""The highest share shown for a running call, however long it takes."""
_SURE_AFTER_S, _SURE_SHARE = 5.0, 0.03
"""The share of the run from which the remaining time is shown."""


@dataclass
class _Running:
    """A call that was requested and has not ended."""

    id: str
    since: float
    waits_for: Callable[[], str]
    done: int = 0
    total: int | None = None


@dataclass
class _StepCount:
    id: str
    usual_s: float | None
    total: int = 1
    ended: int = 0

    @property
    def known(self) -> int:
        return max(self.total, self.ended)


class LiveProgress:
    """An observer of the ended calls, the running calls and the estimated remaining time. Calls are weighted by their
    usual time (`usual_s`, by path in the plan); if none is known, all have the same weight. A running call counts by
    its reported progress.
    """

    def __init__(self, names: StepNames, usual_s: Mapping[str, float], *, clock: Callable[[], float] = time.monotonic):
        self.changes = 0
        """Grows with every change, so that an unchanged page need not be written again."""
        self._names, self._usual, self._clock = names, usual_s, clock
        self._began = clock()
        self._steps: dict[StepPath, _StepCount] = {}
        self._loops: dict[StepPath, str] = {}
        """The number of items per loop, by path in the plan."""
        self._begun: set[StepPath] = set()
        self._elements = Counter[str]()
        self._done = Counter[str]()
        self._running: dict[StepPath, _Running] = {}
        self._failed: list[Outcome] = []
        self._failures, self._aside = 0, 0
        self._stuck: dict[StepPath, StepStuck] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._began = self._clock()
                self._expect(event.plan.root, "")
            case LoopStarted():
                self._start_loop(event)
            case StepStarted():
                self._running[event.path] = _Running(event.id, self._clock(), event.waits_for)
            case StepProgressed():
                self._stuck.pop(event.path, None)
                if event.path in self._running:
                    self._running[event.path].done = event.done
                    self._running[event.path].total = event.total
            case StepStuck():
                self._stuck[event.path] = event
            case StepFinished():
                self._finish(event.outcome)
            case _:
                return
        self.changes += 1

    def _expect(self, node: Node, prefix: str) -> None:
        path = StepPath(prefix + node.path)
        if isinstance(node, (Leaf, FanIn)):
            self._steps[path] = _StepCount(node.id, self._usual.get(path))
        if isinstance(node, Loop):
            self._loops[path] = "document" if _publishes(node) else "item"
        for child in node_children(node):
            self._expect(child, f"{prefix}{node.path}/" if isinstance(node, Sub) else prefix)

    def _start_loop(self, event: LoopStarted) -> None:
        plain = event.path.plain
        again = plain in self._begun
        self._begun.add(plain)
        for path, step in self._steps.items():
            if path.inside(plain):
                # An inner loop starts once for every item of the outer one.
                step.total = step.total + event.items if again else event.items
        outer = not any(around in self._loops for around in plain.around)
        if event.elements is not None and outer:
            self._elements[self._loops.get(plain, "item")] += event.elements

    def _finish(self, outcome: Outcome) -> None:
        self._stuck.pop(outcome.path, None)
        if outcome.kind == "item":
            loop = StepPath(outcome.path.rpartition("[")[0]).plain
            if not any(around in self._loops for around in loop.around if around != loop):
                self._done[self._loops.get(loop, "item")] += outcome.size
        if not outcome.is_leaf:
            return
        self._running.pop(outcome.path, None)
        step = self._steps.setdefault(outcome.path.plain, _StepCount(outcome.step, None))
        step.ended += 1
        self._aside += len(outcome.failures)
        if outcome.status not in ("succeeded", "skipped", "cancelled"):
            self._failures += 1
            self._failed = [*self._failed, outcome][:MAX_ROWS]

    @property
    def share(self) -> float:
        """The finished share of the work of all known calls, 0 to 1."""
        known = [step.usual_s for step in self._steps.values() if step.usual_s is not None]
        usual = max(sum(known) / len(known), 1e-3) if known else 1.0
        weights = {
            path: usual if step.usual_s is None else max(step.usual_s, 1e-3) for path, step in self._steps.items()
        }
        total = sum(step.known * weights[path] for path, step in self._steps.items())
        done = sum(step.ended * weights[path] for path, step in self._steps.items())
        at = self._clock()
        for path, call in self._running.items():
            if path.plain in weights:
                done += self._share_of(path, call, at) * weights[path.plain]
        return min(1.0, done / total) if total else 0.0

    def _share_of(self, path: StepPath, call: _Running, at: float) -> float:
        """The finished share of a running call: as it reports, else by its usual time."""
        if call.total:
            return min(_MOST_OF_A_CALL, call.done / call.total)
        usual = self._usual.get(path.plain)
        return min(_MOST_OF_A_CALL, (at - call.since) / usual) if usual and not call.waits_for() else 0.0

    @property
    def left_s(self) -> float | None:
        """About how many seconds are left; None while that is unknown."""
        share, elapsed = self.share, self._clock() - self._began
        if elapsed < _SURE_AFTER_S or share < _SURE_SHARE or share >= 1.0:
            return None
        return elapsed * (1.0 - share) / share

    def markdown(self) -> str:
        return "\n".join([*self._head(), *self._now(), *self._troubles()]).strip()

    def _head(self) -> Iterator[str]:
        share, left = self.share, self.left_s
        things = [f"{self._done[noun]:,} of {counted(total, noun)}" for noun, total in self._elements.items() if total]
        parts = [f"{share:.0%} done", *things, *([f"about {time_text(_rounded(left))} left"] if left else [])]
        about = " · ".join(parts)
        picture = Picture()
        picture.text(20, 34, about, "b")
        picture.text(WIDTH - 20, 34, f"running for {time_text(self._clock() - self._began)}", "s", anchor="end")
        picture.box(20, 48, WIDTH - 40, 14, "rest", radius=7)
        if share:
            picture.box(20, 48, max(14.0, (WIDTH - 40) * share), 14, "done", radius=7)
        yield image(picture.svg(80, about=about), about=about)
        yield ""

    def _now(self) -> Iterator[str]:
        at = self._clock()
        waiting = Counter(call.waits_for() for call in self._running.values())
        working = [(path, call) for path, call in self._running.items() if not call.waits_for()]
        if working:
            yield f"### Running now ({len(working):,})"
            yield ""
            rows = [
                (
                    cell(self._names.call(path, call.id)),
                    time_text(at - call.since),
                    time_text(usual) if (usual := self._usual.get(path.plain)) is not None else "",
                    f"{call.done:,} of {call.total:,}" if call.total else f"{call.done:,}" if call.done else "",
                )
                for path, call in working[:MAX_ROWS]
            ]
            yield from markdown_table(("step", "for >", "usually >", "reports as done >"), rows)
            yield ""
        for what, count in waiting.items():
            if what:
                yield f"- {counted(count, 'call waits', 'calls wait')} for {escaped(what)}"
        yield ""

    def _troubles(self) -> Iterator[str]:
        for found in self._stuck.values():
            yield from (f"**Stuck?** {escaped(str(found))}.", "")
        if self._failures:
            yield f"### ✗ Failed so far ({self._failures:,})"
            yield ""
            for outcome in self._failed:
                why = outcome.error.message if outcome.error is not None else outcome.reason
                name = escaped(self._names.call(outcome.path, outcome.id))
                yield f"- **{name}**: {escaped(shortened(why, 300))}"
            yield ""
        if self._aside:
            yield f"{counted(self._aside, 'item')} set aside so far."

    async def texts(self, ended: asyncio.Event, *, first_s: float, every_s: float) -> AsyncGenerator[str]:
        """Yield the page after `first_s`, and then at intervals if something has changed, until the run has ended."""
        seen_changes, wait_s = -1, first_s
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), wait_s)
            if ended.is_set():
                return
            if self.changes != seen_changes:
                seen_changes = self.changes
                yield self.markdown()
            wait_s = every_s


def _publishes(loop: Loop) -> bool:
    """Whether a loop processes documents, because a step inside it publishes them in an index."""
    stack: list[Node] = [loop.body]
    while stack:
        node = stack.pop()
        if isinstance(node, Leaf) and "index.documents" in (node.spec.effects or ()):
            return True
        stack += node_children(node)
    return False


def _rounded(seconds: float) -> float:
    """A time rounded to a plausible precision."""
    step = 1 if seconds < 20 else 5 if seconds < 120 else 30 if seconds < 1800 else 300
    return max(step, round(seconds / step) * step)
