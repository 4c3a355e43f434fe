"""Documents that attack their readers, each ingested together with harmless ones: `python -m bench.bombs [NAME…]`.

Every file of `tests/support/document_bombs.py` is ingested in full size with the limits that settings have by default,
in a separate process (with `--together`, all in one ingestion). A bomb is contained if the ingestion ends with an exact
balance, the harmless documents are found, the bomb is processed or set aside with a reason, and the main process stays
below `--main-cpu-s` and `--main-mb`, plus an allowance for the size of the file, since the cost grows with the length
of a text. The exit code is 1 if one is not contained.
"""

import argparse
import contextlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from tests.support.document_bombs import BOMBS
from tests.support.documents import make_docx, make_pdf

INNOCENT = {"a.md": b"# Fine\n\nInnocent words.", "b.pdf": make_pdf(["Innocent page"]), "c.docx": make_docx()}
LOOK_S = 0.05


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="of bombs, or parts of names; all without")
    parser.add_argument("--together", action="store_true", help="in one ingestion, which is quicker")
    parser.add_argument("--share", type=float, default=1.0, help="of the full size")
    parser.add_argument("--main-cpu-s", type=float, default=60.0, help="and 5 for each MB of the file")
    parser.add_argument("--main-mb", type=float, default=500.0, help="and 20 for each MB of the file")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        logging.disable(logging.CRITICAL)
        print(json.dumps(_ingested(given.one)))
        return 0
    names = [name for name in BOMBS if not given.names or any(part in name for part in given.names)]
    groups = [names] if given.together else [[name] for name in names]
    print("| document | kB | what became of it | main CPU s | main MB | parsers CPU s | parsers MB |")
    print("|---|---:|---|---:|---:|---:|---:|", flush=True)
    failed = 0
    for group in groups:
        rows, held = _tried(group, given)
        failed += not held
        print("\n".join(rows), flush=True)
    return 1 if failed else 0


def _tried(names: list[str], given: argparse.Namespace) -> tuple[list[str], bool]:
    """A row for each bomb, with the numbers of the whole ingestion in the last one, and whether all were contained."""
    with tempfile.TemporaryDirectory(prefix="braid-bomb-") as folder:
        documents = Path(folder, "in")
        documents.mkdir()
        for each, content in INNOCENT.items():
            (documents / each).write_bytes(content)
        for name in names:
            (documents / name).write_bytes(BOMBS[name](given.share))
        sizes = {name: (documents / name).stat().st_size for name in names}
        found, used = _watched([sys.executable, "-m", "bench.bombs", "--one", str(documents)])
    problems = [] if found else ["the ingestion ended without a result, or its balance is not exact"]
    fates: dict[str, str] = found["fates"] if found else {}
    if found and found["innocent"] != len(INNOCENT):
        problems.append("innocent documents are missing")
    problems += [f"nothing is known of {name}" for name in names if found and not fates.get(name)]
    size = sum(sizes.values()) / 1e6
    if used["main_cpu_s"] > given.main_cpu_s + 5 * size or used["main_mb"] > given.main_mb + 20 * size:
        problems.append("the main process needed too much")
    rows = [
        f"| {name} | {sizes[name] / 1000:,.0f} | {fates.get(name, '').replace('|', '/')} | | | | |" for name in names
    ]
    numbers = " | ".join(f"{used[key]:.0f}" for key in ("main_cpu_s", "main_mb", "parsers_cpu_s", "parsers_mb"))
    rows[-1] = f"{rows[-1].removesuffix('| | | | |')}| {numbers} |"
    return [*rows, *(f"**{problem}**" for problem in problems)], not problems


def _watched(line: list[str]) -> tuple[dict[str, Any] | None, dict[str, float]]:
    """The output of a process, and the CPU time and memory of it and its children."""
    used: dict[str, float] = {"main_cpu_s": 0.0, "main_mb": 0.0, "parsers_cpu_s": 0.0, "parsers_mb": 0.0}
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        watched = psutil.Process(process.pid)
        spent: dict[int, float] = {}
        while process.poll() is None:
            with contextlib.suppress(psutil.Error):
                _look(watched, used, spent)
            time.sleep(LOOK_S)
        used["parsers_cpu_s"] = sum(spent.values())
        output = process.stdout.read() if process.stdout else ""
    lines = output.strip().splitlines()
    return (json.loads(lines[-1]) if lines and process.returncode == 0 else None), used


def _look(watched: psutil.Process, used: dict[str, float], spent: dict[int, float]) -> None:
    times = watched.cpu_times()
    used["main_cpu_s"] = max(used["main_cpu_s"], times.user + times.system)
    used["main_mb"] = max(used["main_mb"], watched.memory_info().rss / 1e6)
    for child in watched.children(recursive=True):
        try:
            times = child.cpu_times()
            spent[child.pid] = times.user + times.system
            used["parsers_mb"] = max(used["parsers_mb"], child.memory_info().rss / 1e6)
        except psutil.Error:
            continue


def _ingested(folder: Path) -> dict[str, Any]:
    """The outcomes of the documents in a folder."""
    from tests.support.identities import balance as balance_of
    from tests.support.ingesting import ingest, opened, settings_in

    settings = settings_in(folder.parent)
    result = ingest(settings, folder, record=False)
    balance = balance_of(result)
    with contextlib.closing(opened(settings)) as store:
        states = {state.name: state for state in store.document_states()}
    reasons: dict[str, list[str]] = {}
    for failure in result.failures:
        reasons.setdefault(failure.item.partition("!/")[0], []).append(failure.error)
    left_out = balance["left_out"]
    fates: dict[str, str] = {}
    for name in {path.name for path in folder.iterdir()} - INNOCENT.keys():
        inside = sum(each.startswith(f"{name}!/") and state.status == "processed" for each, state in states.items())
        if name in reasons:
            fates[name] = "; ".join(dict.fromkeys(reasons[name]))
        elif name in states:
            fates[name] = states[name].status + (f", and {inside} files in it" if inside else "")
        elif left_out:
            fates[name] = f"left out ({', '.join(left_out)})"
    return {
        "innocent": sum(name in states and states[name].status == "processed" for name in INNOCENT),
        "fates": fates,
    }


if __name__ == "__main__":
    os.environ.setdefault("DO_NOT_TRACK", "1")
    sys.exit(main())
