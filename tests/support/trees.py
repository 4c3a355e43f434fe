"""Random trees of files with everything that a disk may hold, and sources in them that lie inside each other.

`check_tree` ingests the sources of a tree in some order and compares every balance with a count of its own. It then
ingests them again, which must do nothing, changes the tree, and ingests once more.
"""

import os
import random
import stat
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from deployments.catalog import load_catalog
from deployments.settings import Settings
from flows.author import RunResult
from handlers.records import document_id_of
from tests.support.identities import balance, worked
from tests.support.ingesting import LONG_AGO, ingest, opened

Option = TypeVar("Option")
WORDS = "storm river bridge train violin orchard valve pump hose ledger archive quarry".split()
STEMS = ("readme", "a", "notes", "U\u0308ber", "Über", "ß", "x y", "100%", "#1", "a'b")
FOLDERS = ("one", "two", "one/sub", "one/sub/deep", "two/sub", "one-more")
SOURCES = ("one", "two", "one/sub", "one-more", "one/keep.txt")
TOO_LARGE = 50_000_001
"""Bytes, of a file without blocks on disk; see `max_document_bytes` in the pipeline."""


class Dice(Protocol):
    """The source of random choices: hypothesis in tests, `random` in benchmarks."""

    def choice(self, seq: Sequence[Option], /) -> Option: ...


def random_dice(seed: int) -> Dice:
    return random.Random(seed)


@dataclass
class Tree:
    """A tree on disk, and the words of its good files by path below the root."""

    root: Path
    dice: Dice
    good: dict[str, str] = field(default_factory=dict[str, str])
    now: float = LONG_AGO

    def grow(self, files: int) -> None:
        """Make folders, each with a file that stays, and files of all kinds."""
        for folder in FOLDERS:
            (self.root / folder).mkdir(parents=True, exist_ok=True)
            self.write(f"{folder}/keep.txt")
        kinds: list[Callable[[str, str], None]] = [
            *[self.good_file] * 6,
            self.other_format,
            self.empty,
            self.too_large,
            self.broken,
            self.hidden,
            self.link,
            self.special,
            self.not_text,
            self.unreadable,
            self.encoded,
            self.sidecar,
        ]
        for _ in range(files):
            self.dice.choice(kinds)(self.dice.choice(FOLDERS), self.dice.choice(STEMS))

    def write(self, name: str, text: str | None = None) -> None:
        """A readable file with an old timestamp."""
        text = text or " ".join(self.dice.choice(WORDS) for _ in range(4)) + "."
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        self.good[name] = text
        self._settle(path)

    def _settle(self, path: Path) -> None:
        self.now += 1
        os.utime(path, (self.now, self.now), follow_symlinks=False)

    def _bytes(self, name: str, data: bytes) -> None:
        if not os.path.lexists(self.root / name):
            (self.root / name).write_bytes(data)
            self._settle(self.root / name)

    def good_file(self, folder: str, stem: str) -> None:
        name = f"{folder}/{stem}.{self.dice.choice(['txt', 'md'])}"
        if not os.path.lexists(self.root / name):
            self.write(name)

    def other_format(self, folder: str, stem: str) -> None:
        self._bytes(f"{folder}/{stem}{self.dice.choice(['.xyz', '', '.iso'])}", b"\0\1")

    def empty(self, folder: str, stem: str) -> None:
        self._bytes(f"{folder}/{stem}.csv", b"")

    def too_large(self, folder: str, stem: str) -> None:
        self._bytes(f"{folder}/{stem}.log", b"x")
        os.truncate(self.root / folder / f"{stem}.log", TOO_LARGE)
        self._settle(self.root / folder / f"{stem}.log")

    def broken(self, folder: str, stem: str) -> None:
        self._bytes(f"{folder}/{stem}.{self.dice.choice(['pdf', 'docx'])}", b"%PDF-1.4 this is none")

    def hidden(self, folder: str, stem: str) -> None:
        name = self.dice.choice([f".{stem}", f"~${stem}.docx", f".{stem}-folder/inside.txt", "__MACOSX/a.txt"])
        (self.root / folder / name).parent.mkdir(exist_ok=True)
        self._bytes(f"{folder}/{name}", b"hidden")

    def link(self, folder: str, stem: str) -> None:
        path = self.root / folder / f"link-{stem}.txt"
        target = self.dice.choice(["keep.txt", "..", "nowhere", path.name, "/etc/hostname", "../keep.txt"])
        if not os.path.lexists(path):
            path.symlink_to(target)

    def special(self, folder: str, stem: str) -> None:
        path = self.root / folder / f"{stem}.pipe.txt"
        if not path.exists():
            os.mkfifo(path)

    def not_text(self, folder: str, stem: str) -> None:
        name = os.fsencode(self.root / folder / stem) + self.dice.choice([b"\xff.txt", b"\xff"])
        if name.endswith(b".txt"):
            Path(os.fsdecode(name)).write_text("words", encoding="utf-8")
        else:
            os.makedirs(os.fsdecode(name), exist_ok=True)
            Path(os.fsdecode(name), "inside.txt").write_text("words", encoding="utf-8")

    def unreadable(self, folder: str, stem: str) -> None:
        name = f"{folder}/closed-{stem}"
        if self.dice.choice([True, False]):
            self._bytes(f"{name}.txt", b"closed")
            os.chmod(self.root / f"{name}.txt", 0)
        elif not (self.root / name).exists():
            (self.root / name).mkdir(mode=0)

    def encoded(self, folder: str, stem: str) -> None:
        encoding = self.dice.choice(["latin-1", "utf-16", "utf-8-sig"])
        self._bytes(f"{folder}/{stem}-{encoding}.txt", "Straße in Köln, très chère.".encode(encoding))

    def sidecar(self, folder: str, stem: str) -> None:
        own = self.dice.choice([".tags.yaml", f"{stem}.txt.tags.yaml"])
        self._bytes(f"{folder}/{own}", f"team: {self.dice.choice(WORDS)}\n".encode())

    def change(self) -> None:
        """One random change: an edit, a new file, a rename, or a deletion."""
        loose = sorted(name for name in self.good if not name.endswith("keep.txt"))
        kind = self.dice.choice(["edit", "add", "rename", "delete"]) if loose else "add"
        if kind == "add":
            self.good_file(self.dice.choice(FOLDERS), self.dice.choice(STEMS))
            return
        name = self.dice.choice(loose)
        if kind == "edit":
            self.write(name)
            return
        text = self.good.pop(name)
        if kind == "rename":
            new = f"{self.dice.choice(FOLDERS)}/{self.dice.choice(STEMS)}{Path(name).suffix}"
            if not os.path.lexists(self.root / new):
                (self.root / name).rename(self.root / new)
                self.good[new] = text
                return
        (self.root / name).unlink()

    def seen(self, source: str) -> int:
        """How many objects a source holds, counted without Braid."""
        path = self.root / source
        return _seen(os.fsencode(path)) if path.is_dir() else 1

    def open_again(self) -> None:
        """Let the tree be removed."""
        for path, folders, _ in os.walk(self.root):
            for folder in folders:
                if stat.S_IMODE(os.lstat(os.path.join(path, folder)).st_mode) == 0:
                    os.chmod(os.path.join(path, folder), 0o700)


def _seen(folder: bytes) -> int:
    count = 0
    for entry in os.scandir(folder):
        is_folder = entry.is_dir(follow_symlinks=False)
        enters = is_folder and not entry.name.startswith(b".") and _is_text(entry.name)
        if enters and os.access(entry.path, os.R_OK | os.X_OK):
            count += _seen(entry.path)
        else:
            count += 1
    return count


def _is_text(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def check_tree(tree: Tree, settings: Settings, fresh: Settings, *, files: int, changes: int) -> int:
    """Grow a tree, and check every promise about its ingestion; the number of ingestions that this took."""
    tree.grow(files)
    order = _shuffled(SOURCES, tree.dice)
    catalog = load_catalog(settings)  # once: reading it takes longer than an ingestion of a small tree
    runs = 0

    def run(source: str, into: Settings = settings, **given: Any) -> RunResult:
        return ingest(into, tree.root / source, catalog=catalog, record=False, **given)

    for source in order:
        runs += 1
        found = balance(run(source))
        assert found["seen"] == tree.seen(source), (source, found)
        _check_content(tree, settings, order[:runs])
    before = _content(settings)
    for source in order:
        runs += 1
        again = run(source)
        assert not worked(again), (source, worked(again), again.context.data["changes"])
        found = balance(again)
        assert found["processed"] == 0
        assert found["seen"] == tree.seen(source)
    assert _content(settings) == before, "nothing flaps"
    for _ in range(changes):
        tree.change()
    for source in order:
        runs += 1
        pruned = run(source, prune=True, max_prune_share=1.0)
        assert balance(pruned)["seen"] == tree.seen(source)
    # A file that went from one source to another was there twice until its old source was looked at.
    for source in order:
        runs += 2
        run(source, prune=True, max_prune_share=1.0)
        run(source, fresh)
    _check_content(tree, settings, order)
    assert _content(settings) == _content(fresh), "an index that was kept up is one that was made anew"
    return runs


def _shuffled(options: Sequence[Option], dice: Dice) -> list[Option]:
    left, found = list(options), []
    while left:
        found.append(left.pop(left.index(dice.choice(left))))
    return found


def _content(settings: Settings) -> str:
    with closing(opened(settings)) as store:
        return store.fingerprint()


def _check_content(tree: Tree, settings: Settings, sources: Sequence[str]) -> None:
    """Every good file of these sources is a document with its own words, and no two have one name."""
    with closing(opened(settings)) as store:
        states = {state.id: state for state in store.document_states()}
        names = [state.name for state in states.values()]
        assert len(names) == len(set(names)), sorted(names)
        wanted: dict[str, set[str]] = {}
        for name, text in tree.good.items():
            if any(name == source or name.startswith(f"{source}/") for source in sources):
                wanted.setdefault(document_id_of(f"file://{tree.root}/{name}"), set()).add(text)
        for document_id, texts in wanted.items():
            words = {chunk.text for chunk in store.chunks_of(document_id)}
            assert len(words) == 1, (states.get(document_id), texts)
            assert words <= texts, states.get(document_id)
