"""`mode: dag`: which steps of a list wait for which others, by their declarations; the rest may run side by side."""

from collections.abc import Sequence

from flows.planning.plan import Node


def derive_group(
    nodes: Sequence[Node], declared: Sequence[frozenset[int]]
) -> tuple[tuple[frozenset[int], ...], tuple[str, ...]] | None:
    """For each step, the earlier steps that it waits for, and the reasons in words; None if all have to stay in order.

    A step waits for an earlier step if one of them writes a field that the other reads or writes, if they share an
    effect, or if its `depends_on` names that step (`declared`, by index). A step with undeclared reads, writes or
    effects waits for all steps before it, and all steps after it wait for it.
    """
    after: list[frozenset[int]] = []
    reasons: list[str] = []
    for later, node in enumerate(nodes):
        found = {
            earlier: reason
            for earlier in range(later)
            if (reason := _wait_reason(nodes[earlier], node, earlier in declared[later]))
        }
        direct = _without_implied(frozenset(found), after)
        after.append(direct)
        waits = "; ".join(f"{nodes[one].label} ({found[one]})" for one in sorted(direct))
        reasons.append(f"{node.label} waits for {waits}" if waits else f"{node.label} can start at once")
    if all(direct == ({index - 1} if index else frozenset()) for index, direct in enumerate(after)):
        return None
    return tuple(after), tuple(reasons)


def _wait_reason(first: Node, second: Node, declared: bool) -> str:
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
    """The waits in `direct` that no other wait implies."""
    return direct.difference(*(all_before(after, index) for index in direct))


def all_before(after: Sequence[frozenset[int]], index: int) -> frozenset[int]:
    """The branches that branch `index` waits for, directly or through others; `after` may be empty for no waits."""
    found: set[int] = set()
    waiting = list(after[index]) if after else []
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting.extend(after[one])
    return frozenset(found)
