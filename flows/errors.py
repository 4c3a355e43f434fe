"""Every error that Braid raises; each message has the place, the mistake and the cure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

_MOST_SHOWN = 200
"""The most letters of a name in a message."""


class OrchestrationError(Exception):
    """The base class of all errors of Braid."""


class TransientError(OrchestrationError):
    """Raise it in a handler when trying again may help; `retry_after_s` is the time to wait first."""

    def __init__(self, message: str = "", *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class FatalError(OrchestrationError):
    """Raise it in a handler when trying again cannot help."""


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong with a pipeline, and how to mend it. Lines and columns count from 1; 0 is unknown."""

    file: str
    line: int
    column: int
    code: str
    message: str
    level: str = "error"

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{where}: {self.message} [{self.code}]"


class InvalidPipeline(OrchestrationError, ValueError):
    """A pipeline that cannot run; `problems` is everything that is wrong with it, in the order of the file."""

    def __init__(self, problems: Iterable[Problem], *, draft: object = None) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        self.draft = draft
        """The readable part of the file, for further checks; only the loader sets it."""
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return (type(self), (self.problems,))


class UnknownName(OrchestrationError, KeyError):
    """A handler, strategy, reducer, pipeline or service that is not registered."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: str = "") -> None:
        self.kind, self.name, self.known, self.where = kind, name, tuple(sorted(known)), where
        super().__init__(kind, name, self.known)

    def __reduce__(self) -> tuple[type, tuple[object, ...], dict[str, object]]:
        return (type(self), (self.kind, self.name, self.known), {"where": self.where})

    def __str__(self) -> str:
        prefix = f"{self.where}: " if self.where else ""
        shown = self.name if len(self.name) <= _MOST_SHOWN else f"{self.name[:_MOST_SHOWN]}…"
        return f"{prefix}no {self.kind} named {shown!r}{suggest(shown, self.known)}"


class AmbiguousName(OrchestrationError, LookupError):
    """A name that matches several things; the message lists their longer names."""

    def __init__(self, kind: str, name: str, candidates: Iterable[str]) -> None:
        self.kind, self.name, self.candidates = kind, name, tuple(sorted(candidates))
        super().__init__(kind, name, self.candidates)

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return (type(self), (self.kind, self.name, self.candidates))

    def __str__(self) -> str:
        shown = ", ".join(self.candidates[:10]) + (", …" if len(self.candidates) > 10 else "")
        return f"{self.name!r} matches several {self.kind}s; name one of: {shown}"


class UnknownHandler(UnknownName):
    """A step names a handler that is not registered."""


class InvalidHandler(OrchestrationError, TypeError):
    """Something that cannot be a handler, or a declaration that `@handler` does not know; the message has the cure."""


class DuplicateName(OrchestrationError, ValueError):
    """Two handlers have the same name."""


class UnsupportedValue(OrchestrationError, TypeError):
    """A value that a context cannot hold, because it cannot be copied, compared and stored."""


class MergeConflict(OrchestrationError, ValueError):
    """Two branches changed the same field in different ways, and no reducer combines them."""

    def __init__(
        self, field: str, first: str, second: str, first_value: str, second_value: str, reducer_key: str = ""
    ) -> None:
        self.field, self.first, self.second = field, first, second
        self.first_value, self.second_value = first_value, second_value
        self.reducer_key = reducer_key or field.split(".")[0]
        super().__init__(field, first, second, first_value, second_value, self.reducer_key)

    def __str__(self) -> str:
        return (
            f"branches {self.first!r} and {self.second!r} both changed {self.field!r}, "
            f"to {self.first_value} and {self.second_value}; declare how to combine them, for example "
            f"`reducers: {{{self.reducer_key}: namespaced}}` (or append, union_by(id), sum, max, replace)"
        )


class MissingRead(FatalError, KeyError):
    """A handler reads a field that no step has written."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class StepTimeout(TransientError, TimeoutError):
    """A call, an attempt, a step, a group or a run exceeded its timeout."""


class StepAbandoned(StepTimeout):
    """The call took too long and could not be stopped. Its thread still runs; its result will be dropped."""


class StepCancelled(OrchestrationError):
    """Raised inside a handler at `call.check_cancelled()` once its result is no longer needed."""


class LimitExceeded(FatalError):
    """A call in a sandbox used more CPU time or memory than it may."""


class CallCrashed(FatalError):
    """A call in a sandbox crashed its process, twice."""


class BudgetUsedUp(OrchestrationError):
    """A call was not started because the run's budget is used up; the message has the unit and the amounts."""


class PipelineFailed(OrchestrationError):
    """A run that ended as `failed`; `transient` is true if each of its failures is transient.

    `result` is the `RunResult`; None if the run ended before it had one.
    """

    def __init__(self, message: str, *, transient: bool = False, result: Any = None) -> None:
        super().__init__(message)
        self.transient = transient
        self.result = result


class StorageError(FatalError, OSError):
    """A file, folder or bucket that cannot be read or written; the message names it and the cure."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class StorageUnusable(StorageError):
    """The whole storage is unusable: credentials, address, region or bucket are wrong, or the disk is full."""


class MissingObject(StorageError, FileNotFoundError):
    """A file, object, folder or bucket that does not exist, or no longer exists since it was listed."""


class MissingBucket(StorageUnusable, MissingObject):
    """The bucket itself does not exist."""


class ObjectExists(StorageError, FileExistsError):
    """An exclusive write failed because the file or object exists already."""


def message_of(error: BaseException) -> str:
    """The message of any error, even if its `__str__` fails; the name of its type if the message is empty."""
    try:
        return str(error) or type(error).__name__
    except Exception as broken:
        return f"{type(error).__name__} (its message cannot be shown: {type(broken).__name__})"


def suggest(name: str, known: Sequence[str], *, most: int = 8) -> str:
    """The end of an error message: the nearest known name, else some of the known names."""
    nearest = get_close_matches(name, known, n=1, cutoff=0.6)
    if nearest:
        return f"; did you mean {nearest[0]!r}?"
    if not known:
        return "; none is registered"
    listed = ", ".join(known[:most]) + (", …" if len(known) > most else "")
    return f"; known are: {listed}"
