"""Tries one kind of fault several times, and counts the survived tries and the losses."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.author import Registry, RunResult
from flows.run_store import RunRecord, RunStore
from tests.support import killing


@dataclass(frozen=True)
class Row:
    """The results for one kind of fault."""

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
        """Resume a run, and count the losses."""
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


def try_each(fault: str, tries: int, attempt: Callable[[Place, int], int | None]) -> Row:
    """Try `attempt` in separate folders; it returns the losses, or None if the run did not end as expected."""
    survived = lost = 0
    for number in range(tries):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
            found = attempt(Place(Path(name)), number)
        survived += found is not None
        lost += found or 0
    return Row(fault, tries, survived, lost)


def lost_of(result: RunResult, lost: int, wanted: RunResult) -> int | None:
    as_wanted = (result.status, result.fingerprint) == ("succeeded", wanted.fingerprint)
    return lost + abs(len(result.outcomes) - len(wanted.outcomes)) if as_wanted else None
