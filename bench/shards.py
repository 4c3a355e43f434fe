"""A sharded ingestion whose worker is killed, with real workers, and PostgreSQL for Prefect and the index.

    python -m bench.shards --documents 2000 --workers 4 --shards 8

Prints the coordinator's report, when the worker was killed, and whether every document is in exactly one state and
none twice in the index. Needs the extra `test`, and a PostgreSQL of the system for Prefect (`--prefect-on-sqlite`:
without).
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa

from bench.prefect_server import TUNED, Server
from flows.run_store import RunStore
from handlers.stores import IndexStore, open_index
from tests.support.servers import run_postgres
from tests.support.system_postgres import run_system_postgres

INDEX = "archive"
POOL = "shards-of-bench"
BROKEN_EVERY = 50
"""One document in this many is unreadable."""


@dataclass(frozen=True)
class Ended:
    """The coordinator's report, and what the index holds."""

    report: Mapping[str, Any]
    seconds: float
    killed_after: int
    """How many documents were searchable when a worker was killed."""
    states: Mapping[str, int]
    """Documents by state."""
    wrong: tuple[str, ...]
    """Documents whose searchable content is not exactly theirs, once."""


def ingest_with_deaths(
    folder: Path,
    environment: Mapping[str, str],
    *,
    documents: int,
    workers: int,
    shards: int,
    kill_coordinator: bool = False,
    within_s: float = 3600.0,
) -> Ended:
    """Ingest `documents` tiny files with process workers, one of which is killed when some of them are searchable.

    With `kill_coordinator` the command is killed as well, and given again.
    """
    source = folder / "documents"
    texts = write_documents(source, documents)
    command = [
        sys.executable,
        "-m",
        "deployments",
        "ingest",
        str(source),
        "--index",
        INDEX,
        "--work-pool",
        POOL,
        "--shards",
        str(shards),
        "--json",
    ]
    started = time.monotonic()
    with _workers(folder, workers, environment) as processes:
        coordinator = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        try:
            killed_after = _kill_a_busy_worker(processes, environment, coordinator, documents // 8)
            if kill_coordinator:
                coordinator.kill()
                coordinator.communicate()
                coordinator = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
            out, _ = coordinator.communicate(timeout=within_s)
        finally:
            coordinator.kill()
            coordinator.communicate()
    seconds = time.monotonic() - started
    states, wrong = _look(environment, texts)
    return Ended(json.loads(out), seconds, killed_after, states, wrong)


def write_documents(folder: Path, count: int) -> dict[str, str]:
    """Tiny files of a sentence each, in folders; the text by name, empty for those that cannot be read."""
    texts: dict[str, str] = {}
    for number in range(count):
        broken = number % BROKEN_EVERY == BROKEN_EVERY - 1
        name = f"{number % 10}/note-{number:05d}.{'pdf' if broken else 'txt'}"
        text = "" if broken else f"Note {number} speaks of the word zz{number:05d}qq and of nothing else."
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("no PDF at all" if broken else text, encoding="utf-8")
        texts[name] = text
    return texts


@contextmanager
def servers(folder: Path, *, prefect_on_postgres: bool) -> Iterator[dict[str, str]]:
    """The environment of workers and coordinator: PostgreSQL for the index and the runs, and for Prefect."""
    settings = dict(TUNED)
    with contextlib.ExitStack() as running:
        if prefect_on_postgres:
            behind = running.enter_context(run_system_postgres(folder / "postgres-of-prefect"))
            settings["PREFECT_API_DATABASE_CONNECTION_URL"] = behind.replace("+psycopg", "+asyncpg")
        admin = running.enter_context(run_postgres(folder / "postgres"))
        engine = sa.create_engine(admin, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text("CREATE DATABASE runs"))
        engine.dispose()
        url = sa.make_url(admin)
        home = folder / "prefect"
        server = running.enter_context(Server(home, settings))
        yield {
            **os.environ,
            **TUNED,
            "PREFECT_HOME": str(home),
            "PREFECT_API_URL": server.url,
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PREFECT_LOGGING_LEVEL": "WARNING",
            "BRAID_HOME": str(folder / "home"),
            "BRAID_EMBEDDING_MODEL": "hashing",
            "BRAID_DATABASE_URL": url.set(database="runs").render_as_string(hide_password=False),
            "BRAID_INDEX_URL": url.render_as_string(hide_password=False),
        }


@contextmanager
def _workers(folder: Path, count: int, environment: Mapping[str, str]) -> "Iterator[list[subprocess.Popen[bytes]]]":
    """Process workers that take a run at a time, each in a process group of its own."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process", "--limit", "1"]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(count):
            log = (folder / f"worker-{number}.log").open("wb")
            named = [*command, "--name", f"worker-{number}"]
            processes.append(subprocess.Popen(named, env=environment, stdout=log, stderr=log, start_new_session=True))
            log.close()
        yield processes
    finally:
        for process in processes:
            _kill_tree(process)


def _kill_a_busy_worker(
    workers: "list[subprocess.Popen[bytes]]",
    environment: Mapping[str, str],
    coordinator: "subprocess.Popen[str]",
    after: int,
) -> int:
    """SIGKILL for a worker and the run it has, once more than `after` documents are searchable; how many were."""
    store, runs = _open(environment), RunStore(environment["BRAID_DATABASE_URL"])
    try:
        while coordinator.poll() is None:
            done = store.statistics()["documents"]
            # Only runs that have recorded their start, since the loss of another one would be noticed only after
            # minutes.
            busy = {record.process for record in runs.running()} if done > after else set[int | None]()
            for worker in workers:
                if any(child.pid in busy for child in psutil.Process(worker.pid).children(recursive=True)):
                    _kill_tree(worker)
                    return done
            time.sleep(0.2)
    finally:
        store.close()
        runs.close()
    raise RuntimeError("the ingestion ended before a worker could be killed; give it more documents")


def _kill_tree(process: "subprocess.Popen[bytes]") -> None:
    tree: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        tree = psutil.Process(process.pid).children(recursive=True)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for child in tree:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    process.wait()


def _open(environment: Mapping[str, str]) -> IndexStore:
    return open_index(f"{environment['BRAID_INDEX_URL']}&index={INDEX}")


def _look(environment: Mapping[str, str], texts: Mapping[str, str]) -> tuple[Mapping[str, int], tuple[str, ...]]:
    """Documents by state, and the names of those whose content is not there exactly once."""
    store = _open(environment)
    try:
        rows = {row.name: row for row in store.documents(limit=10 * len(texts))}
        states = Counter(rows[name].status if name in rows else "missing" for name in texts)
        wrong = [name for name in rows if name not in texts]
        for name, text in texts.items():
            chunks = store.chunks_of(rows[name].id) if name in rows else []
            if [chunk.text for chunk in chunks] != ([text] if text else []):
                wrong.append(name)
        # The same word in two passages would be a document that is there twice.
        for name, text in texts.items():
            word = text.split(" ")[6] if text else ""
            if word and len(store.search_terms({word: 1.0}, top_k=5)) != 1:
                wrong.append(name)
        return states, tuple(wrong)
    finally:
        store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--prefect-on-sqlite", action="store_true")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="braid-shards-", ignore_cleanup_errors=True) as name,
        servers(Path(name), prefect_on_postgres=not given.prefect_on_sqlite) as environment,
    ):
        ended = ingest_with_deaths(
            Path(name), environment, documents=given.documents, workers=given.workers, shards=given.shards
        )
    print(json.dumps(dict(ended.report), indent=2))
    print(
        f"{given.documents} documents, {given.workers} workers, {given.shards} shards: {ended.seconds:.0f} s; "
        f"a worker was killed when {ended.killed_after} documents were searchable"
    )
    print(f"states: {dict(ended.states)}; documents whose content is not there exactly once: {len(ended.wrong)}")
    if ended.wrong or ended.states.get("missing") or ended.states.get("pending"):
        sys.exit(f"wrong: {', '.join(ended.wrong[:10])}")


if __name__ == "__main__":
    main()
