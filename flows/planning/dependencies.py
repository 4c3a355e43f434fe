"""`mode: dag`: which steps of a list must wait for which, from what they declare; the rest may run side by side."""

from collections.abc import Sequence

from flows.planning.plan import Node


def derive_group(
    nodes: Sequence[Node], declared: Sequence[frozenset[int]]
) -> tuple[tuple[frozenset[int], ...], tuple[str, ...]] | None:
    """For every step the earlier ones it waits for, and why, in words; None if the list has to stay in order.

    A step waits for an earlier one that writes what it reads or writes, reads what it writes, shares an effect, or
    is named in its `depends_on`. A step with undeclared reads, writes or effects keeps its place among all.
    `declared` holds the positions that `depends_on` names.
    """
    after: list[frozenset[int]] = []
    why: list[str] = []
    for later, node in enumerate(nodes):
        reasons = {
            earlier: reason
            for earlier in range(later)
            if (reason := _reason(nodes[earlier], node, earlier in declared[later]))
        }
        direct = _without_implied(frozenset(reasons), after)
        after.append(direct)
        waits = "; ".join(f"{nodes[one].label} ({reasons[one]})" for one in sorted(direct))
        why.append(f"{node.label} waits for {waits}" if waits else f"{node.label} can start at once")
    if all(direct == ({position - 1} if position else frozenset()) for position, direct in enumerate(after)):
        return None
    return tuple(after), tuple(why)


def _reason(first: Node, second: Node, declared: bool) -> str:
    earlier, later = first.access, second.access
    if declared:
        return "depends_on"
    for node in (first, second):
        if not (node.access.known and node.access.effects_known):
            return f"{node.label} does not declare all it does"
    for names, reason in (
        (earlier.writes & later.reads, "it reads {}"),
        (earlier.writes & later.writes, "both write {}"),
        (earlier.reads & later.writes, "it replaces {}, which is read before"),
        (earlier.effects & later.effects, "both change {}"),
    ):
        if names:
            return reason.format(", ".join(sorted(names)))
    return ""


def _without_implied(direct: frozenset[int], after: Sequence[frozenset[int]]) -> frozenset[int]:
    """Only the waits that no other wait implies."""
    implied: set[int] = set()
    for one in direct:
        waiting = list(after[one])
        while waiting:
            other = waiting.pop()
            if other not in implied:
                implied.add(other)
                waiting.extend(after[other])
    return direct - implied
