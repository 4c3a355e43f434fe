"""`isolation: process`: another process, the same isolation, and a stop that ends every process that the call started."""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import tests.support.process_handlers as process_handlers
from flows.author import REGISTRY, RunResult
from flows.calling.processes import CORES, call_in_process, stop_processes
from flows.engine import Prepared, run_plan
from flows.errors import FatalError
from flows.model import Pipeline
from flows.planning import make_plan
from flows.state import Context

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def workers() -> Iterator[None]:
    yield
    stop_processes()
    for name in ("tell_pid", "spend_and_spin", "spend_and_fail", "write_in_a_process", "stuck", "die"):
        REGISTRY.handlers.pop(name, None)


async def run(steps: Any, data: dict[str, Any] | None = None, **fields: Any) -> RunResult:
    given = {"text": "hello", "seen": [], **(data or {})}
    pipeline = Pipeline.model_validate({"name": "p", "steps": steps, **fields})
    return await run_plan(Prepared(make_plan(pipeline, given=list(given)), Context(given)))


def until(holds: Callable[[], Any], what: str, *, within_s: float = 60) -> None:
    give_up = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < give_up, what
        time.sleep(0.02)


def noted(folder: Path) -> list[int]:
    return [int(file.name) for file in folder.iterdir() if file.name.isdigit()]


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone(folder: Path) -> bool:
    return not any(lives(pid) for pid in noted(folder))


async def test_a_call_runs_elsewhere_and_comes_back_as_a_delta() -> None:
    assert process_handlers.tell_pid("x") == os.getpid()
    result = await run(["tell_pid", "write_in_a_process"])
    assert result.status == "succeeded", result.errors
    assert result.context.data["worker_pid"] != os.getpid()
    assert result.context.data["pid"] != os.getpid()
    assert result.context.data["seen"] == ["hello"]


async def test_what_a_process_reported_counts_also_when_it_fails_or_is_killed() -> None:
    pipeline = Pipeline.model_validate(
        {
            "name": "p",
            "steps": [
                {"parallel": [{"handler": "spend_and_spin", "timeout_s": 3}, "spend_and_fail"], "policy": "best_effort"}
            ],
        }
    )
    result = await run_plan(Prepared(make_plan(pipeline, given=[]), Context()))
    assert [(o.status, dict(o.cost)) for o in result.outcomes if o.is_leaf] == [
        ("timed_out", {"tokens": 5, "usd": 0.5}),
        ("failed", {"tokens": 7}),
    ]
    assert [failure.item for failure in result.failures] == ["a.pdf"]


STUCK = {"regex": 1, "deaf": 1, "orphans": 3}
"""Ways never to return, and how many processes each is; endless loops, other C code and children are in other tests."""


def stuck(how: str, folder: Path) -> dict[str, Any]:
    return {"handler": "stuck", "options": {"how": how, "folder": str(folder)}}


async def test_whatever_never_returns_is_gone_when_the_run_is_cancelled(tmp_path: Path) -> None:
    group = {"branches": [stuck(how, tmp_path) for how in STUCK], "max_concurrency": "unlimited"}
    running = asyncio.ensure_future(run([{"parallel": group}]))
    while len(noted(tmp_path)) < sum(STUCK.values()):
        assert not running.done()
        await asyncio.sleep(0.02)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    until(lambda: gone(tmp_path), "something goes on")
    assert (await run(["tell_pid"])).status == "succeeded"


async def test_whatever_never_returns_is_gone_after_its_timeout_and_the_next_call_works(tmp_path: Path) -> None:
    kinds, timeout_s = ("gil", "children"), 1.0
    while len(noted(tmp_path)) < 3:  # a busy machine may need longer to get there
        timeout_s *= 2
        for note in tmp_path.iterdir():
            note.unlink()
        group = {"branches": [stuck(how, tmp_path) for how in kinds], "policy": "best_effort", "timeout_s": timeout_s}
        result = await run([{"parallel": group}, "tell_pid"])
        assert [outcome.status for outcome in result.outcomes] == ["succeeded", "timed_out", "timed_out", "succeeded"]
        until(lambda: gone(tmp_path), "something goes on")


async def test_a_sibling_that_is_stopped_reads_cancelled_not_abandoned(tmp_path: Path) -> None:
    dies = {"handler": "die", "options": {"how": "raise"}}
    result = await run([{"parallel": [stuck("gil", tmp_path), dies], "policy": "fail_fast"}])
    assert [outcome.status for outcome in result.outcomes] == ["failed", "cancelled", "failed"]
    until(lambda: gone(tmp_path), "the worker goes on")


@pytest.mark.parametrize(
    ("how", "transient", "message"),
    [
        ("segfault", False, "the worker process crashed (SIGSEGV), in the handler or in a library that it calls"),
        ("exit 0", False, "the worker process ended with exit code 0; a handler must return, not exit"),
        ("exit 3", False, "the worker process ended with exit code 3; a handler must return, not exit"),
        ("killed", True, "the worker process was killed (SIGKILL); perhaps the machine ran out of memory"),
        ("sys.exit", False, "Handler 'die' threw exception: handler called sys.exit(7)"),
        ("raise", False, "Handler 'die' threw exception: not a number"),
        ("odd error", False, "Handler 'die' threw exception: OddError: one and two"),
        ("unpicklable", False, "Handler 'die' threw exception: ValueError: <function"),
        ("transient", True, "busy"),
        ("timeout", True, "the other side did not answer"),
    ],
)
async def test_a_worker_that_dies_fails_its_step_and_no_other(how: str, transient: bool, message: str) -> None:
    dies = {"handler": "die", "options": {"how": how}, "retry": {"max_attempts": 2, "delay_s": 0}}
    result = await run([{"parallel": [dies, "tell_pid"], "policy": "best_effort"}, "tell_pid"])
    outcome = result.outcomes[1]
    assert [o.status for o in result.outcomes] == ["succeeded", "failed", "succeeded", "succeeded"]
    assert outcome.error is not None
    assert outcome.error.message.startswith(message)
    assert (outcome.error.transient, outcome.attempts) == (transient, 2 if transient else 1)
    assert outcome.cost == {"tokens": 3 * outcome.attempts}


async def test_how_a_worker_ended_is_known_while_other_threads_collect_ended_processes() -> None:
    over, interval = threading.Event(), sys.getswitchinterval()

    def collect() -> None:
        while not over.is_set():
            multiprocessing.active_children()

    collecting = [threading.Thread(target=collect) for _ in range(3)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in collecting:
            thread.start()
        for _ in range(5):
            with pytest.raises(FatalError, match="ended with exit code 3"):
                await call_in_process(os._exit, 3)
    finally:
        over.set()
        sys.setswitchinterval(interval)
        for thread in collecting:
            thread.join()


async def test_workers_are_kept_for_the_next_call_and_no_more_than_are_needed() -> None:
    first = await asyncio.gather(*(call_in_process(os.getpid) for _ in range(CORES + 3)))
    assert len(set(first)) <= CORES + 3
    until(lambda: sum(lives(pid) for pid in set(first)) <= CORES, "workers are left over")
    assert await call_in_process(os.getpid) in first


async def test_a_worker_that_was_killed_while_idle_harms_no_call() -> None:
    pid = await call_in_process(os.getpid)
    os.kill(pid, signal.SIGKILL)
    assert await call_in_process(os.getpid) != pid
    for _ in range(CORES):
        await call_in_process(os.getpid)


async def test_what_cannot_be_pickled_is_refused_with_the_reason() -> None:
    with pytest.raises(Exception, match="the inputs of a call with `isolation: process` must be picklable"):
        await call_in_process(print, lambda: 1)
    with pytest.raises(Exception, match="the result of the call cannot be pickled"):
        await call_in_process(eval, "lambda: 1")


KILLED_RUN = """
import asyncio, sys
import tests.support.process_handlers
from flows.state import Context
from flows.engine import Prepared, run_plan
from flows.planning import make_plan
from flows.model import Pipeline
steps = [{"handler": "stuck", "options": {"how": "orphans", "folder": sys.argv[1]}}]
if __name__ == "__main__":
    plan = make_plan(Pipeline.model_validate({"name": "p", "steps": steps}))
    asyncio.run(run_plan(Prepared(plan, Context({}))))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_and_their_children_end_with_us_even_if_we_are_killed(tmp_path: Path, number: int) -> None:
    script, notes, temporary = tmp_path / "killed_run.py", tmp_path / "notes", tmp_path / "temporary"
    script.write_text(KILLED_RUN)
    notes.mkdir()
    temporary.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(temporary)}
    killed = subprocess.Popen([sys.executable, str(script), str(notes)], env=environment)
    try:
        until(lambda: len(noted(notes)) == 3, "the run never got there")
        assert all(lives(pid) for pid in noted(notes))
        assert any(temporary.rglob("*.jsonl"))
    finally:
        killed.send_signal(number)
        killed.wait()
    until(lambda: gone(notes), "a worker or its children outlived the run")
    until(lambda: not any(temporary.iterdir()), "the files of its calls outlived the run")


SCRIPT = """
import sys
from pathlib import Path

from flows import run
from flows.author import handler
from flows.model import Pipeline
from tests.support import process_handlers

with Path(sys.argv[1]).open("a") as written:
    written.write(f"{__name__}\\n")


@handler(isolation="process", writes="twice")
def doubled(text: str) -> str:
    return 2 * text


if __name__ == "__main__":
    made = Pipeline.model_validate({"name": "p", "steps": [sys.argv[2]]})
    print(run(made, text="hello").status)
"""


@pytest.mark.parametrize(("step", "imported"), [("tell_pid", []), ("doubled", ["__mp_main__"])])
def test_a_worker_imports_the_main_module_only_for_a_handler_in_it(
    tmp_path: Path, step: str, imported: list[str]
) -> None:
    script, names = tmp_path / "script.py", tmp_path / "names.txt"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, script, names, step], env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.stdout.strip() == "succeeded", done.stderr
    assert names.read_text().split() == ["__main__", *imported]
