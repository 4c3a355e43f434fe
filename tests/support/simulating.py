"""Random histories of a folder, ingested again and again, with runs killed now and then: `python -m tests.support.simulating URL --sequences N`.

After every run that came to its end, the index must be what ingesting the folder into an empty one makes. Every run is
a process of its own, forked before anything is opened, so that a kill is a real one; what it imports and the pipelines
are there already. Some killed runs are resumed, at once or after the folder has changed and another run has been there;
the run after that must mend whatever a resumed one cannot know. A line of JSON a sequence goes to stdout, and one that
adds up all; the exit code is 1 if any index differed.
"""

import argparse
import contextlib
import importlib
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deployments.catalog import Catalog, load_catalog
from deployments.runs import load_handlers
from deployments.settings import Settings
from flows.author import RunResult
from flows.run_store import RunStore
from tests.support.index_stores import index_url
from tests.support.ingesting import ingest, opened
from tests.support.servers import run_postgres

WORDS = "storm river bridge Ann Bob York Selby IBM violin orchard train Codd Ouse valve pump".split()
WRITES = ("put_documents", "put_vectors", "put_terms", "put_graph", "publish", "rename", "restate", "delete", "sweep")

KILL_AT = (1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 8, 9)
"""A batch is stored with five writes; there are one before it at least, and some after."""


def sentence(dice: random.Random) -> str:
    return " ".join(dice.choice(WORDS) for _ in range(dice.randint(4, 9))).capitalize() + "."


def text(dice: random.Random) -> str:
    parts: list[str] = []
    for _ in range(dice.randint(1, 4)):
        if dice.random() < 0.5:
            parts.append(f"{'#' * dice.randint(1, 2)} {dice.choice(WORDS).capitalize()}")
        parts.append(" ".join(sentence(dice) for _ in range(dice.randint(1, 12))))
    if dice.random() < 0.2:
        parts.append("| a | b |\n|---|---|\n| 1 | 2 |")
    return "\n\n".join(parts)


class Folder:
    """The source, and the changes that may happen to it between two runs."""

    def __init__(self, path: Path, dice: random.Random) -> None:
        self.path, self.dice, self.made, self.now = path, dice, 0, time.time() - 1e6
        path.mkdir(parents=True)

    def files(self) -> list[Path]:
        return sorted(each for each in self.path.rglob("*.*") if not each.name.endswith(".tags.yaml"))

    def write(self, path: Path, content: str) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")
        # Now and then so lately that the listing alone cannot tell whether it changed.
        self.now += 1
        if self.dice.random() < 0.7:
            os.utime(path, (self.now, self.now))

    def new_place(self) -> Path:
        self.made += 1
        folder = self.dice.choice(["", "sub"])
        return self.path / folder / f"{self.dice.choice(WORDS)}{self.made}.{self.dice.choice(['txt', 'md'])}"

    def change(self) -> str:
        files = self.files()
        kinds: list[str] = ["add", "edit", "edit", "rename", "delete", "touch", "tag", "swap", "revert"]
        kind = self.dice.choice(kinds) if len(files) > 1 else "add"
        chosen = self.dice.choice(files) if files else None
        if kind == "add" or chosen is None:
            self.write(self.new_place(), text(self.dice))
        elif kind == "edit":
            before = chosen.read_text(encoding="utf-8")
            old = self.dice.choice(before.split())
            self.write(chosen, before.replace(old, self.dice.choice(WORDS), 1) or "Words.")
        elif kind == "rename":
            place = self.new_place()
            place.parent.mkdir(exist_ok=True)
            chosen.rename(place.with_suffix(chosen.suffix) if self.dice.random() < 0.8 else place)
        elif kind == "delete":
            chosen.unlink()
        elif kind == "touch":
            self.write(chosen, chosen.read_text(encoding="utf-8"))
        elif kind == "tag":
            tags = chosen.with_name(chosen.name + ".tags.yaml")
            tags.write_text(f"team: {self.dice.choice(WORDS)}\n", encoding="utf-8")
        elif kind == "swap":
            other = self.dice.choice([each for each in files if each != chosen])
            one, two = chosen.read_text(encoding="utf-8"), other.read_text(encoding="utf-8")
            self.write(chosen, two)
            self.write(other, one)
        else:
            self.write(chosen, "Reverted to what it was. " + chosen.suffix)
        return kind


def in_process(work: Callable[[], Any]) -> tuple[Any, bool]:
    """The result of `work` in a forked process, and whether the process was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(Exception):
            os.write(writing, json.dumps(work()).encode())
            status = 0
        os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as answers:
        answer = answers.read()
    _, ended = os.waitpid(child, 0)
    return (json.loads(answer) if answer else None), os.WIFSIGNALED(ended)


def run(
    settings: Settings,
    source: Path,
    kill_at: int | None,
    *,
    catalog: Catalog | None = None,
    fresh: str | None = None,
    resume: bool = False,
) -> Callable[[], Any]:
    """A run of an ingestion (the last one, resumed), the content of the index after it, and that of a new index at `fresh`."""

    def work() -> Any:
        if kill_at is not None:
            _kill_at_write(kill_at)
        resumes = None
        if resume:
            runs = RunStore(settings.run_store_url)
            # A process that was killed a moment ago still seems alive on paper.
            resumes = next(each for each in runs.recent() if each.status == "running")
            runs.close()
        given = {"prune": True, "max_prune_share": 1.0, "catalog": catalog}
        found = [_told(settings, ingest(settings, source, resumes=resumes, **given))]
        if fresh is not None:
            new = settings.model_copy(update={"index_url": fresh})
            found.append(_told(new, ingest(new, source, record=False, **given)))
        return found

    return work


def _told(settings: Settings, result: RunResult) -> list[Any]:
    store = opened(settings)
    return [result.status, [str(each.error) for each in result.errors], store.fingerprint(), store.statistics()]


def _kill_at_write(number: int) -> None:
    """End this process with SIGKILL right before or right after its n-th write to the index."""
    from handlers.stores.sql.index import SqlIndexStore

    begun = itertools.count(1)  # several threads write

    def killing(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(self: Any, *arguments: Any, **named: Any) -> Any:
            mine = next(begun) == number
            if mine and number % 2:
                os.kill(os.getpid(), signal.SIGKILL)
            done = original(self, *arguments, **named)
            if mine:
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        return wrapped

    for name in WRITES:
        setattr(SqlIndexStore, name, killing(getattr(SqlIndexStore, name)))


def live(seed: int, url: str, home: Path, runs: int, catalog: Catalog, *, kills: float) -> dict[str, Any]:
    """One sequence of changes and runs (killed or not); return the events, and the difference if there is one."""
    dice = random.Random(seed)
    source = Folder(home / f"in-{seed}", dice)
    settings = Settings(home=home, index_url=url.replace("{seed}", str(seed)), embedding_model="hashing")
    for _ in range(dice.randint(2, 6)):
        source.change()
    told: dict[str, Any] = {"seed": seed, "same": True, "runs": 0, "killed": 0, "resumed": 0, "history": []}
    history: list[str] = told["history"]
    left_over = False
    while told["runs"] < runs:
        kill_at = dice.choice(KILL_AT) if dice.random() < kills else None
        resume = left_over and dice.random() < 0.5
        fresh = None if resume else f"memory://{seed}-{{index}}"
        answer, was_killed = in_process(
            run(settings, source.path, kill_at, catalog=catalog, fresh=fresh, resume=resume)
        )
        history.append(("resumed" if resume else "run") + (", killed" if was_killed else ""))
        if was_killed:
            told["killed"] += 1
            left_over = True
        elif answer is None:
            return told | {"same": False, "found": None}
        elif resume:
            history[-1] += f", {answer[0][0]}"
            told["resumed"] += 1
            left_over = False
        else:
            told["runs"] += 1
            found, wanted = answer
            if found[0] != "succeeded" or found[2] != wanted[2]:
                return told | {"same": False, "found": found, "wanted": wanted}
        for _ in range(dice.choice([0, 1, 2, 2, 3, 4])):
            history.append(source.change())
    return told


def import_what_runs_import(settings: Settings, document: Path) -> None:
    """Import here what a run imports, so that no process of a run has to."""

    def work() -> list[str]:
        ingest(settings, document)
        opened(settings).statistics()
        return sorted(sys.modules)

    modules, _ = in_process(work)
    for name in modules:
        if name not in sys.modules:
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "url", help="of indexes, with {seed} and {index}; or `sqlite`, or `postgres` for a server of its own"
    )
    parser.add_argument("--sequences", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--kills", type=float, default=0.5, help="the share of runs to be killed, if they write enough")
    given = parser.parse_args()
    load_handlers(Settings())
    total = Counter[str]()
    with contextlib.ExitStack() as open_:
        folder = open_.enter_context(tempfile.TemporaryDirectory(prefix="braid-lives-"))
        url = given.url
        if url == "sqlite":
            url = f"sqlite:///{folder}/{{seed}}-{{index}}.db"
        elif url == "postgres":
            data = open_.enter_context(tempfile.TemporaryDirectory(prefix="braid-pg-"))
            server = open_.enter_context(run_postgres(Path(data) / "data"))
            url = index_url(server, "lives-{seed}-{index}")
        (Path(folder) / "first.md").write_text("# First\n\nAnn met Bob at York.\n", encoding="utf-8")
        first = Settings(home=Path(folder), index_url=url.replace("{seed}", "first"), embedding_model="hashing")
        import_what_runs_import(first, Path(folder) / "first.md")
        catalog = load_catalog(first)
        for seed in range(given.first, given.first + given.sequences):
            told = live(seed, url, Path(folder), given.runs, catalog, kills=given.kills)
            total += Counter(
                sequences=1,
                runs=told["runs"],
                killed=told["killed"],
                resumed=told["resumed"],
                different=int(not told["same"]),
            )
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()
    names = ("sequences", "runs", "killed", "resumed", "different")
    spent = sum(os.times()[:4])
    sys.stdout.write(json.dumps({name: total[name] for name in names} | {"cpu_seconds": round(spent, 1)}) + "\n")
    return 1 if total["different"] else 0


if __name__ == "__main__":
    sys.exit(main())
