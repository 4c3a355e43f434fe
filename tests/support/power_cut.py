"""Power cuts: records every change of a process's files once, and computes the disk after any cut from the record.

A cut comes after one of the changes. Data that had been synced by then are on the disk. Other data may be missing,
depending on the kind of loss. A name (of a new file, a renamed one) is on the disk once its folder has been synced.
"""

import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.paths import ROOT

_HEAD = struct.Struct("<cIIq")
SECTOR = 512


@dataclass(frozen=True)
class DiskChange:
    """One change: c create, w write, t truncate, s sync, d sync of a folder, r rename, l link, u unlink."""

    kind: str
    path: str
    offset: int
    data: bytes


def build_library(folder: Path) -> Path:
    """The recording library, built with this machine's C compiler."""
    library = folder / "power_cut.so"
    source = Path(__file__).with_suffix(".c")
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def record(module: str, arguments: Sequence[str], *, root: Path, library: Path) -> list[DiskChange]:
    """Run a module of Python to its end, and return the changes that it made to the files below `root`."""
    log = root.with_name(f"{root.name}.log")
    environment = {"LD_PRELOAD": str(library), "POWER_CUT_ROOT": str(root), "POWER_CUT_LOG": str(log)}
    ended = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=os.environ | environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = list(_changes(log.read_bytes()))
    log.unlink()
    return found


def _changes(log: bytes) -> Iterator[DiskChange]:
    at = 0
    while at < len(log):
        kind, path, data, offset = _HEAD.unpack_from(log, at)
        at += _HEAD.size
        yield DiskChange(kind.decode(), log[at : at + path].decode(), offset, log[at + path : at + path + data])
        at += path + data


@dataclass
class _File:
    """The synced content of a file, and the changes since."""

    synced: bytes = b""
    pending: list[DiskChange] = field(default_factory=list[DiskChange])

    def with_changes(self, changes: Sequence[DiskChange]) -> bytes:
        content = bytearray(self.synced)
        for change in changes:
            if change.kind == "t":
                del content[change.offset :]
                content.extend(bytes(change.offset - len(content)))
            else:
                content.extend(bytes(max(0, change.offset - len(content))))
                content[change.offset : change.offset + len(change.data)] = change.data
        return bytes(content)


Names = dict[str, _File]
NameChange = Callable[[Names], None]


class Disk:
    """The files after some changes, and the part of them that survives a power cut."""

    def __init__(self) -> None:
        self.names: Names = {}
        self._durable: Names = {}
        self._renamed: list[tuple[set[str], NameChange]] = []
        """Changes of names that are not synced, each with its folders."""

    def make(self, change: DiskChange) -> None:
        path, other = change.path, change.data.decode() if change.kind in "rl" else ""
        match change.kind:
            case "w" | "t":
                if path in self.names:  # else it has been deleted
                    self.names[path].pending.append(change)
            case "s":
                if path in self.names:
                    file = self.names[path]
                    file.synced, file.pending = file.with_changes(file.pending), []
            case "d":
                for folders, name_change in self._renamed:
                    if path in folders:
                        name_change(self._durable)
                self._renamed = [each for each in self._renamed if path not in each[0]]
            case "c":
                made = _File()
                self._rename({path}, lambda names: names.__setitem__(path, made))
            case "l":
                linked = self.names[path]
                self._rename({other}, lambda names: names.__setitem__(other, linked))
            case "r":
                moved = self.names[path]

                def rename(names: Names) -> None:
                    names.pop(path, None)
                    names[other] = moved

                self._rename({path, other}, rename)
            case _:
                self._rename({path}, lambda names: names.pop(path, None) and None)

    def _rename(self, paths: set[str], change: NameChange) -> None:
        change(self.names)
        self._renamed.append(({os.path.dirname(path) for path in paths}, change))

    def without_unsynced(self, loses: Callable[[str], bool] = lambda name: True) -> dict[str, bytes]:
        """The disk after a cut that lost everything unsynced of the files whose names `loses` accepts."""
        lost = {path: file for path, file in self._durable.items() if loses(os.path.basename(path))}
        kept = {path: file for path, file in self.names.items() if not loses(os.path.basename(path))}
        return {path: file.synced for path, file in lost.items()} | {
            path: file.with_changes(file.pending) for path, file in kept.items()
        }

    def with_some(self, chance: random.Random) -> dict[str, bytes]:
        """The disk after a cut that left any of the unsynced writes, and names up to some change of theirs."""
        names = dict(self._durable)
        for _, rename in self._renamed[: chance.randint(0, len(self._renamed))]:
            rename(names)
        return {
            path: file.with_changes([change for change in file.pending if chance.random() < 0.5])
            for path, file in names.items()
        }

    def with_torn(self, chance: random.Random) -> dict[str, bytes]:
        """The disk after a cut in the last write of each file: the sectors before it are there, the others are not."""
        found: dict[str, bytes] = {}
        for path, file in self.names.items():
            pending = list(file.pending)
            if pending and pending[-1].kind == "w":
                last = pending.pop()
                whole = chance.randint(0, len(last.data) // SECTOR) * SECTOR
                pending.append(DiskChange("w", path, last.offset, last.data[:whole]))
            found[path] = file.with_changes(pending)
        return found
