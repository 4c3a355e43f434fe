"""A run store of the release before the packages were reordered: it opens, and its unreadable results are made again.

`before_rooms.sql` is a dump of such a store: one failed run, whose first step succeeded. The result of that step is a
pickle of the classes `flows.journal.Kept` and `flows.leaf_calls.Done`, which no longer exist.
"""

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.author import Registry, handler
from flows.engine import Prepared, run_plan
from flows.model import Pipeline
from flows.planning import make_plan
from flows.run_store import Recorder, RunStore, measure_fit
from flows.state import Context, Identity

DUMP = Path(__file__).parent / "before_rooms.sql"
RUN = "before-rooms"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    path = tmp_path / "runs.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(DUMP.read_text(encoding="utf-8"))
    connection.close()
    opened = RunStore(f"sqlite:///{path}")
    yield opened
    opened.close()


def test_its_runs_are_listed_as_they_were(store: RunStore) -> None:
    (record,) = store.recent()
    assert (record.run_id, record.status, record.index) == (RUN, "failed", "docs")
    assert (record.chain, record.file, record.parameters) == (RUN, "words.yaml", {"text": "to be or not"})
    assert record.yaml == "name: words\nsteps:\n  - split_words\n  - count_words\n"
    assert [one.run_id for one in store.chain(record.chain)] == [RUN]
    assert store.spent(record) == {"tokens": 7.0}
    assert [(row["path"], row["status"]) for row in store.outcomes(RUN)] == [("0", "succeeded"), ("1", "failed")]
    assert [row["number"] for row in store.attempts(RUN)] == [1, 1]
    assert [(one.name, one.status, one.run_id) for one in store.documents("docs")] == [("a.txt", "processed", RUN)]


def test_results_that_cannot_be_read_are_made_again_with_a_warning(
    store: RunStore, caplog: pytest.LogCaptureFixture
) -> None:
    registry, called = Registry(), list[str]()

    @handler(registry=registry, writes="words")
    def split_words(text: str) -> list[str]:
        called.append("split_words")
        return text.split()

    @handler(registry=registry, writes="counts")
    def count_words(words: list[str]) -> int:
        called.append("count_words")
        return len(words)

    (record,) = store.recent()
    assert record.yaml is not None
    pipeline = Pipeline.model_validate({"name": "words", "steps": ["split_words", "count_words"]})
    plan = make_plan(pipeline, registry=registry, given=["text"])
    context = Context(dict(record.parameters), identity=Identity("words", "resumed", "docs", resumes=RUN))

    calls = store.finished_calls(record.chain)
    assert [(call.key, call.step_id, call.run_id) for call in calls] == [("0.split_words", "0.split_words", RUN)]
    measure_fit(plan, context, calls).check()

    recorder = Recorder(RunStore(store.url), index="docs", resumes=record)
    result = asyncio.run(run_plan(Prepared(plan, context, recorder, journal=recorder)))
    assert (result.status, context.data["counts"], called) == ("succeeded", 4, ["split_words", "count_words"])
    assert "0.split_words: its kept result cannot be read" in caplog.text
    assert [one.run_id for one in store.chain(RUN)] == [RUN, "resumed"]
    assert store.finished_call(RUN, "0.split_words") is not None
