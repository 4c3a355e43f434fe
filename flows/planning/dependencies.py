"""`mode: dag`: derives from the declarations which steps of a list wait for which others; the rest run in parallel."""

from collections.abc import Iterator, Sequence

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
    before: list[int] = []
    reasons: list[str] = []
    latest = _Latest()
    for later, node in enumerate(nodes):
        direct = _without_implied(latest.before(node) | declared[later], before)
        latest.add(later, node)
        before.append(_with_all_before(direct, before))
        after.append(direct)
        found = {one: _wait_reason(nodes[one], node, one in declared[later]) for one in direct}
        waits = "; ".join(f"{nodes[one].label} ({found[one]})" for one in sorted(direct))
        reasons.append(f"{node.label} waits for {waits}" if waits else f"{node.label} can start at once")
    if all(direct == ({index - 1} if index else frozenset()) for index, direct in enumerate(after)):
        return None
    return tuple(after), tuple(reasons)


class _Latest:
    """The latest steps that a further step may have to wait for; earlier steps are covered by them."""

    def __init__(self) -> None:
        self._writers: dict[str, int] = {}
        self._readers: dict[str, set[int]] = {}
        self._changers: dict[str, int] = {}
        self._barrier: int | None = None
        """The last step that does not declare all its reads, writes and effects."""
        self._since: set[int] = set()
        """The steps after it."""

    def before(self, node: Node) -> frozenset[int]:
        access = node.access
        found = set[int]() if self._barrier is None else {self._barrier}
        if not _is_declared(node):
            found |= self._since
        for name in access.reads | access.writes:
            if name in self._writers:
                found.add(self._writers[name])
        for name in access.writes:
            found |= self._readers.get(name, set())
        found.update(self._changers[effect] for effect in access.effects if effect in self._changers)
        return frozenset(found)

    def add(self, index: int, node: Node) -> None:
        access = node.access
        if not _is_declared(node):
            self._barrier, self._since = index, set()
            self._writers, self._readers, self._changers = {}, {}, {}
            return
        self._since.add(index)
        for name in access.writes:
            self._writers[name] = index
            self._readers[name] = set()
        for name in access.reads:
            self._readers.setdefault(name, set()).add(index)
        self._changers.update(dict.fromkeys(access.effects, index))


def _is_declared(node: Node) -> bool:
    return node.access.known and node.access.effects_known


def _wait_reason(first: Node, second: Node, declared: bool) -> str:
    earlier, later = first.access, second.access
    if declared:
        return "depends_on"
    for node in (first, second):
        if not _is_declared(node):
            return f"{node.label} does not declare all its reads, writes and effects"
    for names, reason in (
        (earlier.writes & later.reads, "it reads {}"),
        (earlier.writes & later.writes, "both write {}"),
        (earlier.reads & later.writes, "it replaces {}, which is read before"),
        (earlier.effects & later.effects, "both change {}"),
    ):
        if names:
            return reason.format(", ".join(sorted(names)))
    return ""


def _without_implied(direct: frozenset[int], before: Sequence[int]) -> frozenset[int]:
    """The waits in `direct` that no other wait implies."""
    implied = 0
    for one in direct:
        implied |= before[one]
    return frozenset(one for one in direct if not implied >> one & 1)


def _with_all_before(direct: frozenset[int], before: Sequence[int]) -> int:
    found = 0
    for one in direct:
        found |= before[one] | 1 << one
    return found


def waits_of_all(after: Sequence[frozenset[int]], count: int) -> list[int]:
    """For each of `count` branches, its direct and indirect dependencies, as the bits of a number.

    Branches wait for earlier ones only.
    """
    before: list[int] = []
    for index in range(count):
        before.append(_with_all_before(after[index], before) if after else 0)
    return before


def bits(number: int) -> Iterator[int]:
    """The bits that are set, the lowest first."""
    while number:
        low = number & -number
        yield low.bit_length() - 1
        number ^= low


def all_before(after: Sequence[frozenset[int]], index: int) -> frozenset[int]:
    """The direct and indirect dependencies of branch `index`; `after` may be empty if there are none."""
    found: set[int] = set()
    waiting = list(after[index]) if after else []
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting.extend(after[one])
    return frozenset(found)
