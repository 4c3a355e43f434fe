"""The path of a step in a run, with the indices of the loop items that contain it."""

import re

ITEM = re.compile(r"\[\d+\]")
"""The index of an item in a path or an id."""
_NUMBER = re.compile(r"\d+")
_BOUNDARY = re.compile(r"[.\[/:]")


class StepPath(str):
    """A path such as `3[2].0`: the first step in the third item of the loop at 3. An id (`embed[2]`) has the same
    syntax.

    A dot separates the positions in nested lists, brackets hold the index of an item, a colon precedes the number of a
    switch's case, and a slash precedes the steps of a sub-pipeline, which count from 0 again.
    """

    __slots__ = ()

    @property
    def plain(self) -> "StepPath":
        """The path in the plan: the same for all items of a loop."""
        return StepPath(ITEM.sub("", self))

    @property
    def step(self) -> str:
        """The id of the step in the plan, if this is an id or the key of a finished call."""
        return self.partition("[")[0]

    @property
    def item(self) -> str:
        """The indices of all enclosing items, outermost first: `[2][0]`; empty outside of loops."""
        return "".join(ITEM.findall(self))

    @property
    def sort_key(self) -> tuple[int, ...]:
        """Sorts paths in declared order: `3[2].0` after `3` and before `3[10]`."""
        return tuple(int(number) for number in _NUMBER.findall(self))

    @property
    def around(self) -> "tuple[StepPath, ...]":
        """The paths of all enclosing nodes, outermost first, without the empty path of the run itself."""
        return tuple(StepPath(self[: boundary.start()]) for boundary in _BOUNDARY.finditer(self))

    @property
    def loop(self) -> "StepPath | None":
        """The path of the innermost enclosing loop; None outside of loops."""
        head, bracket, _ = self.rpartition("[")
        return StepPath(head) if bracket else None

    def inside(self, other: str) -> bool:
        """Whether it is `other` or something in it; everything is inside the empty path."""
        return not other or self == other or (self.startswith(other) and self[len(other)] in ".[/:")

    def moved(self, start: str, to: str) -> "StepPath":
        """The path with its beginning `start` replaced by `to`."""
        return StepPath(to + self.removeprefix(start))

    def of_item(self, index: int) -> "StepPath":
        """The path of one item of the loop that has this path."""
        return StepPath(f"{self}[{index}]")
