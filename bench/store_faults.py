"""Faults of the process and of the run store: kills, a full disk, many writers, corrupt content, undo interrupted."""

import asyncio
import os
import random
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from bench.fault_tries import Place, Row, lost_of, try_each, undisturbed
from flows.author import Registry, RunResult, handler
from flows.engine import Prepared, run_plan
from flows.errors import FatalError
from flows.model import Pipeline
from flows.planning import make_plan
from flows.run_store import Recorder, RunRecord, RunStore, RunStoreFailed
from flows.run_store.tables import finished_calls
from flows.state import Context, Identity
from tests.support import killing


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
        return lost_of(result, lost, wanted)

    return try_each("disk full while a run is recorded", tries, attempt)


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


def corrupt_content(tries: int) -> Row:
    """Some results of finished calls have become unreadable: these calls are repeated, the others are reused."""
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
        return lost_of(result, max(0, len(place.called()) - before - len(broken)), wanted)

    return try_each("kept results corrupt", tries, attempt)


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

    return try_each("undo interrupted by SIGKILL", tries, attempt)
