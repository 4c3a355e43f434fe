"""After a power cut, all work that was reported as done exists, and the resumed run has all documents.

`python -m bench.power_cuts` cuts after every change of a file; here are a few cuts, spread over two ingestions.
"""

import hashlib
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.power_cuts import LOSSES, disk_after, in_process
from deployments.runs.wiring import load_handlers
from tests.support.ingesting import settings_in
from tests.support.power_cut import Disk, DiskChange, build_library, record
from tests.support.power_cut_files import CLAIMS
from tests.support.power_cut_run import Recording, record_ingestions
from tests.support.profiles import scaled


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler: apt-get install gcc libc6-dev")
    return build_library(tmp_path_factory.mktemp("power"))


@pytest.fixture(scope="module")
def recording(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return record_ingestions(tmp_path_factory.mktemp("power cut"), library)


@pytest.mark.slow
def test_a_run_goes_on_after_a_cut_and_has_every_document(recording: Recording) -> None:
    load_handlers(settings_in(recording.root))
    told = [number for number, change in enumerate(recording.changes) if change.path.endswith(CLAIMS) and change.data]
    chance = random.Random(0)
    cuts = sorted({*told, *chance.sample(range(len(recording.changes)), scaled(5))})
    disk, made = Disk(), 0
    for number, cut in enumerate(cuts):
        for change in recording.changes[made : cut + 1]:
            disk.make(change)
        made = cut + 1
        loss = LOSSES[0] if cut in told else LOSSES[number % len(LOSSES)]
        assert in_process(recording, disk_after(disk, loss, cut)) == "", f"cut {cut}, {loss}"


def disks_after(changes: list[DiskChange]) -> Iterator[tuple[int, dict[str, bytes], dict[str, bytes]]]:
    """By change: what a cut after it may leave, in two ways, and what there was without it."""
    disk = Disk()
    for number, change in enumerate(changes):
        disk.make(change)
        there = disk.without_unsynced(lambda name: False)
        yield number, disk.without_unsynced(), there
        yield number, disk.with_some(random.Random(number)), there


def test_each_file_is_the_old_or_the_new_one_after_a_cut_at_any_moment(library: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    changes = record("tests.support.power_cut_files", [str(root)], root=root, library=library)
    claims = str(root / CLAIMS)
    complete = disks_after(changes)
    editions: dict[str, list[str]] = {}
    for _, _, there in complete:
        last = there.get(claims, b"").decode().splitlines()
        editions = {}
        for path, digest in map(json.loads, last):
            editions.setdefault(path, []).append(digest)
    assert {Path(path).name for path in editions} >= {
        "original.txt",
        "0.txt",
        "tokens.json",
        "up.json",
        "run-store.key",
    }
    for number, left, there in disks_after(changes):
        claimed: dict[str, int] = {}
        for path, _ in map(json.loads, there.get(claims, b"").decode().splitlines()):
            claimed[path] = claimed.get(path, 0) + 1
        for path, digests in editions.items():
            where = f"cut {number} ({changes[number].kind} {changes[number].path}): {path}"
            found = hashlib.sha256(left[path]).hexdigest() if path in left else None
            allowed = digests[max(0, claimed.get(path, 0) - 1) :]
            assert found in allowed or (found is None and path not in claimed), where
