"""The sandbox: limits, deaths and errors of one call touch no other."""

import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flows.calling import Sandbox
from flows.calling.container import container_bytes
from flows.calling.sandbox import stop_sandboxes
from flows.errors import CallCrashed, LimitExceeded, StepCancelled, TransientError
from tests.support import parsers

SANDBOX = Sandbox()


@pytest.fixture(scope="module", autouse=True)
def no_process_stays() -> Iterator[None]:
    yield
    stop_sandboxes()


def test_a_call_returns_its_result_and_keeps_its_process():
    assert SANDBOX.run(parsers.double, 21) == 42
    assert SANDBOX.run(parsers.whoami) == SANDBOX.run(parsers.whoami)


def test_items_come_one_by_one():
    assert list(SANDBOX.stream(parsers.count_up, 1000)) == list(range(1000))


def test_a_stream_that_is_left_ends_its_process():
    before = SANDBOX.run(parsers.whoami)
    stream = SANDBOX.stream(parsers.count_up, 10_000_000)
    assert next(iter(stream)) == 0
    stream.close()  # type: ignore[attr-defined]
    assert SANDBOX.run(parsers.whoami) != before
    assert not psutil.pid_exists(before)


def test_an_error_arrives_with_its_traceback_and_the_process_goes_on():
    before = SANDBOX.run(parsers.whoami)
    with pytest.raises(ValueError, match="no good") as raised:
        SANDBOX.run(parsers.refuse, "no good")
    assert "in refuse" in raised.value.__notes__[0]
    assert SANDBOX.run(parsers.whoami) == before


@pytest.mark.parametrize(
    ("function", "arguments", "says"),
    [
        (parsers.leave, (0,), "exit code 0"),
        (parsers.leave, (3,), "exit code 3"),
        (parsers.die, ("SIGSEGV",), "SIGSEGV"),
        (parsers.die, ("SIGABRT",), "SIGABRT"),
    ],
)
def test_a_crash_is_the_call_s_own(function: object, arguments: tuple[object, ...], says: str):
    with pytest.raises(CallCrashed, match=says):
        SANDBOX.run(function, *arguments)  # type: ignore[arg-type]
    assert SANDBOX.run(parsers.double, 1) == 2


def test_a_process_that_is_killed_from_outside_may_live_next_time(tmp_path: Path):
    with pytest.raises(TransientError, match="SIGKILL"):
        SANDBOX.run(parsers.die, "SIGKILL")
    assert list(SANDBOX.stream(parsers.die_at, 8, str(tmp_path / "died"))) == list(range(8))


def test_cpu_time_is_limited_for_each_call():
    sandbox = Sandbox(cpu_s=0.5)
    with pytest.raises(LimitExceeded, match=r"more than 0\.5 s of CPU time"):
        sandbox.run(parsers.spin)
    assert [sandbox.run(parsers.double, n) for n in range(3)] == [0, 2, 4]


def test_memory_is_limited():
    with pytest.raises(LimitExceeded, match="more than 300 MB of memory"):
        Sandbox(memory_bytes=300_000_000).run(parsers.eat)


def test_calls_share_the_memory_of_a_small_container():
    def share(container: int | None, processes: int = 16) -> tuple[int, int]:
        sandbox = Sandbox(processes=processes, container_bytes=container)
        return sandbox.at_once, sandbox.allowed_bytes // 1_000_000

    assert share(None) == (16, 2000)
    assert share(64_000_000_000) == (16, 2000)
    assert share(4_500_000_000) == (8, 500)
    assert share(4_500_000_000, processes=2) == (2, 2000)
    assert share(600_000_000) == (1, 200)
    with pytest.raises(LimitExceeded, match="more than 300 MB of memory .* give the container more than 800 MB"):
        Sandbox(container_bytes=800_000_000).run(parsers.eat)


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/pod/run\n", {"pod/run/memory.max": "max", "pod/memory.max": "1000000000"}, 1_000_000_000),
        ("0::/\n", {"memory.max": "700000000\n"}, 700_000_000),
        ("0::/pod\n", {"pod/memory.max": "max\n"}, None),
        (
            "5:devices:/\n4:memory,hugetlb:/a\n",
            {"memory/a/memory.limit_in_bytes": "9000000", "memory/memory.limit_in_bytes": "9223372036854771712"},
            9_000_000,
        ),
        ("4:memory:/not/here\n", {"memory/memory.limit_in_bytes": "8000000"}, 8_000_000),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712"}, None),
        (None, {}, None),
    ],
)
def test_the_limit_of_a_container_is_the_lowest_around_the_process(
    groups: str | None, files: dict[str, str], expected: int | None, tmp_path: Path
):
    if groups is not None:
        (tmp_path / "cgroup").write_text(groups)
    for name, text in files.items():
        (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / name).write_text(text)
    assert container_bytes(tmp_path / "fs", tmp_path / "cgroup") == expected


def test_a_call_that_only_waits_is_stopped_by_the_clock():
    with pytest.raises(TransientError, match="of wall time"):
        Sandbox(cpu_s=0.05).run(parsers.sleep)


def test_a_cancelled_call_is_stopped():
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(StepCancelled):
        SANDBOX.run(parsers.spin, cancelled=stop.is_set)


def test_prints_are_no_answers_and_secrets_stay_here(monkeypatch: pytest.MonkeyPatch):
    assert SANDBOX.run(parsers.shout) == "answer"
    stop_sandboxes()
    monkeypatch.setenv("BRAID_OPENAI_API_KEY", "secret")
    assert SANDBOX.run(parsers.secrets) == []


def test_calls_at_once_have_processes_of_their_own():
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(Sandbox(processes=2).run(parsers.double, n)))
        for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [2 * n for n in range(12)]
