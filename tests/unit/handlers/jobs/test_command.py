"""Commands as jobs: only allowed programs, no shell, an end in time, and output within bounds."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
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


GETS_AWAY = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.environ.clear()
        open(sys.argv[1], 'w').write(str(os.getpid()))
        os.execve(sys.executable, [sys.executable, '-c', 'import time; time.sleep(60)'], {})
    os._exit(0)
while not os.path.exists(sys.argv[1]) or not open(sys.argv[1]).read():
    time.sleep(0.01)
time.sleep(float(sys.argv[2]))
"""


def gone(pid: int) -> bool:
    until = time.monotonic() + 20
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.01)
    return not alive(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux")
@pytest.mark.parametrize("ends", ["by itself", "by its time"])
def test_a_child_in_a_session_of_its_own_does_not_outlive_the_job(ends: str, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    if ends == "by itself":
        assert python(GETS_AWAY, arguments=[str(file), "0"])["exit_code"] == 0
    else:
        with pytest.raises(TransientError, match="was not ready after 1 s"):
            python(GETS_AWAY, arguments=[str(file), "60"], timeout_s=1.0)
    assert gone(int(file.read_text()))


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="looks for processes in /proc")
def test_it_ends_when_what_supervises_it_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    code = (
        "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); os.kill(os.getppid(), 9); time.sleep(60)"
    )
    with pytest.raises(TransientError, match="the process that supervises it was killed"):
        python(code, arguments=[str(file)], timeout_s=2.0)
    assert gone(int(file.read_text()))


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="looks for processes in /proc")
def test_it_ends_when_braid_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    code = f"""
import sys
from tests.unit.handlers.jobs.test_command import FAMILY, python
python(FAMILY, arguments=[{str(file)!r}])
"""
    with subprocess.Popen([PYTHON, "-c", code], cwd=Path(__file__).parents[4]) as braid:
        until = time.monotonic() + 60
        while not (file.exists() and len(file.read_text().split()) == 2) and time.monotonic() < until:
            time.sleep(0.02)
        braid.kill()
    assert all(gone(int(pid)) for pid in file.read_text().split())


@pytest.mark.parametrize(
    "name",
    "BASH_ENV ENV PYTHONPATH PYTHONSTARTUP PERL5OPT RUBYOPT NODE_OPTIONS JAVA_TOOL_OPTIONS LD_AUDIT GIT_SSH_COMMAND "
    "GIT_CONFIG_COUNT LESSOPEN PAGER EDITOR RSYNC_RSH HOME XDG_CONFIG_HOME BASH_FUNC_ls IFS GCONV_PATH path "
    "GLIBC_TUNABLES DOTNET_STARTUP_HOOKS PSQLRC KUBECONFIG BRAID_JOB "
    # Of families: options for other programs, plugins, libraries, configuration that names programs.
    "MAVEN_OPTS GRADLE_OPTS ANT_ARGS GHC_OPTIONS SPARK_SUBMIT_OPTS M2_HOME HADOOP_HOME CUSTOM_PLUGIN_PATH GTK_MODULES "
    "GIO_EXTRA_MODULES MAGICK_CODER_MODULE_PATH GDK_PIXBUF_MODULE_FILE OMP_TOOL_LIBRARIES CUDA_INJECTION64_PATH LADSPA_PATH "
    "UNO_PATH GCC_EXEC_PREFIX COMPILER_PATH CCACHE_PREFIX CCACHE_COMPILER DISTCC_CMDLIST SVN_SSH HGRCPATH SCREENRC "
    "ODBCSYSINI RIPGREP_CONFIG_PATH FZF_DEFAULT_COMMAND FZF_DEFAULT_OPTS AWS_PROFILE AWS_SHARED_CREDENTIALS_FILE "
    "OCAMLPATH CAML_LD_LIBRARY_PATH AWKLIBPATH NIX_PATH TEXMFCNF GROFF_TMAC_PATH ERL_FLAGS ERL_LIBS OCL_ICD_VENDORS "
    "VK_ICD_FILENAMES LIBGL_DRIVERS_PATH TCL_LIBRARY JAVACMD JUPYTER_PATH ZIPOPT MANOPT BORG_PASSCOMMAND".split(),
)
def test_variables_that_choose_what_is_run_are_refused(name: str) -> None:
    with pytest.raises(FatalError, match=f"env sets '{name}', which can change the program that runs"):
        python("print(1)", env={name: "x"})


@pytest.mark.parametrize(
    "name",
    "API_TOKEN DATABASE_URL PGHOST PGPASSWORD INPUT_PATH DATA_DIR OUTPUT_FILE MODE LOG_LEVEL HTTP_PROXY SSL_CERT_FILE "
    "CUDA_VISIBLE_DEVICES OMP_NUM_THREADS REGION AWS_REGION AWS_ACCESS_KEY_ID CONFIG PROFILE ORDER_OPTION SOURCE".split(),
)
def test_variables_that_say_something_are_passed_on(name: str) -> None:
    assert python(f"import os; print(os.environ[{name!r}])", env={name: "said"})["stdout"] == "said\n"


@pytest.mark.parametrize("name", ["", "A=B", "A B", "BASH_FUNC_ls%%", "1A", "A\0"])
def test_names_that_cannot_be_variables_are_refused(name: str) -> None:
    with pytest.raises(FatalError, match="is not a valid name of a variable"):
        python("print(1)", env={name: "x"})


def write_program(path: Path, says: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {says}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("named", ["./bin/tool", "bin/tool", "tool"])
def test_a_relative_name_runs_the_same_program_in_every_folder(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_program(tmp_path / "bin" / "tool", "the allowed one")
    write_program(tmp_path / "elsewhere" / "bin" / "tool", "another")
    write_program(tmp_path / "elsewhere" / "tool", "another")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f".:bin:{tmp_path}/bin:{os.environ['PATH']}")
    ran = command(argv=[named], cwd="elsewhere", call=call([named]))
    assert ran["stdout"] == "the allowed one\n"


def test_a_program_gets_no_relative_folder_to_find_programs_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f":.:bin:{os.environ['PATH']}")
    folders = python("import os; print(os.environ['PATH'])")["stdout"].strip().split(":")
    assert folders
    assert all(folder.startswith("/") for folder in folders)


def test_a_file_that_is_no_program_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "tool").write_bytes(b"\0\1\2")
    (tmp_path / "tool").chmod(0o755)
    with pytest.raises(FatalError, match="cannot be run: Exec format error"):
        command(argv=[str(tmp_path / "tool")], call=call([str(tmp_path / "tool")]))
