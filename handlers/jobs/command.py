"""`command`: a program of this machine as a job, without a shell, from a list of programs that are allowed."""

import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

from flows.author import Call, handler
from flows.errors import FatalError, TransientError
from handlers.jobs.keys import claim
from handlers.options import Options, spread
from handlers.secrets import Secrets, hide

_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SYSTEMROOT")
_LOOK_EVERY_S = 0.1
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
    programs, home and temporary files. It is ended, with all processes that it started, when the time is up or the
    result is no longer wanted.
    """
    allowed: Sequence[str] = call.services["commands"] if "commands" in call.services else ()  # noqa: SIM401  (no mapping)
    path = _path_of(program.argv, allowed)
    name, cwd = program.argv[0], program.cwd
    env, secrets = _environment(program.env or {})
    if cwd is not None and not Path(cwd).is_dir():
        raise FatalError(f"{cwd!r} is not a folder to run {name!r} in")
    whole = replace(program, argv=[path, *program.argv[1:]], env=env)
    with claim(idempotency_key, call):
        ended, output, cut = _run(whole, timeout_s, max_output_bytes, call)
    texts = [hide(part.decode("utf-8", errors="replace"), secrets) for part in output]
    if ended not in (ok_codes or [0]):
        message = (texts[1].strip() or texts[0].strip())[-400:]
        text = f"{name} ended with {_ending_text(ended)}{f': {message}' if message else ''}"
        raise (TransientError if ended in (transient_codes or [TRY_AGAIN_LATER]) else FatalError)(text)
    return {"exit_code": ended, "stdout": texts[0], "stderr": texts[1], "cut": cut}


def _path_of(argv: Sequence[str], allowed: Sequence[str]) -> str:
    if not argv or not argv[0]:
        raise FatalError("argv is empty; write the program and its arguments as a list: [rsync, -a, in/, out/]")
    if any("\0" in part for part in argv):
        raise FatalError("argv holds a NUL character")
    if argv[0] not in allowed:
        known = f"allowed are: {', '.join(allowed)}" if allowed else "none is allowed so far"
        raise FatalError(
            f"BRAID_COMMANDS does not allow the program {argv[0]!r} ({known}); add it there if pipelines may run it"
        )
    found = shutil.which(argv[0])
    if found is None:
        raise FatalError(f"the program {argv[0]!r} is not on this machine; install it, or give its whole path")
    return found


def _environment(env: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The environment of the program, and the secrets in it."""
    refused = sorted(name for name in env if name == "PATH" or name.startswith(("LD_", "DYLD_")))
    if refused:
        raise FatalError(f"env sets {refused[0]!r}, which decides what is run; leave it to the machine")
    look_up, found, hidden = Secrets(), dict[str, str](), list[str]()
    for name, value in env.items():
        found[name] = look_up(value) if value.startswith("env:") else value
        if found[name] != value:
            hidden.append(found[name])
    return {**{name: os.environ[name] for name in _PASSED_ON if name in os.environ}, **found}, hidden


def _run(program: Program, timeout_s: float, most_bytes: int, call: Call) -> tuple[int, list[bytes], bool]:
    """The exit code, standard output and standard error, and whether one of them was cut."""
    until = time.monotonic() + timeout_s

    def check_still_wanted() -> None:
        call.check_cancelled()
        if time.monotonic() > until:
            raise TransientError(f"{program.argv[0]} was not ready after {timeout_s:g} s and was ended")

    with subprocess.Popen(
        program.argv,
        cwd=program.cwd,
        env=program.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        output = [bytearray(), bytearray()]
        waiting, cut, to_write = selectors.DefaultSelector(), False, memoryview(program.stdin.encode())
        pipes = [cast("IO[bytes]", pipe) for pipe in (process.stdout, process.stderr)]
        for number, pipe in enumerate(pipes):
            waiting.register(pipe, selectors.EVENT_READ, number)
        feed = cast("IO[bytes]", process.stdin)
        os.set_blocking(feed.fileno(), False)
        waiting.register(feed, selectors.EVENT_WRITE, None)
        try:
            while waiting.get_map():
                check_still_wanted()
                for key, _ in waiting.select(_LOOK_EVERY_S):
                    if key.data is None:
                        to_write = _feed(waiting, feed, to_write)
                        continue
                    data = os.read(key.fd, 65536)
                    if not data:
                        waiting.unregister(key.fileobj)
                    kept = output[key.data]
                    cut = cut or len(kept) + len(data) > most_bytes
                    kept += data[: most_bytes - len(kept)]
            while process.poll() is None:
                check_still_wanted()
                time.sleep(_LOOK_EVERY_S / 10)
        finally:
            waiting.close()
            # All processes that it started, also those that it left behind.
            if hasattr(os, "killpg"):
                try:
                    os.killpg(process.pid, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    process.poll()
            else:
                process.kill()
    return process.returncode, [bytes(part) for part in output], cut


def _feed(waiting: selectors.BaseSelector, feed: IO[bytes], to_write: memoryview) -> memoryview:
    try:
        to_write = to_write[os.write(feed.fileno(), to_write) :] if len(to_write) else to_write
    except BlockingIOError:
        return to_write
    except BrokenPipeError:  # it does not read
        to_write = to_write[:0]
    if not len(to_write):
        waiting.unregister(feed)
        feed.close()
    return to_write


def _ending_text(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
