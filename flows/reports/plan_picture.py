"""Draws a plan as a graph: steps are boxes, parallel steps are side by side, and each group shows its limit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from flows.planning import Chain, Choice, FanIn, Group, Leaf, Loop, Node, Plan, Sub
from flows.reports.picture import WIDTH, Picture, fitted, image, text_width
from flows.reports.tables import counted

MOST_SIDE_BY_SIDE, MOST_STEPS = 24, 300
"""Branches of a group that are drawn, and steps of a plan; a plan with more is drawn without the insides of groups."""
_STEP_H, _NOTED_H, _GAP, _SIDE, _PAD, _TITLE = 30.0, 44.0, 22.0, 14.0, 12.0, 30.0
_WIDEST_STEP = 280.0
_BOLD = 1.15
"""The width of bold text relative to normal text."""
_ROOM = WIDTH - 40.0

Draw = Callable[[Picture, float, float], None]


@dataclass(frozen=True)
class _Block:
    """A drawable part: its size, and a function that draws it with its upper left corner at a position."""

    width: float
    height: float
    draw: Draw
    is_step: bool = False


@dataclass
class _Line:
    """The blocks of a chain in one line."""

    blocks: list[_Block] = field(default_factory=list[_Block])

    @property
    def width(self) -> float:
        return sum(block.width for block in self.blocks) + _GAP * (len(self.blocks) - 1)

    @property
    def height(self) -> float:
        return max(block.height for block in self.blocks)


def plan_picture(plan: Plan) -> str:
    """The graph of a plan as Markdown, always the same for the same plan."""
    steps = sum(isinstance(node, (Leaf, FanIn)) for node in plan.nodes)
    block = _block(plan.root, _ROOM, whole=steps <= MOST_STEPS)
    width = max(WIDTH, block.width + 40)
    picture = Picture()
    block.draw(picture, (width - block.width) / 2, 20)
    about = f"The plan of {plan.pipeline.name}: {counted(steps, 'step')}"
    return image(picture.svg(block.height + 40, about=about, width=width), about=about)


def _block(node: Node, room: float, *, whole: bool) -> _Block:
    match node:
        case Leaf() | FanIn():
            return _step(node)
        case Chain():
            return _chain([_block(child, room, whole=whole) for child in node.children], room)
        case Group(derived=True):
            return _by_level(node, room, whole=whole)
        case Group():
            inner = [_block(child, room / 2, whole=whole) for child in node.children] if whole else []
            return _frame(group_title(node), _shelf(inner, len(node.children), room - 2 * _PAD), "group")
        case Loop():
            return _frame(group_title(node), _block(node.body, room - 2 * _PAD, whole=whole), "loop")
        case Choice():
            cases = [
                _frame(condition or "otherwise", _block(case, room / 2, whole=whole), "case")
                for condition, case in node.cases
            ]
            return _frame(group_title(node), _shelf(cases, len(cases), room - 2 * _PAD), "case")
        case Sub():
            return _frame(group_title(node), _block(node.plan.root, room - 2 * _PAD, whole=whole), "sub")


def group_title(node: Group | Loop | Choice | Sub) -> str:
    """The title of a group, loop, switch or sub-pipeline, with its concurrency limit."""
    match node:
        case Group():
            name = node.label if node.named else "side by side"
            policy = "" if node.policy.name == "all_or_nothing" else f" · {node.policy.name}"
            return f"{name} · {_at_once(node.limit.value, len(node.children))}{policy}"
        case Loop():
            batch = node.batch_text.replace(", ", " · ")
            over = f" · for each of {node.over}" if node.named and node.over not in node.label else ""
            return f"{node.label}{over}{batch} · {_at_once(node.limit.value)}"
        case Choice():
            return "the first case that holds"
        case Sub():
            return f"pipeline {node.label}"


def _at_once(limit: int | None, count: int | None = None) -> str:
    if limit is None or (count is not None and limit >= count):
        return "all at once" if count is None else f"{count} at once"
    return f"{limit} at a time" if count is None else f"{limit} of {count} at a time"


def _step(node: Leaf | FanIn) -> _Block:
    notes = [f"if {node.when}"] if node.when else []
    notes += ["not enabled"] if not node.enabled else []
    if isinstance(node, Leaf):
        notes += [f"uses {', '.join(node.uses)}"] if node.uses else []
        notes += ["in a process"] if node.spec.isolation == "process" else []
        notes += [node.spec.name] if node.named and node.label != node.spec.name else []
    note = " · ".join(notes)
    width = min(_WIDEST_STEP, max(text_width(node.label), text_width(note, size=11.5)) + 24)
    height = _NOTED_H if note else _STEP_H
    kind = "step maybe" if node.when or not node.enabled else "step"

    def draw(picture: Picture, x: float, y: float) -> None:
        picture.box(x, y, width, height, kind)
        middle = x + width / 2
        picture.text(middle, y + 19.5, fitted(node.label, width - 12), anchor="middle")
        if note:
            picture.text(middle, y + 35, fitted(note, width - 12, size=11.5), "s", anchor="middle")

    return _Block(width, height, draw, is_step=True)


def _chain(blocks: Sequence[_Block], room: float) -> _Block:
    """A sequence: steps from left to right while there is room, everything else stacked."""
    lines: list[_Line] = []
    for block in blocks:
        last = lines[-1] if lines else None
        fits = last is not None and last.width + _GAP + block.width <= room
        if last is not None and fits and block.is_step and all(each.is_step for each in last.blocks):
            last.blocks.append(block)
        else:
            lines.append(_Line([block]))
    width = max((line.width for line in lines), default=0.0)
    height = sum(line.height for line in lines) + _GAP * max(0, len(lines) - 1)

    def draw(picture: Picture, x: float, y: float) -> None:
        leave = None
        for line in lines:
            left = x + (width - line.width) / 2
            if leave is not None:
                enter, bend = left + line.blocks[0].width / 2, y - _GAP / 2
                turn = ((leave, bend), (enter, bend)) if abs(enter - leave) > 1 else ()
                picture.arrow((leave, y - _GAP), *turn, (enter, y - 1))
            for position, block in enumerate(line.blocks):
                block.draw(picture, left, y + (line.height - block.height) / 2)
                if position < len(line.blocks) - 1:
                    middle = y + line.height / 2
                    picture.arrow((left + block.width, middle), (left + block.width + _GAP - 1, middle))
                left += block.width + _GAP
            y += line.height + _GAP
            leave = left - _GAP - line.blocks[-1].width / 2

    return _Block(width, height, draw)


def _shelf(blocks: Sequence[_Block], count: int, room: float) -> _Block:
    """Branches side by side, in several rows if necessary; the last block has the number of branches that are not
    drawn.
    """
    shown = list(blocks[:MOST_SIDE_BY_SIDE])
    if len(shown) < count:
        shown.append(_words(f"{'and ' if shown else ''}{counted(count - len(shown), 'branch', 'branches')}"))
    lines = [_Line()]
    for block in shown:
        if lines[-1].blocks and lines[-1].width + _SIDE + block.width > room:
            lines.append(_Line())
        lines[-1].blocks.append(block)
    widths = [sum(block.width for block in line.blocks) + _SIDE * (len(line.blocks) - 1) for line in lines]
    height = sum(line.height for line in lines) + _SIDE * (len(lines) - 1)
    width = max(widths)

    def draw(picture: Picture, x: float, y: float) -> None:
        for line, taken in zip(lines, widths, strict=True):
            left = x + (width - taken) / 2
            for block in line.blocks:
                block.draw(picture, left, y + (line.height - block.height) / 2)
                left += block.width + _SIDE
            y += line.height + _SIDE

    return _Block(width, height, draw)


def _frame(title: str, inner: _Block, kind: str) -> _Block:
    width = max(inner.width, min(_BOLD * text_width(title, size=11.5), 460.0)) + 2 * _PAD
    height = inner.height + _TITLE + _PAD

    def draw(picture: Picture, x: float, y: float) -> None:
        picture.box(x, y, width, height, kind, radius=9)
        picture.text(x + _PAD, y + 19, fitted(title, (width - 2 * _PAD) / _BOLD + 4, size=11.5), "s b")
        inner.draw(picture, x + (width - inner.width) / 2, y + _TITLE)

    return _Block(width, height, draw)


def _words(text: str) -> _Block:
    return _Block(
        text_width(text, size=11.5) + 12, _STEP_H, lambda picture, x, y: picture.text(x + 6, y + 19, text, "s")
    )


def _by_level(group: Group, room: float, *, whole: bool) -> _Block:
    """A list with `mode: dag`, in levels: steps without dependencies are at the top."""
    levels: dict[int, list[_Block]] = {}
    level: list[int] = []
    places: list[tuple[int, int]] = []
    for position, child in enumerate(group.children):
        own = 1 + max((level[earlier] for earlier in group.after[position]), default=-1)
        level.append(own)
        row = levels.setdefault(own, [])
        places.append((own, len(row)))
        row.append(_block(child, room / 2, whole=whole))
    lines = [_Line(levels[number]) for number in sorted(levels)]
    gap = 2 * _GAP
    widths = [sum(block.width for block in line.blocks) + gap * (len(line.blocks) - 1) for line in lines]
    width = max(widths, default=0.0)
    height = sum(line.height for line in lines) + gap * max(0, len(lines) - 1)

    def draw(picture: Picture, x: float, y: float) -> None:
        boxes: dict[tuple[int, int], tuple[float, float, _Block]] = {}
        for number, (line, taken) in enumerate(zip(lines, widths, strict=True)):
            left = x + (width - taken) / 2
            for position, block in enumerate(line.blocks):
                boxes[number, position] = left, y, block
                left += block.width + gap
            y += line.height + gap
        for position, waits in enumerate(group.after):
            left, top, block = boxes[places[position]]
            for earlier in sorted(waits):
                above, high, box = boxes[places[earlier]]
                picture.arrow((above + box.width / 2, high + box.height), (left + block.width / 2, top - 1))
        for left, top, block in boxes.values():
            block.draw(picture, left, top)

    return _Block(width, height, draw)
