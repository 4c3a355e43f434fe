"""Run one program and end everything that it started; runs as a separate process between Braid and the program.

    python -I supervisor.py CONTROL PROGRAM ARGUMENT…

CONTROL is the number of a socket. The supervisor sends the exit code there, in the convention of `subprocess` (or `!`
and the reason why the program cannot be run). When Braid closes its end or dies, all processes are ended. On Linux,
processes that lose their parent become children of the supervisor (`PR_SET_CHILD_SUBREAPER`), so that none escapes by
starting its own session. To keep the supervisor small, it imports only the standard library while the program runs.
"""

import contextlib
import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import time

_SET_CHILD_SUBREAPER = 36
_END_WITHIN_S = 10.0
"""Processes of other users cannot be ended; then it gives up."""


def supervise(control: socket.socket, argv: list[str]) -> None:
    """Run the program until it ends or the other end of `control` is closed, then end what is left of it."""
    _adopt_orphans()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    try:
        program = subprocess.Popen(argv, start_new_session=True)
    except OSError as error:
        control.sendall(f"!{error.strerror}".encode())
        return
    # The program's pipes end with the program.
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    code: int | None = None
    while code is None:
        ready, _, _ = select.select([control, woken], [], [])
        with contextlib.suppress(BlockingIOError):
            os.read(woken, 4096)
        code = program.poll()
        if control in ready:
            break
    _end_all(program.pid)
    if code is not None:
        with contextlib.suppress(OSError):
            control.sendall(str(code).encode())


def _adopt_orphans() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_all(group: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(group, signal.SIGKILL)
    until = time.monotonic() + _END_WITHIN_S
    while time.monotonic() < until:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:  # there is none left
            return
        import psutil

        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
        time.sleep(0.01)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        supervise(connection, sys.argv[2:])
