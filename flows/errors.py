"""Every error Braid raises; each names the place, the thing and the cure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any


class OrchestrationError(Exception):
    """The root of all our errors."""


class TransientError(OrchestrationError):
    """Raise it in a handler when trying again may help; `retry_after_s` says how long to wait first."""

    def __init__(self, message: str = "", *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class FatalError(OrchestrationError):
    """Raise it in a handler when trying again cannot help."""


@dataclass(frozen=True, order=True)
class Problem:
    """One thing wrong with a pipeline: where, what and how to mend it. Lines and columns count from 1; 0 is unknown."""

    source: str
    line: int
    column: int
    code: str
    message: str
    level: str = "error"

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}:{self.column}" if self.line else self.source
        return f"{place}: {self.message} [{self.code}]"


class InvalidPipeline(OrchestrationError, ValueError):
    """A pipeline that cannot run; `problems` holds everything that is wrong with it, in the order of the file."""

    def __init__(self, problems: Iterable[Problem], *, draft: object = None) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        self.draft = draft
        """What of the file can be read, for further checks; only the loader sets it."""
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return (type(self), (self.problems,))


class UnknownName(OrchestrationError, KeyError):
    """A handler, strategy, reducer, pipeline or service that nobody registered."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, place: str = "") -> None:
        self.kind, self.name, self.known, self.place = kind, name, tuple(sorted(known)), place
        super().__init__(kind, name, self.known)

    def __reduce__(self) -> tuple[type, tuple[object, ...], dict[str, object]]:
        return (type(self), (self.kind, self.name, self.known), {"place": self.place})

    def __str__(self) -> str:
        prefix = f"{self.place}: " if self.place else ""
        return f"{prefix}no {self.kind} named {self.name!r}{suggest(self.name, self.known)}"


class UnknownHandler(UnknownName):
    """A step names a handler that is not registered."""


class InvalidHandler(OrchestrationError, TypeError):
    """Something that cannot be a handler, or a declaration that `@handler` does not know; the message has the cure."""


class DuplicateName(OrchestrationError, ValueError):
    """Two handlers, strategies or reducers want the same name."""


class UnsupportedValue(OrchestrationError, TypeError):
    """A value that cannot live in a context, because it could be neither isolated, nor compared, nor stored."""


class MergeConflict(OrchestrationError, ValueError):
    """Two branches changed the same field in different ways and no reducer says how to combine them."""

    def __init__(self, field: str, first: str, second: str, first_value: str, second_value: str) -> None:
        self.field, self.first, self.second = field, first, second
        self.first_value, self.second_value = first_value, second_value
        super().__init__(field, first, second, first_value, second_value)

    def __str__(self) -> str:
        return (
            f"branches {self.first!r} and {self.second!r} both changed {self.field!r}, "
            f"to {self.first_value} and {self.second_value}; declare how to combine them, for example "
            f"`reducers: {{{self.field.split('.')[0]}: namespaced}}` (or append, union_by(id), sum, max, replace)"
        )


class MissingRead(FatalError, KeyError):
    """A handler reads a field that nothing wrote."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class StepTimeout(TransientError, TimeoutError):
    """A call, an attempt, a step, a group or a run took longer than it may."""


class StepCancelled(OrchestrationError):
    """Raised inside a handler at `call.check_cancelled()` once its result is no longer wanted."""


class BudgetUsedUp(OrchestrationError):
    """A call was not started because the run's budget is used up; the message says of what and how much."""


class PipelineFailed(OrchestrationError):
    """A run that ended `failed`; `transient` says whether every failure in it may pass by itself.

    `result` is the `RunResult`, where the run got so far as to have one.
    """

    def __init__(self, message: str, *, transient: bool = False, result: Any = None) -> None:
        super().__init__(message)
        self.transient = transient
        self.result = result


class StorageError(FatalError, OSError):
    """A file, folder or bucket that cannot be read or written, with the cure."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class StorageUnusable(StorageError):
    """Nothing there can be used: credentials, address, region or bucket are wrong, or the disk is full."""


class MissingObject(StorageError, FileNotFoundError):
    """A file, object, folder or bucket that is not there, perhaps because it vanished after it was listed."""


class MissingBucket(StorageUnusable, MissingObject):
    """The bucket itself is not there."""


class ObjectExists(StorageError, FileExistsError):
    """An exclusive write found that somebody wrote this file or object before."""


def suggest(name: str, known: Sequence[str], *, most: int = 8) -> str:
    """The end of an error sentence: the nearest known name, else a few of the known ones."""
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    if not known:
        return "; none is registered"
    listed = ", ".join(known[:most]) + (", …" if len(known) > most else "")
    return f"; known are: {listed}"
