"""Everything that a run declared, as a tree of places: nodes with the items that loops turned out to have."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from flows.model import StepPath
from flows.planning import Chain, Choice, FanIn, Group, Leaf, Loop, Node, Sub


@dataclass
class Place:
    """One node in one item; an item of a loop is a place too, with the loop's body in it."""

    path: StepPath
    node: Node
    item: bool = False
    children: "list[Place]" = field(default_factory=lambda: list[Place]())
    parent: "Place | None" = None
    position: int = 0
    """Among the children of its parent."""

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

    def walk(self) -> "Iterator[Place]":
        """This place and all in it, parents first, in declared order."""
        yield self
        for child in self.children:
            yield from child.walk()

    @property
    def above(self) -> "Iterator[tuple[Place, int]]":
        """The places around, nearest first, each with the position of its child that this place is in."""
        inner, outer = self, self.parent
        while outer is not None:
            yield outer, inner.position
            inner, outer = outer, outer.parent


def declared_places(root: Node, sizes: Mapping[StepPath, int]) -> Place:
    """The tree of a plan's root; `sizes` gives the number of items by path of a loop, none for loops without."""
    return _place(root, "", "", sizes)


def _place(node: Node, start: str, run_path: str, sizes: Mapping[StepPath, int]) -> Place:
    path = StepPath(node.path).moved(start, run_path)
    match node:
        case Chain() | Group():
            inside = [_place(child, start, run_path, sizes) for child in node.children]
        case Choice():
            inside = [_place(case, start, run_path, sizes) for _, case in node.cases]
        case Sub():
            inside = [_place(node.plan.root, "", f"{path}/", sizes)]
        case Loop():
            items = [path.of_item(index) for index in range(sizes.get(path, 0))]
            inside = [_around(item, node, [_place(node.body, node.path, item, sizes)], item=True) for item in items]
        case Leaf() | FanIn():
            inside = list[Place]()
    return _around(path, node, inside)


def _around(path: StepPath, node: Node, inside: list[Place], *, item: bool = False) -> Place:
    place = Place(path, node, item, inside)
    for position, child in enumerate(inside):
        child.parent, child.position = place, position
    return place
