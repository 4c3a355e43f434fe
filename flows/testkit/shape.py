"""Everything that was declared in a run, as a tree: the nodes of the plan, repeated for every item of their loops."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from flows.model import StepPath
from flows.planning import Chain, Choice, FanIn, Group, Leaf, Loop, Node, Sub


@dataclass
class NodeInstance:
    """One node of the plan in one item. An item of a loop is an instance too, with the body of the loop inside."""

    path: StepPath
    node: Node
    item: bool = False
    children: "list[NodeInstance]" = field(default_factory=lambda: list[NodeInstance]())
    parent: "NodeInstance | None" = None
    index: int = 0
    """Its index among the children of its parent."""

    @property
    def declared(self) -> bool:
        """Whether it must have an outcome of its own."""
        if self.item:
            return True
        match self.node:
            case Leaf() | FanIn() | Loop() | Choice() | Sub():
                return True
            case Chain(path=path, own_outcome=own):
                return own and bool(path)
            case Group(derived=derived, own_outcome=own):
                return own or not derived

    def walk(self) -> "Iterator[NodeInstance]":
        """Yield this instance and all instances inside it, parents first, in declared order."""
        yield self
        for child in self.children:
            yield from child.walk()

    @property
    def above(self) -> "Iterator[tuple[NodeInstance, int]]":
        """The enclosing instances, nearest first, each with the index of its child that this one is inside."""
        inner, outer = self, self.parent
        while outer is not None:
            yield outer, inner.index
            inner, outer = outer, outer.parent


def node_instances(root: Node, sizes: Mapping[StepPath, int]) -> NodeInstance:
    """The tree of a plan's root; `sizes` has the number of items by path of a loop."""
    return _instance(root, "", "", sizes)


def _instance(node: Node, start: str, run_path: str, sizes: Mapping[StepPath, int]) -> NodeInstance:
    path = StepPath(node.path).moved(start, run_path)
    match node:
        case Chain() | Group():
            inside = [_instance(child, start, run_path, sizes) for child in node.children]
        case Choice():
            inside = [_instance(case, start, run_path, sizes) for _, case in node.cases]
        case Sub():
            inside = [_instance(node.plan.root, "", f"{path}/", sizes)]
        case Loop():
            items = [path.of_item(index) for index in range(sizes.get(path, 0))]
            inside = [
                _instance_around(item, node, [_instance(node.body, node.path, item, sizes)], item=True)
                for item in items
            ]
        case Leaf() | FanIn():
            inside = list[NodeInstance]()
    return _instance_around(path, node, inside)


def _instance_around(path: StepPath, node: Node, inside: list[NodeInstance], *, item: bool = False) -> NodeInstance:
    instance = NodeInstance(path, node, item, inside)
    for index, child in enumerate(inside):
        child.parent, child.index = instance, index
    return instance
