"""Kept results are pickles: only results signed by this installation are read, and only its owner may read the files."""

import asyncio
import os
import pickle
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flows.author import Registry, RunResult, handler
from flows.calling import CallResult
from flows.engine import FinishedCall, Prepared, run_plan
from flows.errors import OrchestrationError
from flows.model import Pipeline
from flows.planning import make_plan
from flows.run_store import Recorder, RunStore, SigningKey, UnsignedResult
from flows.state import Context, Identity

SECRET = "0123456789abcdef"


class Attack:
    """A value whose pickle creates a folder when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def run(store: RunStore, *, fails: bool, resumes: bool = False) -> tuple[RunResult, list[str]]:
    registry, called = Registry(), list[str]()

    @handler(registry=registry, writes="words")
    def split_words() -> list[str]:
        called.append("split_words")
        return ["a", "b"]

    @handler(registry=registry, writes="count")
    def count_words(words: list[str]) -> int:
        called.append("count_words")
        if fails:
            raise ValueError("not yet")
        return len(words)

    plan = make_plan(
        Pipeline.model_validate({"name": "words", "steps": ["split_words", "count_words"]}), registry=registry
    )
    (record,) = store.recent() if resumes else (None,)
    context = Context({}, identity=Identity("words", "second" if resumes else "first"))
    recorder = Recorder(RunStore(store.url, key=store.key), resumes=record)
    return asyncio.run(run_plan(Prepared(plan, context, recorder, journal=recorder))), called


def change(path: Path, statement: str, *values: Any) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, values).rowcount


def test_what_was_signed_is_taken_over(tmp_path: Path) -> None:
    store = RunStore(f"sqlite:///{tmp_path / 'home' / 'runs.db'}")
    run(store, fails=True)
    result, called = run(RunStore(store.url), fails=False, resumes=True)
    assert (result.status, called) == ("succeeded", ["count_words"])


def test_a_pickle_that_somebody_put_there_is_not_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, mark = tmp_path / "runs.db", tmp_path / "attacked"
    store = RunStore(f"sqlite:///{path}")
    run(store, fails=True)
    attack = pickle.dumps(Attack(mark))
    for content in (attack, b"\1" + bytes(32) + attack, SigningKey(SECRET).sign(attack, "first", "0.split_words")):
        change(path, "UPDATE kept SET content = ?", content)
        with pytest.raises(UnsignedResult):
            store.finished_call("first", "0.split_words")
    result, called = run(store, fails=False, resumes=True)
    assert (result.status, called) == ("succeeded", ["split_words", "count_words"])
    assert "0.split_words: its kept result cannot be read: this installation did not sign it" in caplog.text
    assert "BRAID_RUN_STORE_KEY" in caplog.text
    assert not mark.exists()


def test_a_result_is_signed_for_its_place(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    store = RunStore(f"sqlite:///{path}")
    run(store, fails=True)
    change(path, "UPDATE kept SET key = '1.count_words'")
    with pytest.raises(UnsignedResult):
        store.finished_call("first", "1.count_words")
    change(path, "UPDATE kept SET key = '0.split_words', lineage = 'another'")
    with pytest.raises(UnsignedResult):
        store.finished_call("another", "0.split_words")


def test_machines_share_results_by_one_secret(tmp_path: Path) -> None:
    url, call = f"sqlite:///{tmp_path / 'runs.db'}", FinishedCall("chained", "own", CallResult((), "x"))
    from flows.run_store import pack

    RunStore(url, key=SigningKey(SECRET)).write("r", "r", keep={"step": pack(call)})
    assert RunStore(url, key=SigningKey(SECRET)).finished_call("r", "step") == call
    with pytest.raises(UnsignedResult, match="Machines that share a run store need one BRAID_RUN_STORE_KEY"):
        RunStore(url, key=SigningKey(SECRET[::-1])).finished_call("r", "step")
    with pytest.raises(OrchestrationError, match="fewer than 16 letters"):
        SigningKey("short")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
def test_only_their_owner_may_read_the_store_and_its_key(tmp_path: Path) -> None:
    home = tmp_path / "home"
    run(RunStore(f"sqlite:///{home / 'runs.db'}"), fails=False)
    assert mode(home) == 0o700
    assert {mode(file) for file in home.iterdir()} == {0o600}
    assert (home / "run-store.key").exists()


def test_processes_that_make_the_key_at_once_agree_on_it(tmp_path: Path) -> None:
    file = tmp_path / "home" / "run-store.key"
    with ThreadPoolExecutor(8) as pool:
        signed = set(pool.map(lambda _: SigningKey(file=file).sign(b"x", "place"), range(40)))
    assert len(signed) == 1
    assert [each.name for each in file.parent.iterdir()] == ["run-store.key"]


def test_a_key_file_that_is_empty_or_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "run-store.key").touch()
    with pytest.raises(OrchestrationError, match="contains no valid key; delete it"):
        SigningKey(file=tmp_path / "run-store.key").sign(b"x")
    with pytest.raises(OrchestrationError, match="make the folder writable, or set BRAID_RUN_STORE_KEY"):
        SigningKey(file=tmp_path / "run-store.key" / "below").sign(b"x")
