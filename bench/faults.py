"""Everything that we can break, broken: how often it was tried, how often survived, and what was lost.

    python -m bench.faults                  all rows, some minutes; a Prefect server and a PostgreSQL are started
    python -m bench.faults --quick          fewer tries, without servers: a minute
    python -m bench.faults --only "full disk"

A row is survived if the run, or the run that goes on from it, ends exactly as an undisturbed one (status and hash of
the final state). Lost counts calls that were kept and are done again, outcomes that are missing, and results that
differ. The exit code is 1 if anything was lost or not survived.
"""

import argparse
import asyncio
import logging
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from flows.author import REGISTRY, Registry, RunResult, handler
from flows.engine import Event, Prepared, StepFinished, combine_observers, run_plan
from flows.errors import FatalError, TransientError
from flows.model import Pipeline
from flows.planning import make_plan
from flows.reports.tables import markdown_table
from flows.run_store import Recorder, RunRecord, RunStore, RunStoreFailed
from flows.run_store.tables import finished_calls
from flows.state import Context, Identity
from tests.support import killing


@dataclass(frozen=True)
class Row:
    """What came of one kind of fault."""

    fault: str
    tried: int
    survived: int
    lost: int

    @property
    def ok(self) -> bool:
        return self.tried > 0 and self.tried == self.survived and not self.lost


@dataclass(frozen=True)
class Place:
    """A folder for one try."""

    folder: Path

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder / 'runs.db'}"

    def handlers(self, calls: Any = None) -> Registry:
        return killing.registry(calls or self.folder / "calls", self.folder)

    def called(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def record(self, run_id: str) -> tuple[RunRecord, set[str]]:
        """The run, and the keys of its kept calls."""
        store = RunStore(self.url)
        record = store.get(run_id)
        assert record is not None, f"{run_id} is not in the store"
        found = {call.key for call in store.finished_calls(record.chain)}
        store.close()
        return record, found

    def go_on(self, run_id: str) -> "tuple[RunResult, int]":
        """Resume a run; and how much of it was lost."""
        record, before = self.record(run_id)
        calls = len(self.called())
        result = killing.run(RunStore(self.url), f"{run_id}-on", self.handlers(), record)
        again = len(self.called()) - calls
        reused = sum(1 for outcome in result.outcomes if outcome.reused)
        return result, max(0, len(before) - reused) + max(0, again - (killing.CALLS_OF_A_RUN - len(before)))


def undisturbed() -> RunResult:
    with tempfile.TemporaryDirectory() as name:
        place = Place(Path(name))
        return killing.run(RunStore(place.url), "undisturbed", place.handlers())


def _rows(fault: str, tries: int, attempt: Callable[[Place, int], int | None]) -> Row:
    """Try `attempt` in folders of its own; it says what was lost, or None if the run did not end as it should."""
    survived = lost = 0
    for number in range(tries):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
            found = attempt(Place(Path(name)), number)
        survived += found is not None
        lost += found or 0
    return Row(fault, tries, survived, lost)


def _same(result: RunResult, lost: int, wanted: RunResult) -> int | None:
    as_wanted = (result.status, result.fingerprint) == ("succeeded", wanted.fingerprint)
    return lost + abs(len(result.outcomes) - len(wanted.outcomes)) if as_wanted else None


def kills(database: str, *, every: int) -> Row:
    """SIGKILL before and after each write into the run store."""
    wanted, tried, survived, lost = undisturbed(), 0, 0, 0
    with _database(database) as url, tempfile.TemporaryDirectory() as name:
        point, killed = 1, True
        while killed:
            for before in (True, False):
                report = killing.at(point, before=before, url=url, folder=Path(name) / f"{point}-{before}")
                killed = report["killed"]
                if not killed:
                    continue
                tried += 1
                survived += (report["status"], report["hash"]) == ("succeeded", wanted.fingerprint)
                lost += abs(report["kept"] - report["reused"]) + abs(killing.CALLS_OF_A_RUN - report["calls"])
                lost += max(0, report["again"] - (killing.CALLS_OF_A_RUN - report["kept"]))
            point += every
    return Row(f"process killed (SIGKILL) before or after a write, {database}", tried, survived, lost)


@contextmanager
def _database(name: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        if name == "SQLite":
            yield f"sqlite:///{folder}/runs.db"
            return
        from tests.support.servers import run_postgres

        with run_postgres(Path(folder) / "data") as url:
            yield url


def full_disk(tries: int) -> Row:
    """The database cannot grow any more in the middle of a run; later there is room again."""
    wanted = undisturbed()

    def attempt(place: Place, number: int) -> int | None:
        store = RunStore(place.url)
        engine = store._engine  # pyright: ignore[reportPrivateUsage]
        with engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()

        def limit(connection: Any, _: Any) -> None:
            connection.execute(f"PRAGMA max_page_count={pages + number % 12}")

        event.listen(engine, "connect", limit)
        engine.dispose()
        try:
            killing.run(store, "full", place.handlers())
        except RunStoreFailed:
            pass
        except OperationalError:  # not even the run itself could be noted: it did not start
            return 0 if not place.called() else None
        result, lost = place.go_on("full")
        return _same(result, lost, wanted)

    return _rows("disk full while a run is written down", tries, attempt)


def dead_workers(tries: int) -> Row:
    """A worker process is killed in the middle of a call."""
    from bench import fault_handlers

    steps = [
        {
            "for_each": "items",
            "max_concurrency": 4,
            "collect": ["survivor"],
            "steps": [{"handler": "bench_dies_once", "retry": {"max_attempts": 2, "delay_s": 0}}],
        }
    ]
    plan = make_plan(Pipeline.model_validate({"name": "workers", "steps": steps}), registry=REGISTRY)
    assert fault_handlers.dies_once
    with tempfile.TemporaryDirectory() as name:
        context = Context({"items": list(range(tries)), "marker": f"{name}/died"})
        result = asyncio.run(run_plan(Prepared(plan, context)))
        died = len(list(Path(name).glob("died-*")))
    right = list(result.context.data["survivor"]) == [2 * item for item in range(tries)]
    good = sum(1 for outcome in result.outcomes if outcome.is_leaf and outcome.status == "succeeded")
    return Row("worker process killed (isolation: process)", died, good if right else 0, tries - good)


def endless_threads(tries: int) -> Row:
    """A thread never ends: the run does, and what the thread returns at last goes nowhere."""

    def attempt(_: Place, number: int) -> int | None:
        made, end = Registry(), threading.Event()

        @handler(registry=made, writes="late")
        def never_ends() -> str:
            end.wait()
            return "too late"

        @handler(registry=made, writes="beside")
        def beside() -> int:
            return number

        group = {"parallel": [{"handler": "never_ends", "timeout_s": 0.05}, "beside"], "policy": "best_effort"}
        plan = make_plan(Pipeline.model_validate({"name": "threads", "steps": [group]}), registry=made)
        result = asyncio.run(run_plan(Prepared(plan, Context())))
        before = result.fingerprint
        end.set()
        states = [outcome.status for outcome in result.outcomes if outcome.is_leaf]
        as_wanted = result.status == "partial" and states == ["abandoned", "succeeded"]
        kept_out = "late" not in result.context.data and result.fingerprint == before
        return (0 if result.context.data["beside"] == number and kept_out else 1) if as_wanted else None

    return _rows("thread that never ends", tries, attempt)


def concurrent_runs(runs: int) -> Row:
    """Many processes write their runs into one file at the same time."""
    wanted = undisturbed()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        url = f"sqlite:///{root / 'runs.db'}"
        children: list[int] = []
        for number in range(runs):
            child = os.fork()
            if child == 0:
                code = 1
                with suppress(BaseException):
                    folder = root / str(number)
                    folder.mkdir()
                    result = killing.run(RunStore(url), f"run-{number}", killing.registry(folder / "calls", folder))
                    code = 0 if result.fingerprint == wanted.fingerprint else 2
                os._exit(code)
            children.append(child)
        ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        store, lost = RunStore(url), 0
        for number in range(runs):
            run_id = f"run-{number}"
            lost += len(wanted.outcomes) - len(store.outcomes(run_id))
            lost += killing.CALLS_OF_A_RUN - len(store.finished_calls(run_id))
        store.close()
    return Row(f"{runs} runs at once in one SQLite file", runs, ended.count(0), lost)


class _CancelAfter:
    def __init__(self, events: int) -> None:
        self._left = events
        self.task: asyncio.Task[RunResult] | None = None

    def __call__(self, event: Event) -> None:
        self._left -= isinstance(event, StepFinished)
        if self._left == 0 and self.task is not None:
            self.task.cancel()


def cancelled(tries: int) -> Row:
    """A run is cancelled after each of its outcomes in turn, and resumed."""
    wanted = undisturbed()

    def attempt(place: Place, number: int) -> int | None:
        async def run() -> None:
            plan = make_plan(Pipeline.model_validate(killing.PIPELINE), registry=place.handlers())
            recorder, stop = Recorder(RunStore(place.url)), _CancelAfter(number + 1)
            context = Context(identity=Identity("killed", "cut"))
            prepared = Prepared(plan, context, combine_observers(recorder, stop), journal=recorder)
            stop.task = task = asyncio.ensure_future(run_plan(prepared))
            with suppress(asyncio.CancelledError):
                await task

        asyncio.run(run())
        result, lost = place.go_on("cut")
        return _same(result, lost, wanted)

    return _rows("run cancelled at any moment", min(tries, len(wanted.outcomes)), attempt)


class _Stormy:
    """A file that cannot be written three times out of ten."""

    def __init__(self, path: Path, seed: int) -> None:
        self._path, self._random, self._lock = path, random.Random(seed), threading.Lock()

    def open(self, mode: str) -> Any:
        with self._lock:
            if self._random.random() < 0.3:
                raise TransientError("storm")
            return self._path.open(mode)


def storms(tries: int) -> Row:
    """Three of ten calls fail for now, again and again."""
    wanted = undisturbed()

    def attempt(place: Place, number: int) -> int | None:
        described = killing.PIPELINE | {"retry": {"max_attempts": 30, "delay_s": 0}}
        plan = make_plan(
            Pipeline.model_validate(described), registry=place.handlers(_Stormy(place.folder / "calls", number))
        )
        recorder = Recorder(RunStore(place.url))
        context = Context(identity=Identity("killed", "storm"))
        result = asyncio.run(run_plan(Prepared(plan, context, observer=recorder, journal=recorder)))
        return _same(result, killing.CALLS_OF_A_RUN - len(place.called()), wanted)

    return _rows("storm of transient failures (3 of 10 calls)", tries, attempt)


def clock_jumps(tries: int) -> Row:
    """The machine's clock jumps by up to a day, ahead and back, with every look at it."""
    wanted, real = undisturbed(), time.time

    def attempt(place: Place, number: int) -> int | None:
        jumps = random.Random(number)
        time.time = lambda: real() + jumps.uniform(-86_400, 86_400)
        try:
            plan_store = RunStore(place.url)
            result = killing.run(plan_store, "jumps", place.handlers())
        finally:
            time.time = real
        odd = sum(1 for outcome in result.outcomes if not 0 <= outcome.seconds < 60)
        _, there = place.record("jumps")
        return _same(result, odd + killing.CALLS_OF_A_RUN - len(there), wanted)

    return _rows("clock jumps by up to a day", tries, attempt)


def corrupt_content(tries: int) -> Row:
    """What was kept of finished calls cannot be read any more: it is done again, the rest is taken over."""
    wanted = undisturbed()

    def attempt(place: Place, number: int) -> int | None:
        chosen = random.Random(number)
        killing.run(RunStore(place.url), "rot", place.handlers())
        engine = sa.create_engine(place.url)
        with engine.begin() as connection:
            keys = list(connection.execute(sa.select(finished_calls.c.key).order_by(finished_calls.c.key)).scalars())
            broken = chosen.sample(keys, 1 + number % 8)
            for key in broken:
                content = connection.execute(
                    sa.select(finished_calls.c.content).where(finished_calls.c.key == key)
                ).scalar_one()
                rotten = content[: len(content) // 2] if chosen.random() < 0.5 else b"\x00" * len(content)
                connection.execute(sa.update(finished_calls).where(finished_calls.c.key == key).values(content=rotten))
        engine.dispose()
        before = len(place.called())
        record, _ = place.record("rot")
        result = killing.run(RunStore(place.url), "rot-on", place.handlers(), record)
        return _same(result, max(0, len(place.called()) - before - len(broken)), wanted)

    return _rows("kept results corrupt", tries, attempt)


class _KilledWhileUndoing(RunStore):
    def __init__(self, url: str, *, at: int, before: bool) -> None:
        super().__init__(url)
        self._left, self._before = at, before

    def write(self, *arguments: Any, **named: Any) -> None:
        undoing = any(call is None or call.call.undoing for call in (named.get("keep") or {}).values())
        self._left -= undoing
        if undoing and self._left == 0 and self._before:
            os.kill(os.getpid(), signal.SIGKILL)
        super().write(*arguments, **named)
        if undoing and self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def undo_interrupted(tries: int) -> Row:
    """The process is killed while a failed group is undone: the run that goes on leaves no store half written."""

    def run(store: RunStore, folder: Path, run_id: str, resumes: RunRecord | None = None) -> RunResult:
        made = Registry()

        def remove(result: None, *, name: str) -> None:
            (folder / name).unlink(missing_ok=True)

        @handler(registry=made, name="put", effects="stores", undo=remove)
        def put(*, name: str) -> None:
            (folder / name).write_text("written")

        @handler(registry=made, name="broken", effects="stores")
        def broken() -> None:
            raise FatalError("disk full")

        puts = [{"handler": "put", "id": f"put-{name}", "options": {"name": name}} for name in ("a", "b", "c")]
        steps = [{"parallel": [*puts, "broken"], "max_concurrency": 1}]
        plan = make_plan(Pipeline.model_validate({"name": "undo", "steps": steps}), registry=made)
        recorder = Recorder(store, resumes=resumes)
        context = Context(identity=Identity("undo", run_id))
        return asyncio.run(run_plan(Prepared(plan, context, observer=recorder, journal=recorder)))

    def attempt(place: Place, number: int) -> int | None:
        child = os.fork()
        if child == 0:
            with suppress(BaseException):
                killer = _KilledWhileUndoing(place.url, at=1 + number // 2 % 6, before=number % 2 == 0)
                run(killer, place.folder, "undo")
            os._exit(0)
        if not os.WIFSIGNALED(os.waitpid(child, 0)[1]):
            return None
        record, _ = place.record("undo")
        result = run(RunStore(place.url), place.folder, "undo-on", record)
        left = [name for name in ("a", "b", "c") if (place.folder / name).exists()]
        return len(left) if result.status == "failed" else None

    return _rows("undo interrupted by SIGKILL", tries, attempt)


def server_loss(fault: str, **how: Any) -> Row:
    from bench.server_loss import measure

    found = measure(**how)
    last = found["resumed"] or found["first"]
    return Row(fault, 1, int(last.get("status") == "succeeded"), found["lost"])


def rows(*, quick: bool) -> dict[str, Callable[[], Row]]:
    """The rows by their names; the quick ones need no server."""
    few, many = (6, 12) if quick else (24, 48)
    found: dict[str, Callable[[], Row]] = {
        "killed, SQLite": lambda: kills("SQLite", every=12 if quick else 1),
        "full disk": lambda: full_disk(few),
        "dead workers": lambda: dead_workers(4 if quick else 20),
        "endless threads": lambda: endless_threads(few),
        "concurrent runs": lambda: concurrent_runs(20),
        "cancelled": lambda: cancelled(many),
        "storms": lambda: storms(few),
        "clock jumps": lambda: clock_jumps(few),
        "corrupt": lambda: corrupt_content(few),
        "undo": lambda: undo_interrupted(12),
    }
    if not quick:
        found |= {
            "killed, PostgreSQL": lambda: kills("PostgreSQL", every=1),
            "server away 3 s": lambda: server_loss("Prefect server killed in a run, back after 3 s", away_s=3.0),
            "server away": lambda: server_loss("Prefect server killed in a run, back after its end", away_s=None),
            "server and run": lambda: server_loss(
                "Prefect server killed in a run, then the run's process", away_s=None, die=True
            ),
        }
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Fewer tries, no servers.")
    parser.add_argument("--only", action="append", help="This row; may be repeated.")
    chosen = parser.parse_args()
    logging.getLogger("flows").addHandler(logging.NullHandler())
    made: list[tuple[Row, str]] = []
    for name, row in rows(quick=chosen.quick).items():
        if chosen.only and name not in chosen.only:
            continue
        began = time.monotonic()
        made.append((row(), f'`python -m bench.faults --only "{name}"`'))
        print(f"{name}: {made[-1][0]} in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    table = [(row.fault, str(row.tried), str(row.survived), str(row.lost), command) for row, command in made]
    print("\n".join(markdown_table(("fault", "tried >", "survived >", "lost >", "command"), table)))
    return 0 if all(row.ok for row, _ in made) else 1


if __name__ == "__main__":
    sys.exit(main())
