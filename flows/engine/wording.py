"""The wording of logs and errors about a group or step, in the terms of the dialect of the pipeline."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from flows.author import ErrorInfo
from flows.planning import Group, Leaf, Node


@dataclass(frozen=True)
class BranchFailure:
    """A branch that failed by itself, and why."""

    branch: Node
    message: str


class GroupWording(Protocol):
    """The sentences about one group."""

    def step_failed(self, step: Node, error: ErrorInfo) -> ErrorInfo:
        """The error of one step, in its outcome and in all messages about it."""
        ...

    def begun(self, group: Group) -> str: ...

    def branch_succeeded(self, branch: Node) -> str: ...

    def succeeded(self, group: Group, count: int, *, seconds: float, produced: Sequence[str]) -> str: ...

    def failed(self, group: Group, failures: Sequence[BranchFailure], *, transient: bool) -> ErrorInfo: ...


class PlainWording:
    """Parallel steps of handlers, and Braid's own groups."""

    def step_failed(self, step: Node, error: ErrorInfo) -> ErrorInfo:
        return error

    def begun(self, group: Group) -> str:
        names = ", ".join(child.label for child in group.children)
        return f"Executing parallel step{_named(group)} with {len(group.children)} {_nouns(group)}: {names}"

    def branch_succeeded(self, branch: Node) -> str:
        return f"{_noun_of(branch).capitalize()} '{branch.label}' completed successfully in parallel step"

    def succeeded(self, group: Group, count: int, *, seconds: float, produced: Sequence[str]) -> str:
        return f"Parallel step{_named(group)} completed successfully: {count} {_nouns(group)} executed"

    def failed(self, group: Group, failures: Sequence[BranchFailure], *, transient: bool) -> ErrorInfo:
        first, count = failures[0], len(failures)
        if not group.named and _nouns(group) == "handlers":
            text = f"Parallel step failed: {count} handler(s) failed. First failure: {first.message}"
        else:
            which = group.label if group.named else "Parallel step failed"
            text = (
                f"{which}: {count} of {len(group.children)} {_nouns(group)} failed. "
                f"First failure: {first.branch.label}: {first.message}"
            )
        return ErrorInfo("PipelineException", text, transient)


class DataWording:
    """Data pipelines, whose steps are known by their dotted positions."""

    def step_failed(self, step: Node, error: ErrorInfo) -> ErrorInfo:
        return replace(error, message=_with_position(step, error.message))

    def begun(self, group: Group) -> str:
        return f"{_position(group)}: executing {len(group.children)} steps in parallel"

    def branch_succeeded(self, branch: Node) -> str:
        return f"{_position(branch)}: completed"

    def succeeded(self, group: Group, count: int, *, seconds: float, produced: Sequence[str]) -> str:
        names = ", ".join(produced)
        return f"{_position(group)}: parallel execution completed in {seconds:.2f}s, produced: [{names}]"

    def failed(self, group: Group, failures: Sequence[BranchFailure], *, transient: bool) -> ErrorInfo:
        first, *others = failures
        more = f"; also failed: {', '.join(_position(each.branch) for each in others)}" if others else ""
        return ErrorInfo("PipelineException", f"{_with_position(first.branch, first.message)}{more}", transient)


class StagesWording:
    """Stages of jobs."""

    def step_failed(self, step: Node, error: ErrorInfo) -> ErrorInfo:
        return error

    def begun(self, group: Group) -> str:
        return f"Stage {group.label}: {', '.join(f'Job {child.label}' for child in group.children)}"

    def branch_succeeded(self, branch: Node) -> str:
        return f"Job {branch.label} completed"

    def succeeded(self, group: Group, count: int, *, seconds: float, produced: Sequence[str]) -> str:
        return f"Stage {group.label} completed: {count} jobs in {seconds:.2f} s"

    def failed(self, group: Group, failures: Sequence[BranchFailure], *, transient: bool) -> ErrorInfo:
        first, *others = failures
        more = f" (and {', '.join(f'Job {each.branch.label}' for each in others)})" if others else ""
        text = f"Stage {group.label}: Job {first.branch.label} failed{more}: {first.message}"
        return ErrorInfo("PipelineError", text, transient)


_WORDINGS: dict[str, GroupWording] = {"data": DataWording(), "stages": StagesWording()}
_PLAIN = PlainWording()


def group_wording(dialect: str) -> GroupWording:
    """The wording for pipelines written in a dialect."""
    return _WORDINGS.get(dialect, _PLAIN)


def _position(node: Node) -> str:
    return f"Pipeline step {node.path} ({node.label})"


def _with_position(node: Node, message: str) -> str:
    """The message with the position of its step, added only once; of nested steps, the innermost."""
    return message if message.startswith("Pipeline step ") else f"{_position(node)}: {message}"


def _named(group: Group) -> str:
    return f" {group.label}" if group.named else ""


def _nouns(group: Group) -> str:
    return "handlers" if all(isinstance(child, Leaf) for child in group.children) else "branches"


def _noun_of(branch: Node) -> str:
    return "handler" if isinstance(branch, Leaf) else "branch"
