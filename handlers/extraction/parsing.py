"""Runs parsers of untrusted files in separate processes with limits, through the service `parsers`."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar, cast

from flows.author import Call
from flows.errors import CallCrashed, LimitExceeded, StepCancelled, StorageError, TransientError
from handlers.extraction.formats import Unreadable

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


class Parsers(Protocol):
    """The service `parsers`: calls functions of modules in isolation.

    The methods raise the errors of `function`, and besides:

    Raises:
        LimitExceeded: the call used too much CPU time or memory.
        CallCrashed: it crashed its process.
        TransientError: the machine was too busy, or ended the process.
        StepCancelled: `cancelled` became true.
    """

    @property
    def cpu_s(self) -> float:
        """The CPU time of one call."""
        ...

    def run(self, function: Callable[..., Any], *arguments: Any, cancelled: Callable[[], bool] = ...) -> Any: ...

    def stream(
        self, function: Callable[..., Any], *arguments: Any, cancelled: Callable[[], bool] = ...
    ) -> Iterator[Any]: ...


class ParsersHere:
    """Parsers in this process: without memory limits, and a crash ends the whole process."""

    cpu_s = 60.0

    def run(self, function: Callable[..., Any], *arguments: Any, cancelled: Callable[[], bool] = bool) -> Any:
        return function(*arguments)

    def stream(
        self, function: Callable[..., Any], *arguments: Any, cancelled: Callable[[], bool] = bool
    ) -> Iterator[Any]:
        yield from function(*arguments)


class TooBusy(Unreadable):
    """A file that could not be read now, for a reason outside the file."""


def parsers_of(call: Call) -> Parsers:
    """The parsers of a run; without the service, those of this process."""
    return call.services["parsers"] if "parsers" in call.services else ParsersHere()


def parsed(call: Call, function: Callable[..., Result], *arguments: Any) -> Result:
    """The result of `function(*arguments)`, called in isolation.

    Raises:
        Unreadable: it broke a limit or crashed; also any error of `function`.
    """
    try:
        return cast("Result", parsers_of(call).run(function, *arguments, cancelled=lambda: call.cancelled))
    except (LimitExceeded, CallCrashed, TransientError) as error:
        raise reason_of(error) from error


def parsed_items(call: Call, function: Callable[..., Iterator[Result]], *arguments: Any) -> Iterator[Result]:
    """Yield the items of the generator `function(*arguments)`, called in isolation; raises as `parsed`."""
    try:
        yield from parsers_of(call).stream(function, *arguments, cancelled=lambda: call.cancelled)
    except (LimitExceeded, CallCrashed, TransientError) as error:
        raise reason_of(error) from error


@contextmanager
def blaming(name: str) -> Iterator[None]:
    """Inside the block, treat any error of a parser as an error of this file alone.

    Raises:
        Unreadable: for any error except a cancellation.
    """
    try:
        yield
    except (Unreadable, StepCancelled, StorageError):
        raise
    except RecursionError as error:
        raise Unreadable("is nested too deeply to be read") from error
    except MemoryError as error:
        raise Unreadable("needs more memory than there is") from error
    except Exception as error:
        logger.warning("%s: its reader failed", name, exc_info=True)
        raise Unreadable(
            f"is damaged in a way that its reader does not expect ({type(error).__name__}); the log has the details"
        ) from error


def reason_of(error: LimitExceeded | CallCrashed | TransientError) -> Unreadable:
    """The reason why a file cannot be read, from the end of the call that read it."""
    return (TooBusy if isinstance(error, TransientError) else Unreadable)(str(error))
