"""Commands as jobs: only allowed programs, no shell, an end in time, and output within bounds."""

import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from flows.author import Call
from flows.errors import FatalError, StepCancelled, TransientError
from flows.state import Identity, Services
from handlers.jobs.command import command

PYTHON = sys.executable


def call(allowed: Sequence[str] = (PYTHON,)) -> Call:
    return Call(identity=Identity(services=Services({"commands": lambda: tuple(allowed)})))


def python(code: str, **options: Any) -> dict[str, Any]:
    return command(
        argv=[PYTHON, "-c", code, *options.pop("arguments", [])], call=options.pop("call", call()), **options
    )


def test_a_program_gets_its_arguments_as_they_are_and_no_shell_reads_them() -> None:
    tricky = ["$HOME", "; rm -rf /", "a b", "`id`", "*"]
    ended = python("import sys; print(sys.argv[1:])", arguments=tricky)
    assert (ended["exit_code"], ended["stdout"].strip(), ended["cut"]) == (0, str(tricky), False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"argv": ["/bin/sh", "-c", "id"]}, "BRAID_COMMANDS does not allow the program '/bin/sh'"),
        ({"argv": []}, "argv is empty"),
        ({"argv": [PYTHON], "env": {"LD_PRELOAD": "x"}}, "env sets 'LD_PRELOAD'"),
        ({"argv": [PYTHON], "env": {"PATH": "x"}}, "env sets 'PATH'"),
        ({"argv": [PYTHON], "cwd": "/no/such/folder"}, "is not a folder"),
    ],
)
def test_what_may_not_be_run_is_refused(options: Any, message: str) -> None:
    with pytest.raises(FatalError, match=message):
        command(**options, call=call())


def test_a_program_that_is_not_there_is_said_to_be_missing() -> None:
    with pytest.raises(FatalError, match="'no-such-program' is not on this machine"):
        command(argv=["no-such-program"], call=call(["no-such-program"]))


def test_a_program_sees_little_of_the_environment_and_its_secrets_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAID_OPENAI_API_KEY", "sk-not-for-others")
    monkeypatch.setenv("CRM_TOKEN", "token-of-the-crm")
    shown = python("import os; print(dict(os.environ))", env={"TOKEN": "env:CRM_TOKEN", "MODE": "fast"})["stdout"]
    assert "sk-not-for-others" not in shown
    assert "token-of-the-crm" not in shown
    assert "'TOKEN': '***'" in shown
    assert "'MODE': 'fast'" in shown


def test_input_goes_in_and_output_is_cut_at_its_bound() -> None:
    code = "import sys; text = sys.stdin.read(); print(len(text)); sys.stderr.write('e' * 300_000)"
    ended = python(code, stdin="x" * 500_000, max_output_bytes=1000)
    assert (ended["stdout"].strip(), len(ended["stderr"]), ended["cut"]) == ("500000", 1000, True)


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        ("import sys; sys.stderr.write('no such table'); sys.exit(3)", FatalError, "exit code 3: no such table"),
        ("import sys; sys.exit(75)", TransientError, "exit code 75"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", FatalError, "signal SIGTERM"),
    ],
)
def test_how_it_ended_decides_whether_to_try_again(code: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        python(code)
    assert python("import sys; sys.exit(3)", ok_codes=[0, 3])["exit_code"] == 3


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
open(sys.argv[1], 'w').write(f'{os.getpid()} {child.pid}')
time.sleep(60)
"""


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="looks for processes in /proc")
@pytest.mark.parametrize("how", ["timeout", "cancelled"])
def test_when_its_time_is_up_it_ends_with_all_that_it_started(how: str, tmp_path: Any) -> None:
    file, chosen = tmp_path / "pids", call()
    if how == "cancelled":

        def cancel() -> None:
            while not (file.exists() and len(file.read_text().split()) == 2):
                time.sleep(0.01)
            chosen.cancel()

        threading.Thread(target=cancel, daemon=True).start()
    with pytest.raises(TransientError if how == "timeout" else StepCancelled):
        python(FAMILY, arguments=[str(file)], timeout_s=1.0 if how == "timeout" else 60.0, call=chosen)
    pids = [int(pid) for pid in file.read_text().split()]
    until = time.monotonic() + 10
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.01)
    assert not any(map(alive, pids))
