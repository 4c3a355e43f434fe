"""A power cut after every change of a file: `python -m bench.power_cuts`.

Two ingestions are recorded once, change by change. For every change and each kind of loss, the disk is put into the
state after a cut at that point, and a run continues from there. Work that was reported as ended must exist, and the
index must be that of an undisturbed run. Exits with 1 if anything is lost.
"""

import argparse
import hashlib
import logging
import os
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from deployments.runs.wiring import load_handlers
from tests.support.ingesting import settings_in
from tests.support.power_cut import Disk, build_library
from tests.support.power_cut_run import CLAIMS, Recording, record_ingestions, recover

LOSSES = ("all unsynced", "index only", "run store only", "some writes", "torn write")


def disk_after(disk: Disk, loss: str, seed: int) -> dict[str, bytes]:
    """The disk after a cut, and the work that the run had reported before it."""
    chance = random.Random(seed)
    match loss:
        case "all unsynced":
            found = disk.without_unsynced(lambda name: name != CLAIMS)
        case "index only":
            found = disk.without_unsynced(lambda name: name.startswith("docs."))
        case "run store only":
            found = disk.without_unsynced(lambda name: name.startswith("runs."))
        case "some writes":
            found = disk.with_some(chance)
        case _:
            found = disk.with_torn(chance)
    everything = disk.without_unsynced(lambda name: False)
    claims = {path: content for path, content in everything.items() if path.endswith(f"/{CLAIMS}")}
    return {path: content for path, content in found.items() if not path.endswith(f"/{CLAIMS}")} | claims


def cuts(recording: Recording, first: int, step: int) -> Iterator[tuple[int, str, dict[str, bytes]]]:
    """Every `step`-th cut with each loss; disks that have been seen are left out."""
    disk, seen = Disk(), set[str]()
    for number, change in enumerate(recording.changes):
        disk.make(change)
        if number % step != first:
            continue
        for loss in LOSSES:
            found = disk_after(disk, loss, number)
            digest = hashlib.sha256()
            for path, content in sorted(found.items()):
                if not path.endswith("-shm"):
                    digest.update(f"{path} {len(content)} ".encode() + content)
            if digest.hexdigest() not in seen:
                seen.add(digest.hexdigest())
                yield number, loss, found


def in_process(recording: Recording, disk: Mapping[str, bytes]) -> str:
    """Recover in a process of its own, which knows nothing of the one before."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            found = recover(recording, disk)
        except BaseException as error:
            found = f"{type(error).__name__}: {error}"
        os.write(writing, found.encode()[:4000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        found = stream.read().decode()
    _, status = os.waitpid(child, 0)
    return found or (f"the process ended with {status}" if status else "")


def work(recording: Recording, first: int, step: int) -> int:
    """Try a share of the cuts; returns how many lost something."""
    tried, lost, began = Counter[str](), 0, time.perf_counter()
    for number, loss, disk in cuts(recording, first, step):
        found = in_process(recording, disk)
        tried[loss] += 1
        if found:
            lost += 1
            change = recording.changes[number]
            print(f"cut {number} ({change.kind} {os.path.basename(change.path)}), {loss}: {found}", flush=True)
        if sum(tried.values()) % 20 == 0:
            print(f"  {number + 1} of {len(recording.changes)}: {dict(tried)}, {lost} lost", flush=True)
    print(f"{sum(tried.values())} disks in {time.perf_counter() - began:.0f} s: {dict(tried)}, {lost} lost", flush=True)
    return lost


def share_of_work(folder: Path, library: Path, process: int, chosen: argparse.Namespace) -> int:
    """Each process makes a record of its own, since what is kept names files by their full paths."""
    try:
        recording = record_ingestions(folder, library)
        load_handlers(settings_in(recording.root))  # once, not in every process that recovers
        if not process:
            kinds = Counter(change.kind for change in recording.changes)
            print(f"{len(recording.changes)} changes of files: {dict(kinds)}", flush=True)
        first = process * chosen.every + chosen.first
        return int(work(recording, first, chosen.processes * chosen.every) > 0)
    except BaseException:
        traceback.print_exc()
        return 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--every", type=int, default=1, help="try only every n-th change")
    parser.add_argument("--first", type=int, default=0, help="the first change that is tried, below --every")
    chosen = parser.parse_args()
    logging.disable(logging.CRITICAL)
    children: list[int] = []
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        library = build_library(Path(folder))
        for process in range(chosen.processes):
            child = os.fork()
            if not child:
                os._exit(share_of_work(Path(folder) / str(process), library, process, chosen))
            children.append(child)
        return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)


if __name__ == "__main__":
    sys.exit(main())
