"""A plan as a Mermaid flowchart: steps are boxes, and groups are boxes around them with their limits."""

from flows.planning import Chain, Choice, FanIn, Group, Leaf, Loop, Node, Plan, Sub


def draw_mermaid(plan: Plan) -> str:
    """The text of a flowchart, from top to bottom; always the same for the same plan."""
    chart = _Chart()
    inner, _, _ = chart.node(plan.root, "", 1)
    return "\n".join(["flowchart TD", *inner, *(f"    {start} --> {end}" for start, end in chart.edges)])


class _Chart:
    def __init__(self) -> None:
        self.edges: list[tuple[str, str]] = []

    def node(self, node: Node, prefix: str, depth: int) -> tuple[list[str], list[str], list[str]]:
        """The lines of a node, and the names of its first and of its last boxes."""
        match node:
            case Leaf() | FanIn():
                return self._box(node, prefix, depth)
            case Chain():
                return self._chain(node.children, prefix, depth)
            case Group(derived=True):
                return self._graph(node, prefix, depth)
            case Group():
                return self._subgraph(
                    node, node.children, f"{_group_name(node)}, at most {_limit(node)}", prefix, depth
                )
            case Loop():
                title = f"{node.label}{node.batch_text}, at most {_limit(node)}"
                return self._subgraph(node, (node.body,), title, prefix, depth)
            case Choice():
                return self._subgraph(
                    node, tuple(case for _, case in node.cases), "switch: the first case that holds", prefix, depth
                )
            case Sub():
                name = _box_name(node, prefix)
                return self._subgraph(node, (node.plan.root,), f"pipeline {node.label}", f"{name}_", depth, title=name)

    def _box(self, node: Node, prefix: str, depth: int) -> tuple[list[str], list[str], list[str]]:
        name = _box_name(node, prefix)
        return [f'{"    " * depth}{name}["{_label_text(node.label)}"]'], [name], [name]

    def _chain(self, nodes: tuple[Node, ...], prefix: str, depth: int) -> tuple[list[str], list[str], list[str]]:
        lines: list[str] = []
        first: list[str] = []
        last: list[str] = []
        for node in nodes:
            inner, entries, exits = self.node(node, prefix, depth)
            lines += inner
            self.edges += [(before, after) for before in last for after in entries]
            first = first or entries
            last = exits or last
        return lines, first, last

    def _graph(self, group: Group, prefix: str, depth: int) -> tuple[list[str], list[str], list[str]]:
        lines: list[str] = []
        ends: list[tuple[list[str], list[str]]] = []
        for index, node in enumerate(group.children):
            inner, entries, exits = self.node(node, prefix, depth)
            lines += inner
            ends.append((entries, exits))
            for earlier in sorted(group.after[index]):
                self.edges += [(before, after) for before in ends[earlier][1] for after in entries]
        awaited = frozenset[int]().union(*group.after)
        first = [name for i, (entries, _) in enumerate(ends) if not group.after[i] for name in entries]
        last = [name for i, (_, exits) in enumerate(ends) if i not in awaited for name in exits]
        return lines, first, last

    def _subgraph(
        self, node: Node, inside: tuple[Node, ...], label: str, prefix: str, depth: int, *, title: str | None = None
    ) -> tuple[list[str], list[str], list[str]]:
        indent = "    " * depth
        lines = [f'{indent}subgraph {title or _box_name(node, prefix)}_group["{_label_text(label)}"]']
        first: list[str] = []
        last: list[str] = []
        for child in inside:
            inner, entries, exits = self.node(child, prefix, depth + 1)
            lines += inner
            first += entries
            last += exits
        return [*lines, f"{indent}end"], first, last


def _box_name(node: Node, prefix: str) -> str:
    return f"{prefix}s{node.path.replace('.', '_').replace(':', '_c')}"


def _group_name(group: Group) -> str:
    return group.label if group.named else "parallel"


def _limit(node: Group | Loop) -> str:
    return "unlimited" if node.limit.value is None else str(node.limit.value)


def _label_text(label: str) -> str:
    return label.replace('"', "'").replace("\n", " ")
