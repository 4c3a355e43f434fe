"""`command`: a program of this machine as a job, without a shell, from a list of programs that are allowed."""

import os
import secrets
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import IO, Any, cast

import psutil

from flows.author import Call, handler
from flows.errors import FatalError, TransientError
from handlers.jobs import supervisor
from handlers.jobs.environment import find_program, program_environment
from handlers.jobs.keys import claim
from handlers.options import Options, spread
from handlers.secrets import hide

_LOOK_EVERY_S = 0.1
_END_WITHIN_S = 15.0
_MARK = "BRAID_JOB"
"""A variable that every process started by a program inherits, unless the program removes it."""
TRY_AGAIN_LATER = 75
"""`EX_TEMPFAIL` of sysexits.h."""


@dataclass(frozen=True)
class Program(Options):
    """A program with its arguments, folder, environment and input."""

    argv: list[str]
    cwd: str | None = None
    env: dict[str, str] | None = None
    stdin: str = ""


@handler(writes="command", effects="commands")
@spread
def command(
    *,
    program: Program,
    timeout_s: float = 3600.0,
    max_output_bytes: int = 1_000_000,
    ok_codes: list[int] | None = None,
    transient_codes: list[int] | None = None,
    idempotency_key: str | None = None,
    call: Call,
) -> dict[str, Any]:
    """The `exit_code`, `stdout` and `stderr` of a program, and whether either was `cut` at `max_output_bytes`.

    `argv` is the program and its arguments, one by one; no shell reads them. BRAID_COMMANDS must name the program. It
    sees `env` (a value `env:NAME` is a secret by reference) and, of this process's environment, only the paths of
    programs, home and temporary files. The program is ended, with all processes that it started, when the time is up or
    the result is no longer needed.
    """
    allowed: Sequence[str] = call.services["commands"] if "commands" in call.services else ()  # noqa: SIM401  (no mapping)
    path = find_program(program.argv, allowed)
    name, cwd = program.argv[0], program.cwd
    env, hidden = program_environment(program.env or {})
    if cwd is not None and not Path(cwd).is_dir():
        raise FatalError(f"{cwd!r} is not a folder, so it cannot be the working directory of {name!r}")
    whole = replace(program, argv=[path, *program.argv[1:]], env=env)
    with claim(idempotency_key, call):
        ended, output, cut = _run(whole, timeout_s, max_output_bytes, call)
    texts = [hide(part.decode("utf-8", errors="replace"), hidden) for part in output]
    if ended not in (ok_codes or [0]):
        message = (texts[1].strip() or texts[0].strip())[-400:]
        text = f"{name} ended with {_ending_text(ended)}{f': {message}' if message else ''}"
        raise (TransientError if ended in (transient_codes or [TRY_AGAIN_LATER]) else FatalError)(text)
    return {"exit_code": ended, "stdout": texts[0], "stderr": texts[1], "cut": cut}


def _run(program: Program, timeout_s: float, most_bytes: int, call: Call) -> tuple[int, list[bytes], bool]:
    """The exit code, standard output and standard error, and whether one of them was cut."""
    until = monotonic() + timeout_s

    def check_still_wanted() -> None:
        call.check_cancelled()
        if monotonic() > until:
            raise TransientError(f"{program.argv[0]} was not ready after {timeout_s:g} s and was ended")

    with _supervised(program) as (process, control):
        output = [bytearray(), bytearray()]
        waiting, cut, to_write, report = selectors.DefaultSelector(), False, memoryview(program.stdin.encode()), b""
        pipes = [cast("IO[bytes]", pipe) for pipe in (process.stdout, process.stderr)]
        for number, pipe in enumerate(pipes):
            waiting.register(pipe, selectors.EVENT_READ, number)
        waiting.register(control, selectors.EVENT_READ, _ENDED)
        feed = cast("IO[bytes]", process.stdin)
        os.set_blocking(feed.fileno(), False)
        waiting.register(feed, selectors.EVENT_WRITE, None)
        try:
            while len(waiting.get_map()) > (not feed.closed):  # the pipe to it may stay open after its end
                check_still_wanted()
                for key, _ in waiting.select(_LOOK_EVERY_S):
                    if key.data is None:
                        to_write = _feed(waiting, feed, to_write)
                        continue
                    data = os.read(key.fd, 65536)
                    if not data:
                        waiting.unregister(key.fileobj)
                    if key.data == _ENDED:
                        report += data
                        if not report:
                            raise TransientError(f"{program.argv[0]}: the process that supervises it was killed")
                        continue
                    kept = output[key.data]
                    cut = cut or len(kept) + len(data) > most_bytes
                    kept += data[: most_bytes - len(kept)]
        finally:
            waiting.close()
    return _exit_code(program.argv[0], report.decode(errors="replace")), [bytes(part) for part in output], cut


_ENDED = 2
"""The number of the supervisor's final report, besides standard output (0) and standard error (1)."""


@contextmanager
def _supervised(program: Program) -> "Iterator[tuple[subprocess.Popen[bytes], socket.socket]]":
    """The supervisor of a program and its reports; at the end, all processes that the program started have ended."""
    mark = secrets.token_hex(16)
    control, theirs = socket.socketpair()
    with control:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", supervisor.__file__, str(theirs.fileno()), *program.argv],
                cwd=program.cwd,
                env={**(program.env or {}), _MARK: mark},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        try:
            yield process, control
        finally:
            control.close()
            _end(process, mark)


def _end(process: "subprocess.Popen[bytes]", mark: str) -> None:
    """Wait for a supervisor that was asked to end; if it was killed, end its remaining processes."""
    for pipe in (process.stdin, process.stdout, process.stderr):
        with suppress(OSError):
            cast("IO[bytes]", pipe).close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_END_WITHIN_S)
    if process.returncode != 0:
        process.kill()
        for other in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if other.environ().get(_MARK) == mark:
                    other.kill()
        process.wait()


def _exit_code(name: str, report: str) -> int:
    if report.startswith("!"):
        raise FatalError(f"{name} cannot be run: {report[1:]}")
    return int(report)


def _feed(waiting: selectors.BaseSelector, feed: IO[bytes], to_write: memoryview) -> memoryview:
    try:
        to_write = to_write[os.write(feed.fileno(), to_write) :] if len(to_write) else to_write
    except BlockingIOError:
        return to_write
    except BrokenPipeError:  # the program does not read its input
        to_write = to_write[:0]
    if not len(to_write):
        waiting.unregister(feed)
        feed.close()
    return to_write


def _ending_text(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
