"""Everything that a run declared, as a tree of places: nodes with the items that loops turned out to have."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from flows.planning import Chain, Choice, FanIn, Group, Leaf, Loop, Node, Sub


@dataclass
class Place:
    """One node in one item; an item of a loop is a place too, with the loop's body in it."""

    path: str
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


def declared_places(root: Node, sizes: Mapping[str, int]) -> Place:
    """The tree of a plan's root; `sizes` gives the number of items by path of a loop, none for loops without."""
    return _place(root, "", 0, sizes)


def _place(node: Node, prefix: str, strip: int, sizes: Mapping[str, int]) -> Place:
    path = prefix + node.path[strip:]
    match node:
        case Chain() | Group():
            inside = [_place(child, prefix, strip, sizes) for child in node.children]
        case Choice():
            inside = [_place(case, prefix, strip, sizes) for _, case in node.cases]
        case Sub():
            inside = [_place(node.plan.root, f"{path}/", 0, sizes)]
        case Loop():
            items = [f"{path}[{number}]" for number in range(sizes.get(path, 0))]
            inside = [
                _around(item, node, [_place(node.body, item, len(node.path), sizes)], item=True) for item in items
            ]
        case Leaf() | FanIn():
            inside = list[Place]()
    return _around(path, node, inside)


def _around(path: str, node: Node, inside: list[Place], *, item: bool = False) -> Place:
    place = Place(path, node, item, inside)
    for position, child in enumerate(inside):
        child.parent, child.position = place, position
    return place
