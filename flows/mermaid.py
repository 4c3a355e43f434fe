"""A plan as a Mermaid flowchart: groups as subgraphs with their limits, and after a run how every step ended."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import assert_never

from flows.plan import Chain, Choice, FanIn, Group, Leaf, Limit, Loop, Node, Plan, Sub
from flows.results import Outcome, Status

_FILLS: dict[Status, str] = {
    "succeeded": "fill:#d7f5dd,stroke:#2e7d32,color:#1b1b1b",
    "failed": "fill:#fbd9d9,stroke:#c62828,color:#1b1b1b",
    "timed_out": "fill:#fde6cc,stroke:#ef6c00,color:#1b1b1b",
    "cancelled": "fill:#ececec,stroke:#757575,color:#1b1b1b",
    "abandoned": "fill:#e6dcf5,stroke:#5e35b1,color:#1b1b1b",
    "skipped": "fill:#ffffff,stroke:#9e9e9e,color:#616161,stroke-dasharray:4 3",
}
_WORST: tuple[Status, ...] = ("failed", "abandoned", "timed_out", "cancelled", "succeeded", "skipped")
_ESCAPES = str.maketrans({'"': "#quot;", "#": "#35;", "&": "#amp;", "<": "#lt;", ">": "#gt;", "\n": " "})


def mermaid(plan: Plan, outcomes: Iterable[Outcome] | None = None) -> str:
    """The flowchart, top down; with `outcomes` every step has the class of its status.

    A step that ran for several items is drawn once: it has the worst of its statuses and says how many there were.
    """
    drawing = _Drawing({} if outcomes is None else _by_node(outcomes))
    start, end = drawing.name(), drawing.name()
    drawing.line(f"{start}([{_text(plan.pipeline.name)}])")
    for last in drawing.node(plan.root, [start]):
        drawing.line(f"{last} --> {end}")
    drawing.line(f"{end}([end])")
    ceiling = [] if plan.limit.value is None else [f"%% at most {plan.limit} at once in the whole run"]
    return "\n".join(["flowchart TD", *ceiling, *drawing.lines, *drawing.classes()])


class _Drawing:
    """The lines of a flowchart as they come, with short names for the nodes."""

    def __init__(self, outcomes: dict[str, Counter[Status]]) -> None:
        self.outcomes = outcomes
        self.lines: list[str] = []
        self.used: dict[Status, list[str]] = {}
        self.indent = 1
        self.count = 0

    def name(self) -> str:
        self.count += 1
        return f"n{self.count - 1}"

    def line(self, text: str) -> None:
        self.lines.append("    " * self.indent + text)

    def classes(self) -> list[str]:
        return [
            line
            for status, names in self.used.items()
            for line in (f"    classDef {status} {_FILLS[status]}", f"    class {','.join(names)} {status}")
        ]

    def node(self, node: Node, before: list[str], prefix: str = "") -> list[str]:
        """Draw a node after those named `before`; the names of what the next one comes after."""
        match node:
            case Leaf() | FanIn():
                return [self._box(node, before, prefix)]
            case Chain():
                for child in node.children:
                    before = self.node(child, before, prefix)
                return before
            case Group():
                return self._group(node, before, prefix)
            case Loop():
                size = f", {node.batch_size} at a time" if node.batch_size else ""
                with self._frame(node, f"{node.label}{size} · {_limit(node.limit)}", before) as frame:
                    self.node(node.body, [], prefix)
                return [frame]
            case Choice():
                return self._choice(node, before, prefix)
            case Sub():
                with self._frame(node, f"{node.label} · pipeline", before) as frame:
                    self.node(node.plan.root, [], f"{prefix}{node.path}/")
                return [frame]
            case _:
                assert_never(node)

    def _box(self, node: Leaf | FanIn, before: list[str], prefix: str) -> str:
        name = self.name()
        label = node.label if node.id.endswith(node.label) else f"{node.label}<br/>{node.id}"
        ran = self.outcomes.get(prefix + node.path, Counter())
        label += f" × {ran.total()}" if ran.total() > 1 else ""
        if ran:
            self.used.setdefault(_worst(ran), []).append(name)
        self.line(f"{name}[{_text(label)}]")
        self._arrows(node, before, name)
        return name

    def _group(self, group: Group, before: list[str], prefix: str) -> list[str]:
        rule = "order derived" if group.derived else group.policy.name
        title = "parallel" if group.label.startswith("Parallel(") else group.label
        with self._frame(group, f"{title} · {_limit(group.limit)}, {rule}", before) as frame:
            ends: list[list[str]] = []
            for position, child in enumerate(group.children):
                waits = [name for one in sorted(group.after[position]) for name in ends[one]] if group.after else []
                ends.append(self.node(child, waits, prefix))
        return [frame]

    def _choice(self, choice: Choice, before: list[str], prefix: str) -> list[str]:
        fork = self.name()
        self.line(f"{fork}{{{_text(choice.label)}}}")
        self._arrows(choice, before, fork)
        ends: list[str] = []
        for condition, case in choice.cases:
            gate = self.name()
            self.line(f"{fork} --> {gate}({_text(condition if condition is not None else 'otherwise')})")
            ends += self.node(case, [gate], prefix)
        if all(condition is not None for condition, _ in choice.cases):
            ends.append(fork)  # no case may hold
        return ends

    @contextmanager
    def _frame(self, node: Node, title: str, before: list[str]) -> Iterator[str]:
        """A subgraph around what is drawn inside; arrows lead to it and from it as a whole."""
        name = self.name()
        self._arrows(node, before, name)
        self.line(f"subgraph {name}[{_text(title)}]")
        self.indent += 1
        yield name
        self.indent -= 1
        self.line("end")

    def _arrows(self, node: Node, before: list[str], name: str) -> None:
        condition = "|disabled|" if not node.enabled else f"|{_text(f'when {node.when}')}|" if node.when else ""
        for one in before:
            self.line(f"{one} -->{condition} {name}")


def _by_node(outcomes: Iterable[Outcome]) -> dict[str, Counter[Status]]:
    """Statuses by the path of the node in the plan, without the indices of items."""
    found: dict[str, Counter[Status]] = {}
    for outcome in outcomes:
        found.setdefault(re.sub(r"\[\d+\]", "", outcome.path), Counter())[outcome.status] += 1
    return found


def _worst(statuses: Counter[Status]) -> Status:
    return next(status for status in _WORST if status in statuses)


def _limit(limit: Limit) -> str:
    return "no limit" if limit.value is None else f"{limit.value} at once"


def _text(text: str) -> str:
    """Quoted for Mermaid, whose escapes are `#name;`; a long text is shortened."""
    short = text if len(text) <= 120 else f"{text[:117]}…"
    return '"' + "<br/>".join(part.translate(_ESCAPES) for part in short.split("<br/>")) + '"'
