"""The work of every row: step bodies, the expected calls, and their check. Standard library only."""

import hashlib
import re
import sqlite3
import sysconfig
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

AT_ONCE = 10
PAPER = {
    "extract_text": 0.5,
    "partition": 0.2,
    "dense": 1.0,
    "sparse": 0.8,
    "entities": 1.5,
    "summary": 1.0,
    "store_dense": 0.3,
    "store_sparse": 0.2,
    "store_graph": 0.2,
}
"""Seconds that each step of the paper pipeline sleeps; its critical path is 2.50 s."""
PAPER_GROUPS = (("extract_text",), ("partition",), tuple(PAPER)[2:6], tuple(PAPER)[6:])
"""Steps of a group run side by side; each group waits for the one before it."""
PAPER_READS = {
    "partition": "extract_text",
    "dense": "partition",
    "sparse": "partition",
    "entities": "partition",
    "summary": "partition",
    "store_dense": "dense",
    "store_sparse": "sparse",
    "store_graph": "entities",
}
DOCUMENT_STEPS = tuple(f"step_{number}" for number in range(9))
DOCUMENT_STEP_S = 0.003
CHAIN = 100
TEXTS = 497


@dataclass(frozen=True)
class Row:
    """One kind of work: its name on the command line, and its title."""

    name: str
    title: str
    items: int = 0


ROWS = {
    row.name: row
    for row in (
        Row("paper", "paper pipeline, critical path 2.50 s"),
        Row("documents", "20 documents x 9 steps, 10 at once", 20),
        Row("many", "1,000 documents x 9 steps, 10 at once", 1000),
        Row("nothing", "1,000 calls of nothing, one each", 1000),
        Row("chain", "chain of 100 calls of nothing"),
        Row("texts", "497 real texts: chunk, hash, store"),
    )
}


class Ledger:
    """Records which step bodies ran, on which item, and when."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[tuple[str, Any, float, float]] = []

    def note(self, step: str, item: Any, began: float) -> None:
        with self._lock:
            self._calls.append((step, item, began, time.perf_counter()))

    def check(self, row: Row) -> None:
        """Raise an `AssertionError` unless every step ran once for every item, and after those that it waits for."""
        expected, groups = expected_calls(row)
        counted = Counter((step, item) for step, item, _, _ in self._calls)
        assert counted == Counter(expected), f"{row.name}: {counted - Counter(expected)}, {Counter(expected) - counted}"
        spans = {(step, item): (began, ended) for step, item, began, ended in self._calls}
        for item in {item for _, item in expected}:
            for before, after in pairwise(groups):
                latest = max(spans[step, item][1] for step in before)
                earliest = min(spans[step, item][0] for step in after)
                assert latest <= earliest, f"{row.name}: {after} of {item} began before {before} had ended"


LEDGER = Ledger()


def expected_calls(row: Row) -> tuple[list[tuple[str, Any]], Sequence[Sequence[str]]]:
    match row.name:
        case "paper":
            return [(step, 0) for step in PAPER], PAPER_GROUPS
        case "documents" | "many":
            return [(s, n) for s in DOCUMENT_STEPS for n in range(row.items)], [(s,) for s in DOCUMENT_STEPS]
        case "nothing":
            return [("nothing", number) for number in range(row.items)], ()
        case "chain":
            names = [f"link_{number}" for number in range(CHAIN)]
            return [(name, 0) for name in names], [(name,) for name in names]
        case _:
            return [(name, 0) for name in ("chunk", "digest", "store")], (("chunk",), ("digest",), ("store",))


# The step bodies.


def paper_step(name: str, value: str) -> str:
    began = time.perf_counter()
    time.sleep(PAPER[name])
    LEDGER.note(name, 0, began)
    return f"{name}({value})"


def document_step(name: str, document: int, value: str = "") -> str:
    began = time.perf_counter()
    time.sleep(DOCUMENT_STEP_S)
    LEDGER.note(name, document, began)
    return f"{name}({document})"


def nothing(number: int) -> int:
    LEDGER.note("nothing", number, time.perf_counter())
    return number


def link(name: str, value: int) -> int:
    LEDGER.note(name, 0, time.perf_counter())
    return value + 1


def texts() -> list[str]:
    """The first modules of Python's standard library, in the order of their paths, as texts."""
    folder = Path(sysconfig.get_path("stdlib"))
    files = (path for path in sorted(folder.rglob("*.py")) if "site-packages" not in path.parts)
    found: list[str] = []
    for path in files:
        if len(found) == TEXTS:
            break
        found.append(path.read_text(encoding="utf-8", errors="replace"))
    return found


_WORD = re.compile(r"\w+")


def chunk(documents: Sequence[str]) -> dict[str, list[str]]:
    """Windows of twenty words, by document."""
    began = time.perf_counter()
    found: dict[str, list[str]] = {}
    for number, text in enumerate(documents):
        words = _WORD.findall(text)
        found[f"document-{number}"] = [" ".join(words[at : at + 20]) for at in range(0, len(words), 10)]
    LEDGER.note("chunk", 0, began)
    return found


def digest(chunks: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    began = time.perf_counter()
    found = {name: [hashlib.sha256(each.encode()).hexdigest() for each in listed] for name, listed in chunks.items()}
    LEDGER.note("digest", 0, began)
    return found


def store(chunks: Mapping[str, Sequence[str]], digests: Mapping[str, Sequence[str]], file: str) -> int:
    began = time.perf_counter()
    connection = sqlite3.connect(file)
    with connection:
        connection.execute("CREATE TABLE passages (document TEXT, digest TEXT, content TEXT)")
        rows = ((name, mark, text) for name in chunks for mark, text in zip(digests[name], chunks[name], strict=True))
        connection.executemany("INSERT INTO passages VALUES (?, ?, ?)", rows)
    count = int(connection.execute("SELECT count(*) FROM passages").fetchone()[0])
    connection.close()
    LEDGER.note("store", 0, began)
    return count


Case = Callable[[], object]
"""Does the work of a row once."""
