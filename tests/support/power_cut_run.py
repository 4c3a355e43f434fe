"""The process whose power is cut, and the process that continues after the cut.

`python -m tests.support.power_cut_run FOLDER SOURCE EDITION EDITION` ingests a folder as it is in each edition.
It records each ended run in the file `claims`; from then on, all data of that run must survive.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.author import RunResult
from flows.run_store import RunRecord, RunStore
from tests.support.ingesting import ingest, opened, settings_in, write
from tests.support.power_cut import DiskChange, record

CLAIMS = "claims"
TEXT = "The {n}th note, edition {edition}, is about storms at York.\n"


@dataclass(frozen=True)
class Recording:
    """The record of two ingestions, and the two editions of their source."""

    root: Path
    source: Path
    editions: tuple[Path, Path]
    changes: list[DiskChange]
    ends: list[dict[str, Any]]
    """What each of the two ingestions left."""


def record_ingestions(folder: Path, library: Path, *, documents: int = 3) -> Recording:
    """Ingest some documents; then change the first, delete the second, and add another one, and ingest again."""
    root, source, editions = folder / "root", folder / "in", (folder / "1", folder / "2")
    root.mkdir(parents=True)
    texts = {f"note {n}.txt": TEXT.format(n=n, edition=1) * 9 for n in range(documents)}
    write(editions[0], texts)
    changed = texts | {"note 0.txt": TEXT.format(n=0, edition=2) * 9, "new.txt": TEXT.format(n=99, edition=2)}
    del changed["note 1.txt"]
    write(editions[1], changed, modified=1_710_000_000.0)
    arguments = [str(root), str(source), *map(str, editions)]
    changes = record("tests.support.power_cut_run", arguments, root=root, library=library)
    found = Recording(root, source, editions, changes, _claims(root))
    assert [claim["names"] for claim in found.ends] == [sorted(texts), sorted(changed)]
    return found


def recover(recording: Recording, disk: Mapping[str, bytes]) -> str:
    """Continue from the disk after a cut; return the first wrong or missing thing, or an empty text."""
    shutil.rmtree(recording.root)
    for path, content in disk.items():
        if not path.endswith("-shm"):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(content)
    claims = _claims(recording.root)
    edition = min(len(claims), 1)
    _show(recording.editions[edition], recording.source)
    store = RunStore(settings_in(recording.root).run_store_url)
    records = store.recent(limit=1)
    for claim in claims:
        claimed = store.get(claim["run_id"])
        if claimed is None or claimed.status != "succeeded":
            return f"run {claim['run_id']} had ended, and is {'missing' if claimed is None else claimed.status}"
        missing = set(claim["paths"]) - {row["path"] for row in store.outcomes(claim["run_id"])}
        if missing:
            return f"outcomes of run {claim['run_id']} are missing: {sorted(missing)}"
    store.close()
    result = _ingest(recording.root, recording.source, records[0] if len(claims) < 2 and _is_open(records) else None)
    if result.status != "succeeded":
        return f"the run that goes on {result.status}: {[one.error or one.failures for one in result.errors]}"
    expected = recording.ends[edition]
    found = _end(recording.root, result)
    if found["names"] != expected["names"]:
        return f"documents: {found['names']}"
    return "" if found["fingerprint"] == expected["fingerprint"] else "the index has other contents"


def _is_open(records: Sequence[RunRecord]) -> bool:
    return bool(records) and records[0].status != "succeeded"


def _show(edition: Path, source: Path) -> None:
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(edition, source)


def _ingest(root: Path, source: Path, going_on: RunRecord | None = None) -> RunResult:
    return ingest(settings_in(root), source, resumes=going_on, prune=True, max_prune_share=1.0)


def _claims(root: Path) -> list[dict[str, Any]]:
    file = root / CLAIMS
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def _end(root: Path, result: RunResult) -> dict[str, Any]:
    index = opened(settings_in(root))
    return {
        "run_id": result.run_id,
        "paths": [outcome.path for outcome in result.outcomes],
        "names": sorted(row.name for row in index.documents()),
        "fingerprint": index.fingerprint(),
    }


if __name__ == "__main__":
    root, source, *editions = (Path(argument) for argument in sys.argv[1:])
    for edition in editions:
        _show(edition, source)
        result = _ingest(root, source)
        assert result.status == "succeeded", result.errors
        claim = json.dumps(_end(root, result))
        with (root / CLAIMS).open("a", encoding="utf-8") as file:
            file.write(f"{claim}\n")
