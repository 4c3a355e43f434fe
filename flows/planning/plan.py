"""The plan that the engine runs: a pipeline with names resolved, limits decided and nodes numbered."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from flows.author import HandlerSpec, OutputField
from flows.errors import Problem
from flows.model import (
    EffectiveResource,
    Expectation,
    Merge,
    Pipeline,
    Policy,
    Retry,
    RetryBudget,
    Split,
    Tolerance,
    tightest,
)


@dataclass(frozen=True)
class Limit:
    """How many may run at the same time (None: any number), and the origin of that limit."""

    value: int | None
    origin: str

    def __str__(self) -> str:
        return f"{'unlimited' if self.value is None else self.value} ({self.origin})"


@dataclass(frozen=True)
class NodeFields:
    """The fields that every node of a plan has."""

    path: str
    """The indices of the node and its enclosing steps in the pipeline, counted from 0: `2.1`."""
    id: str
    label: str
    """The display name: the author's name, else the name of its handler or its kind."""
    named: bool = False
    """Whether the author gave it this name."""
    timeout_s: float | None = None
    when: str | None = None
    enabled: bool = True
    access: "Access" = field(default_factory=lambda: Access())


@dataclass(frozen=True)
class Access:
    """The fields that a node reads and writes, and its effects outside the context."""

    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    effects: frozenset[str] = frozenset()
    known: bool = True
    """Whether these are all fields that it reads and writes."""
    effects_known: bool = True
    """Whether these are all its changes outside the context."""

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
    """The field of each parameter."""
    writes: Mapping[str, str] = field(default_factory=dict[str, str])
    """The field of each declared write."""
    retry: Retry = field(default_factory=Retry)
    uses: tuple[str, ...] = ()
    expected_tokens: int = 0
    expect: Expectation | None = None


@dataclass(frozen=True)
class FanIn(NodeFields):
    """A merge of a group's branch results, or of fields, by a strategy."""

    group: str | None = None
    """The id of the group."""
    inputs: tuple[str, ...] = ()
    merge: Merge = field(default_factory=Merge)


@dataclass(frozen=True)
class Chain(NodeFields):
    """Nodes in order."""

    children: tuple["Node", ...] = ()
    own_outcome: bool = False
    """Whether it has an outcome: it was declared as one step, for example as a branch of several steps."""


@dataclass(frozen=True)
class Group(NodeFields):
    """Parallel branches; `after[i]` are the indices of the branches that branch i waits for and sees the changes of."""

    children: tuple["Node", ...] = ()
    after: tuple[frozenset[int], ...] = ()
    limit: Limit = field(default_factory=lambda: Limit(None, "default"))
    policy: Policy = field(default_factory=Policy)
    merge: Merge | None = None
    split: Split | None = None
    reducers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Reducers by field; empty for a derived group, in which later writes replace earlier ones."""
    derived: bool = False
    """Whether the group was derived from a list of steps; a failure in it counts as it would in the list."""
    own_outcome: bool = True
    why: tuple[str, ...] = ()
    """For a derived group, one line per child: which children it waits for, and why."""


@dataclass(frozen=True)
class Loop(NodeFields):
    """The same body for every item or batch of a list."""

    body: "Node" = field(kw_only=True)
    over: str = ""
    item_name: str = "item"
    batch_size: int | Literal["auto"] | None = None
    limit: Limit = field(default_factory=lambda: Limit(None, "default"))
    max_items: int = 10_000
    tolerated: Tolerance | None = None
    collect: Mapping[str, str] = field(default_factory=dict[str, str])
    collect_missing: Literal["null", "leave_out"] = "null"
    reducers: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def batch_text(self) -> str:
        """The batch size for display, after a comma; empty for single items."""
        if self.batch_size is None:
            return ""
        return ", batches of about a second" if self.batch_size == "auto" else f", {self.batch_size} per batch"


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
    """Where the calls of sync handlers run, the origin of that choice, and the address of an existing cluster."""

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
    """The most calls at once in the whole run; unlimited unless the pipeline or the run sets a ceiling."""
    resources: Mapping[str, EffectiveResource] = field(default_factory=dict[str, EffectiveResource])
    """The resources that the pipeline declares or its own steps use."""
    budget: Mapping[str, float] = field(default_factory=dict[str, float])
    """How much of each unit a run may use."""
    retry_budget: RetryBudget | None = None
    warnings: tuple[Problem, ...] = ()
    fingerprint: str = ""
    dialect: str = "native"
    """The dialect that the pipeline is written in, whose words are used in its logs and errors."""
    task_runner: TaskRunner = field(default_factory=TaskRunner)
    """A ceiling from the run; it also replaces the limits that sub-pipelines declare."""
    outputs: tuple[OutputField, ...] = ()
    """The result of a run: the outputs that the pipeline declares, else the fields that no later step reads."""
    writes_known: bool = True
    """Whether no step writes a field that it does not declare."""

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes, parents before children, in declared order."""
        return tuple(walk_nodes(self.root))

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        return tuple(node for node in self.nodes if isinstance(node, Leaf))

    @property
    def all_resources(self) -> dict[str, EffectiveResource]:
        """The resources of this plan and of the plans inside it; of resources with one name, the tightest limits."""
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
    """Yield a node and all nodes inside it, parents first, in declared order."""
    yield node
    for child in node_children(node):
        yield from walk_nodes(child)
