"""Random lives of a folder, ingested again and again, killed now and then: `python -m tests.simulating URL --sequences N`.

After every run that came to its end, the index must be what ingesting the folder into an empty one makes. Every run is
a process of its own, forked before anything is opened, so that a kill is a real one. A line of JSON a sequence goes to
stdout; the exit code is 1 if any index differed.
"""

import argparse
import contextlib
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deployments.settings import Settings
from deployments.wiring import load_handlers
from tests.ingesting import ingest, opened

WORDS = "storm river bridge Ann Bob York Selby IBM violin orchard train Codd Ouse valve pump".split()
WRITES = ("put_documents", "put_vectors", "put_terms", "put_graph", "publish", "rename", "restate", "delete", "sweep")


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
    """The source, and what may happen to it between two runs."""

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
    """What `work` gives in a forked process, and whether that was killed."""
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


def run(settings: Settings, source: Path, kill_at: int | None, *, record: bool = True) -> Callable[[], Any]:
    def work() -> Any:
        if kill_at is not None:
            _kill_at_write(kill_at)
        result = ingest(settings, source, record=record, prune=True, max_prune_share=1.0)
        store = opened(settings)
        return [result.status, [str(each.error) for each in result.errors], store.fingerprint(), store.statistics()]

    return work


def _kill_at_write(number: int) -> None:
    """End this process with SIGKILL right before or right after its n-th write to the index."""
    from handlers.stores.sql import SqlIndexStore

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


def live(seed: int, url: str, home: Path, runs: int) -> dict[str, Any]:
    """One sequence: changes, a run (killed or not), and so on; what happened, and what differed if anything did."""
    dice = random.Random(seed)
    source = Folder(home / f"in-{seed}", dice)
    settings = Settings(home=home, index_url=url.replace("{seed}", str(seed)), embedding_model="hashing")
    fresh = settings.model_copy(update={"index_url": f"memory://{seed}-{{index}}"})
    for _ in range(dice.randint(2, 6)):
        source.change()
    history: list[str] = []
    killed = 0
    while runs > 0:
        kill_at = dice.randint(2, 8) if dice.random() < 0.6 else None
        answer, was_killed = in_process(run(settings, source.path, kill_at))
        history.append("killed" if was_killed else "run")
        killed += was_killed
        if not was_killed:
            runs -= 1
            wanted, _ = in_process(run(fresh, source.path, None, record=False))
            if answer is None or wanted is None or answer[0] != "succeeded" or answer[2] != wanted[2]:
                return {"seed": seed, "same": False, "history": history, "found": answer, "wanted": wanted}
        for _ in range(dice.choice([0, 1, 2, 2, 3, 4])):
            history.append(source.change())
    return {"seed": seed, "same": True, "killed": killed, "history": history}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("url", help="of indexes, with {seed} and {index}; or `sqlite`")
    parser.add_argument("--sequences", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    load_handlers(Settings())
    import flows.run_store  # noqa: F401  (imported once, not in every process)

    same = True
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/{{seed}}-{{index}}.db" if given.url == "sqlite" else given.url
        for seed in range(given.first, given.first + given.sequences):
            report = live(seed, url, Path(folder), given.runs)
            same &= report["same"]
            sys.stdout.write(json.dumps(report) + "\n")
            sys.stdout.flush()
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
