"""Display names of steps and calls: `embed · batch 2 of 5` instead of `6.5.0.embed[1]`."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from flows.author import Outcome
from flows.engine import Event, LoopStarted
from flows.model import StepPath
from flows.planning import Chain, FanIn, Group, Leaf, Loop, Node, Plan, Sub, node_children


@dataclass(frozen=True)
class _Named:
    label: str
    group: str = ""
    """The name of the enclosing group, if its author named it."""
    batches: bool = False
    """For a loop: whether its items are batches."""


class StepNames:
    """Names by path in the plan; as an observer, it learns how many items the loops have."""

    def __init__(self, plan: Plan) -> None:
        self._named: dict[StepPath, _Named] = {}
        self._items: dict[StepPath, int] = {}
        self._leaves: list[StepPath] = []
        self._collect(plan.root, "", "")
        self._number_twins()

    def __call__(self, event: Event) -> None:
        if isinstance(event, LoopStarted):
            self._items[event.path] = event.items

    def learn(self, outcomes: Iterable[Outcome]) -> "StepNames":
        """The same, with the items of loops from the outcomes of a run that has ended."""
        for outcome in outcomes:
            if outcome.kind == "item":
                path, _, last = outcome.path.rpartition("[")
                loop = StepPath(path)
                self._items[loop] = max(self._items.get(loop, 0), int(last.rstrip("]")) + 1)
        return self

    def _collect(self, node: Node, prefix: str, group: str) -> None:
        batches = isinstance(node, Loop) and (node.batch_size is not None or "batch" in (node.id + node.over).lower())
        path = StepPath(prefix + node.path)
        if not isinstance(node, Chain) or node.own_outcome:  # a plain list of steps has the path of its enclosing node
            self._named[path] = _Named(node.label, group, batches)
        if isinstance(node, (Leaf, FanIn)):
            self._leaves.append(path)
        inner = group
        if isinstance(node, (Group, Loop, Sub)):
            inner = node.label if isinstance(node, Group) and node.named else ""
        for child in node_children(node):
            self._collect(child, f"{prefix}{node.path}/" if isinstance(node, Sub) else prefix, inner)

    def _number_twins(self) -> None:
        """Number the steps of a group that have the same name."""
        alike: dict[tuple[str, str], list[StepPath]] = {}
        for path in self._leaves:
            alike.setdefault((self._named[path].label, self._named[path].group), []).append(path)
        for twins in alike.values():
            for number, path in enumerate(twins if len(twins) > 1 else (), start=1):
                self._named[path] = replace(self._named[path], label=f"{self._named[path].label} #{number}")

    def step(self, path: str, id: str) -> str:
        """The name of a step or group of the plan; `id` is its name if the plan does not know it."""
        named = self._named.get(StepPath(path).plain)
        return named.label if named is not None else StepPath(id).step

    def group(self, path: str) -> str:
        """The name of the group around a step; empty if its author did not name it."""
        named = self._named.get(StepPath(path).plain)
        return named.group if named is not None else ""

    def items(self, path: str) -> str:
        """The loop items that contain a path: `batch 2 of 5`; empty outside of loops."""
        whole = StepPath(path)
        parts: list[str] = []
        for around in (*whole.around, whole):
            if not around.endswith("]"):
                continue
            loop, _, last = around.rpartition("[")
            named, count = self._named.get(StepPath(loop).plain), self._items.get(StepPath(loop))
            word = "batch" if named is not None and named.batches else "item"
            parts.append(f"{word} {int(last.rstrip(']')) + 1}{f' of {count}' if count else ''}")
        return ", ".join(parts)

    def call(self, path: str, id: str) -> str:
        """The name of one call: its step, the item or batch, and the group around it."""
        name = " · ".join(part for part in (self.step(path, id), self.items(path)) if part)
        group = self.group(path)
        return f"{name} ({group})" if group else name
