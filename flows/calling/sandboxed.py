"""The program of a sandbox's process: answers one call after another, each within limits of CPU time and memory.

It is started by its path and imports only the standard library; functions bring their own imports when they are
called. Frames are an 8-byte length and a pickle. A call is answered by any number of `("item", value)` and one
`("end", error)`.
"""

import contextlib
import itertools
import os
import pickle
import select
import struct
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import IO, Any

try:
    import resource
except ImportError:  # Windows has no such limits; there the parent watches the memory
    resource = None

HEAD = struct.Struct(">Q")
IDLE_S = 120.0
"""Time without a call after which a process ends by itself."""
_SLACK_BYTES = 1 << 29
"""Address space allowed beyond the memory limit, because libraries reserve more than they use."""


def write_frame(stream: IO[bytes], value: Any) -> None:
    """Write one value."""
    data = pickle.dumps(value, protocol=5)
    stream.write(HEAD.pack(len(data)))
    stream.write(data)
    stream.flush()


def read_frame(stream: IO[bytes]) -> bytes | None:
    """The pickle of the next value; None at the end of the stream."""
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    data = stream.read(HEAD.unpack(head)[0])
    return data if len(data) == HEAD.unpack(head)[0] else None


def serve(parent: int) -> None:
    """Answer calls from standard input until it is closed, no call comes for long, or the parent is gone."""
    calls, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output that a parser prints must not mix with the answers
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if resource is not None:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        if os.name == "posix" and not select.select([calls], [], [], IDLE_S)[0]:
            return
        message = read_frame(calls)
        if message is None:
            return
        _answer(message, answers)


def _answer(message: bytes, answers: IO[bytes]) -> None:
    error: BaseException | None = None
    try:
        function, arguments, cpu_s, memory_bytes = pickle.loads(message)
        del message
        _limit(cpu_s, memory_bytes)
        for item in _items(function, arguments):
            write_frame(answers, ("item", item))
            _limit(cpu_s, memory_bytes)  # each item has its own CPU time
    except BaseException as raised:
        error = raised
    _limit(None, None)
    write_frame(answers, ("end", _portable(error)))


def _items(function: Any, arguments: tuple[Any, ...]) -> Iterator[Any]:
    """The items of a generator, else the one value that is returned."""
    found = function(*arguments)
    return found if hasattr(found, "__next__") else iter((found,))


def _limit(cpu_s: float | None, memory_bytes: int | None) -> None:
    """Set both limits for the next call; None takes one away."""
    if resource is None:
        return
    used = time.process_time()
    for kind, soft in (
        (resource.RLIMIT_CPU, None if cpu_s is None else int(used + cpu_s) + 1),
        (resource.RLIMIT_AS, None if memory_bytes is None else _address_space() + memory_bytes + _SLACK_BYTES),
    ):
        hard = resource.getrlimit(kind)[1]
        most = soft if soft is not None else hard
        if hard != resource.RLIM_INFINITY and (most == resource.RLIM_INFINITY or most > hard):
            most = hard
        with contextlib.suppress(ValueError, OSError):  # macOS refuses a limit of the address space
            resource.setrlimit(kind, (most, hard))


def _address_space() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as numbers:
            return int(numbers.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 1 << 32


def _portable(error: BaseException | None) -> BaseException | None:
    """The error with its traceback as a note; if it cannot be pickled, an error that describes it."""
    if error is None:
        return None
    shown = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note("In the process of the reader:\n" + shown)
    return error


def _watch(parent: int) -> None:
    """End when the parent is gone, since no process reads the answer any more."""
    for _ in itertools.count():
        time.sleep(1)
        if os.name == "posix" and os.getppid() != parent:
            os._exit(1)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
