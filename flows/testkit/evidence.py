"""Evidence in a trace: whether the time of a step was up, and whether something stopped it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from flows.author import RACES, Outcome
from flows.model import StepPath
from flows.planning import Group, Leaf, Sub
from flows.testkit.shape import NodeInstance
from flows.testkit.trace import ENDS, RunTrace, TraceEventKind

FINE = ("succeeded", "skipped")
_SLACK_S = 1e-6


def is_race(instance: NodeInstance) -> bool:
    return not instance.item and isinstance(instance.node, Group) and is_race_group(instance.node)


def is_race_group(group: Group) -> bool:
    return group.merge is not None and group.merge.strategy in RACES


def was_only_stopped(outcome: Outcome) -> bool:
    """Whether it ended because something stopped it, and not by itself."""
    return outcome.status == "cancelled" or (outcome.status == "abandoned" and outcome.error is None)


@dataclass
class Evidence:
    """How calls ended, and when everything began and ended."""

    trace: RunTrace
    outcomes: Mapping[StepPath, Outcome] = field(init=False)
    ends: dict[StepPath, TraceEventKind] = field(default_factory=dict[StepPath, TraceEventKind])
    """The end of the last attempt at each leaf."""
    tried: dict[StepPath, float] = field(default_factory=dict[StepPath, float])
    """When the last attempt at each leaf began."""
    began: dict[StepPath, float] = field(default_factory=dict[StepPath, float])
    ended: dict[StepPath, tuple[float, int]] = field(default_factory=dict[StepPath, tuple[float, int]])
    """When each outcome was reported, and as which event."""

    def __post_init__(self) -> None:
        self.outcomes = {outcome.path: outcome for outcome in self.trace.outcomes}
        for number, event in enumerate(self.trace.events):
            if event.kind in ENDS:
                self.ends[event.path] = event.kind
            elif event.kind == "entered":
                self.tried[event.path] = event.at
            elif event.kind == "started":
                self.began.setdefault(event.path, event.at)
            else:
                self.ended[event.path] = (event.at, number)
        for path, (at, _) in self.ended.items():
            self.began.setdefault(path, at - self.outcomes[path].seconds - self.outcomes[path].waited_s)

    @property
    def stopped_whole(self) -> bool:
        """Whether the whole run was stopped: it was cancelled, or its budget was used up."""
        result = self.trace.result
        return self.trace.stopped == "cancel" or (result is not None and bool(result.stopped))

    def time_was_up(self, instance: NodeInstance) -> bool | None:
        """Whether its time, or that of something around it, was up when it ended; None if real time blurs it."""
        deadlines = list(self._deadlines(instance))
        if not deadlines:
            return False
        if self.trace.real_time:
            return None
        at, _ = self.ended.get(instance.path, (0.0, 0))
        return at >= min(deadlines) - _SLACK_S

    def attempt_was_too_long(self, instance: NodeInstance) -> bool:
        node = instance.node
        if not isinstance(node, Leaf) or node.retry.attempt_timeout_s is None or instance.path not in self.ended:
            return False
        if self.trace.real_time:
            return True
        lasted = self.ended[instance.path][0] - self.tried.get(instance.path, 0.0)
        return lasted >= node.retry.attempt_timeout_s - _SLACK_S

    def has_deadline(self, instance: NodeInstance) -> bool:
        return next(self._deadlines(instance), None) is not None

    def _deadlines(self, instance: NodeInstance) -> Iterator[float]:
        if self.trace.plan.pipeline.timeout_s is not None:
            yield self.trace.plan.pipeline.timeout_s
        for around in (instance, *(outer for outer, _ in instance.above)):
            began, node = self.began.get(around.path), around.node
            if around.item or began is None:  # an item has the time of its loop
                continue
            if node.timeout_s is not None:
                yield began + node.timeout_s
            if isinstance(node, Sub) and node.plan.pipeline.timeout_s is not None:
                yield began + node.plan.pipeline.timeout_s

    def was_stopped(self, instance: NodeInstance) -> bool:
        """Whether something around an instance stopped it before it ended: the whole run, a policy, or a race."""
        if self.stopped_whole:
            return True
        _, when = self.ended.get(instance.path, (0.0, len(self.trace.events)))
        inner = instance
        for outer, _ in instance.above:
            node = outer.node
            cancels = is_race(outer) or (
                isinstance(node, Group)
                and not outer.item
                and not node.derived
                and node.policy.on_branch_failure == "cancel"
            )
            if cancels and self.stops(outer, inner, when):
                return True
            inner = outer
        return False

    def stops(self, group: NodeInstance, branch: NodeInstance, when: int) -> bool:
        """Whether another branch of a group had ended before an event in a way that stops this one."""
        for other in group.children:
            outcome = self.outcomes.get(other.path)
            if other is branch or outcome is None or self.ended[other.path][1] >= when:
                continue
            if is_race(group):
                if outcome.status == "succeeded":
                    return True
            elif outcome.status not in FINE and not was_only_stopped(outcome):
                return True
        return False
