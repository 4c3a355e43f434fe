"""A power cut: a process dies at its n-th write to the run store, and files fall back to what they had last synced.

`python -m tests.support.power_cut HOME SOURCE POINT` ingests SOURCE and dies at write POINT; `cut` runs it and drops what
had not been synced, of all files or of some.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows.run_store import RunStore
from tests.support.ingesting import ingest, settings_in
from tests.support.paths import ROOT


def build_library(folder: Path) -> Path:
    """The library that keeps what was synced, made by the C compiler of this machine."""
    library = folder / "power_cut.so"
    source = Path(__file__).with_suffix(".c")
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def cut(folder: Path, source: Path, point: int, library: Path, loses: Callable[[str], bool]) -> bool:
    """Ingest until write `point` and cut the power; whether there was such a write.

    Files whose names `loses` accepts fall back to their last sync; the others have all that was written.
    """
    kept = folder / "kept"
    kept.mkdir()
    environment = os.environ | {
        "LD_PRELOAD": str(library),
        "POWER_CUT_ROOT": str(folder / "home"),
        "POWER_CUT_KEPT": str(kept),
        "PYTHONPATH": str(ROOT),
    }
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.power_cut", folder, source, str(point)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert ended.returncode in (0, -signal.SIGKILL), ended.stderr[-2000:]
    for path in [path for path in (folder / "home").rglob("*") if path.is_file()]:
        synced = kept / str(path).replace("/", "%")
        if path.name.endswith("-shm"):
            path.unlink()
        elif not loses(path.name):
            continue
        elif synced.exists():
            shutil.copyfile(synced, path)
        else:
            path.unlink()
    return ended.returncode != 0


def _die_at(point: int) -> None:
    left, write = point, RunStore.write

    def dying(self: RunStore, *arguments: Any, **named: Any) -> None:
        nonlocal left
        write(self, *arguments, **named)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    RunStore.write = dying


if __name__ == "__main__":
    _die_at(int(sys.argv[3]))
    ingest(settings_in(Path(sys.argv[1])), sys.argv[2])
