"""A plan: the pipeline with every name resolved, every limit settled and every node numbered; what the engine walks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from flows.author import HandlerSpec
from flows.errors import Problem
from flows.model import Merge, Pipeline, Policy, Retry, RetryBudget, Settled, Split, Tolerance, tightest


@dataclass(frozen=True)
class Limit:
    """How many may run at once (None: any number), and who said so."""

    value: int | None
    origin: str

    def __str__(self) -> str:
        return f"{'unlimited' if self.value is None else self.value} ({self.origin})"


@dataclass(frozen=True)
class NodeFields:
    """What every node of a plan has."""

    path: str
    """Dotted position in the pipeline, counted from 0: `2.1`."""
    id: str
    label: str
    timeout_s: float | None = None
    when: str | None = None
    enabled: bool = True
    access: "Access" = field(default_factory=lambda: Access())


@dataclass(frozen=True)
class Access:
    """The fields that a node reads and writes, and what it changes outside the context."""

    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    effects: frozenset[str] = frozenset()
    known: bool = True
    """Whether it reads and writes no other fields."""
    effects_known: bool = True
    """Whether it changes nothing else outside the context."""

    def __or__(self, other: "Access") -> "Access":
        return Access(
            self.reads | other.reads,
            self.writes | other.writes,
            self.effects | other.effects,
            self.known and other.known,
            self.effects_known and other.effects_known,
        )


@dataclass(frozen=True)
class Leaf(NodeFields):
    """One handler call."""

    spec: HandlerSpec = field(kw_only=True)
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    reads: Mapping[str, str] = field(default_factory=dict[str, str])
    """Parameter: field."""
    writes: Mapping[str, str] = field(default_factory=dict[str, str])
    """Declared write: field."""
    retry: Retry = field(default_factory=Retry)
    uses: tuple[str, ...] = ()
    expected_tokens: int = 0


@dataclass(frozen=True)
class FanIn(NodeFields):
    """A merge of a group's branch results, or of fields, by a strategy."""

    source: str | None = None
    inputs: tuple[str, ...] = ()
    merge: Merge = field(default_factory=Merge)


@dataclass(frozen=True)
class Chain(NodeFields):
    """Nodes in order."""

    children: tuple["Node", ...] = ()
    own_outcome: bool = False
    """Whether people declared it as a thing of its own: a branch of several steps."""


@dataclass(frozen=True)
class Group(NodeFields):
    """Branches side by side; `after[i]` are the positions that branch i waits for and sees."""

    children: tuple["Node", ...] = ()
    after: tuple[frozenset[int], ...] = ()
    limit: Limit = field(default_factory=lambda: Limit(None, "default"))
    policy: Policy = field(default_factory=Policy)
    merge: Merge | None = None
    split: Split | None = None
    reducers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Those of the group over the pipeline's; none for a derived group, in which writes replace each other in order."""
    derived: bool = False
    """Made from a list of steps by what they declare; a failure then counts as it would in the list."""
    own_outcome: bool = True
    why: tuple[str, ...] = ()
    """For a derived group, a line a child: what it waits for and why."""


@dataclass(frozen=True)
class Loop(NodeFields):
    """The same body for every item or batch of a list."""

    body: "Node" = field(kw_only=True)
    over: str = ""
    item_name: str = "item"
    batch_size: int | None = None
    limit: Limit = field(default_factory=lambda: Limit(None, "default"))
    max_items: int = 10_000
    tolerated: Tolerance | None = None
    collect: Mapping[str, str] = field(default_factory=dict[str, str])
    reducers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Choice(NodeFields):
    """The first case whose condition holds."""

    cases: tuple[tuple[str | None, "Node"], ...] = ()


@dataclass(frozen=True)
class Sub(NodeFields):
    """Another plan, run as one node."""

    plan: "Plan" = field(kw_only=True)
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])


Node: TypeAlias = Leaf | FanIn | Chain | Group | Loop | Choice | Sub


@dataclass(frozen=True)
class TaskRunner:
    """Where the calls of sync handlers run, who said so, and at which address if it is there already."""

    name: Literal["threads", "dask", "ray"] = "threads"
    origin: str = "default"
    address: str | None = None

    def __str__(self) -> str:
        where = "" if self.name == "threads" else f", {self.address or 'started by the run'}"
        return f"{self.name} ({self.origin}){where}"


@dataclass(frozen=True)
class Plan:
    """A pipeline that can run."""

    pipeline: Pipeline
    root: Node
    limit: Limit
    """Calls at once in the whole run; unlimited unless the pipeline or the run set a ceiling."""
    resources: Mapping[str, Settled] = field(default_factory=dict[str, Settled])
    """Those that it declares or its own steps use."""
    budget: Mapping[str, float] = field(default_factory=dict[str, float])
    """How much of each unit a run may use."""
    retry_budget: RetryBudget | None = None
    warnings: tuple[Problem, ...] = ()
    fingerprint: str = ""
    task_runner: TaskRunner = field(default_factory=TaskRunner)
    """Also for the plans in it, whatever theirs say."""

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes, parents before children, in declared order."""
        return tuple(walk_nodes(self.root))

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        return tuple(node for node in self.nodes if isinstance(node, Leaf))

    @property
    def all_resources(self) -> dict[str, Settled]:
        """Those of this plan and of the plans in it; where several have a name, the tightest of what they say."""
        found = dict(self.resources)
        for inner in (node.plan for node in self.nodes if isinstance(node, Sub)):
            for name, one in inner.resources.items():
                found[name] = tightest(found[name], one) if name in found else one
        return found


def node_children(node: Node) -> tuple[Node, ...]:
    """The nodes directly inside."""
    match node:
        case Chain() | Group():
            return node.children
        case Loop():
            return (node.body,)
        case Choice():
            return tuple(inner for _, inner in node.cases)
        case Sub():
            return (node.plan.root,)
        case Leaf() | FanIn():
            return ()


def walk_nodes(node: Node) -> Iterator[Node]:
    """`node` and everything inside it, parents first, in declared order."""
    yield node
    for child in node_children(node):
        yield from walk_nodes(child)
