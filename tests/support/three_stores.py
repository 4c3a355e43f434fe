"""One record written to PostgreSQL, S3 and SQLite, all or nothing: `python -m tests.support.three_stores CONFIG` for one run.

The third store refuses the record while the file `mended` is missing. With `kill` set, the process ends itself with
SIGKILL in the middle of the undo of the store of that name.
"""

import asyncio
import json
import os
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from flows.author import Registry, RunResult, handler
from flows.engine import Prepared, run_plan
from flows.errors import FatalError
from flows.model import Pipeline
from flows.planning import make_plan
from flows.run_store import Recorder, RunStore
from flows.state import Context, Identity
from flows.storage import Storage, StorageOptions

RECORD = {"id": "r1", "text": "all or nothing"}


@dataclass(frozen=True)
class Stores:
    """Where the three stores are, and when the process is to be killed."""

    folder: str
    postgres: str
    s3_prefix: str
    s3_endpoint: str
    s3_key: str
    s3_secret: str
    kill: str = ""

    @property
    def runs(self) -> str:
        return f"sqlite:///{self.folder}/runs.db"

    @property
    def sqlite(self) -> str:
        return f"sqlite:///{self.folder}/records.db"

    @property
    def s3(self) -> Storage:
        return Storage(
            StorageOptions(
                s3_endpoint_url=self.s3_endpoint, s3_key=self.s3_key, s3_secret=self.s3_secret, s3_region="us-east-1"
            )
        )

    def found(self) -> dict[str, bool]:
        """Which stores have the record."""
        return {
            "postgres": _rows(self.postgres) == [(RECORD["id"], RECORD["text"])],
            "s3": self.s3.exists(f"{self.s3_prefix}/{RECORD['id']}.json"),
            "sqlite": _rows(self.sqlite) == [(RECORD["id"], RECORD["text"])],
        }

    def calls(self) -> list[str]:
        path = Path(self.folder, "calls")
        return path.read_text().split() if path.exists() else []


def _rows(url: str) -> list[tuple[Any, ...]]:
    engine = sa.create_engine(url)
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS records (id TEXT PRIMARY KEY, text TEXT)")
            return [tuple(row) for row in connection.exec_driver_sql("SELECT id, text FROM records")]
    finally:
        engine.dispose()


def _execute(url: str, statement: str, values: dict[str, str]) -> None:
    engine = sa.create_engine(url)
    try:
        with engine.begin() as connection:
            connection.execute(sa.text(statement), values)
    finally:
        engine.dispose()


def registry(stores: Stores) -> Registry:
    made = Registry()
    insert = "INSERT INTO records VALUES (:id, :text) ON CONFLICT (id) DO UPDATE SET text = :text"

    def called(what: str) -> None:
        with Path(stores.folder, "calls").open("a") as file:
            file.write(f"{what}\n")

    def undone(name: str) -> None:
        called(f"undo-{name}")
        if stores.kill == name:
            os.kill(os.getpid(), signal.SIGKILL)

    def delete_row(record: dict[str, str], result: None) -> None:
        _execute(stores.postgres, "DELETE FROM records WHERE id = :id", {"id": record["id"]})
        undone("postgres")

    def delete_object(record: dict[str, str], result: str) -> None:
        stores.s3.delete(result)
        undone("s3")

    @handler(registry=made, effects="postgres", undo=delete_row)
    def store_postgres(record: dict[str, str]) -> None:
        called("postgres")
        _execute(stores.postgres, insert, record)

    @handler(registry=made, effects="s3", undo=delete_object)
    def store_s3(record: dict[str, str]) -> str:
        called("s3")
        uri = f"{stores.s3_prefix}/{record['id']}.json"
        stores.s3.write(uri, json.dumps(record).encode())
        return uri

    @handler(registry=made, effects="sqlite")
    def store_sqlite(record: dict[str, str]) -> None:
        called("sqlite")
        if not Path(stores.folder, "mended").exists():
            raise FatalError("disk full")
        _execute(stores.sqlite, insert, record)

    return made


def run(stores: Stores, run_id: str, *, resume: bool = False) -> RunResult:
    """The group, its branches one after the other, so that the first two have succeeded when the third fails."""
    group = {"parallel": ["store_postgres", "store_s3", "store_sqlite"], "max_concurrency": 1}
    plan = make_plan(Pipeline.model_validate({"name": "three_stores", "steps": [group]}), registry=registry(stores))
    store = RunStore(stores.runs)
    recorder = Recorder(store, resumes=store.recent()[0] if resume else None)
    context = Context({"record": RECORD}, identity=Identity("three_stores", run_id))
    return asyncio.run(run_plan(Prepared(plan, context, observer=recorder, journal=recorder)))


def arguments(stores: Stores) -> list[str]:
    """The command that makes one run in a process of its own."""
    return [sys.executable, "-m", "tests.support.three_stores", json.dumps(asdict(stores))]


if __name__ == "__main__":
    run(Stores(**json.loads(sys.argv[1])), "killed")
