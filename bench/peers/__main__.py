"""The same step bodies through Braid, bare threads, Hamilton, Haystack, DBOS and hand-written Prefect.

Each measurement is a process of its own, does the work once from cold, and checks that every step ran exactly once and
never before those that it waits for. Each peer has an environment of its own below `--cache`, made on first use. The
table has the medians of seconds, CPU seconds and peak memory, and ratios within this run; "one" is one call per item,
"batched" two documents per call, "auto" leaves the size of batches to Braid. Below each table stand the aims with
whether they hold; all of them again, those that were missed first, stand at the end. Two rounds of everything take
about ten minutes on two idle cores.

    python -m bench.peers --cache FOLDER [--rounds 2] [--rows paper,nothing] [--systems threads,braid,hamilton]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path

from bench.peers.aims import Figures, Verdict, verdicts
from bench.peers.work import ROWS, Row
from bench.prefect_server import running_server

PEERS = {"hamilton": "sf-hamilton", "haystack": "haystack-ai", "dbos": "dbos"}
BRAID = ("braid", "braid recorded", "braid prefect", "braid recorded prefect")
SYSTEMS = ("threads", *PEERS, "prefect", *BRAID)
BATCHED = ("prefect", *BRAID)
SLOW = {("many", "prefect"), ("many", "braid prefect"), ("many", "braid recorded prefect"), ("many", "dbos")}
"""Left out, because one task run (or transaction) for each of 9,000 calls is unrealistic."""
TIMEOUT_S = 300.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="the folder of the peers' environments")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rows", default=",".join(ROWS), help="which rows, by name")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="which systems, by name")
    parser.add_argument("--batches", default="one,batched,auto", help="for rows of documents")
    given = parser.parse_args()
    systems = [name for name in SYSTEMS if name in given.systems.split(",")]
    pythons = {name: _environment(given.cache, name) for name in systems}
    judged: list[tuple[Row, Verdict]] = []
    needs_server = any("prefect" in name for name in systems)
    with running_server() if needs_server else nullcontext("") as url:
        for row in (ROWS[name] for name in given.rows.split(",")):
            found: dict[str, list[Figures]] = {}
            for _ in range(given.rounds):
                for system, batch in _cases(row, systems, given.batches.split(",")):
                    label = f"{system}, {batch}" if row.items and "documents" in row.title else system
                    found.setdefault(label, []).append(_measure(pythons[system], system, row, batch, url))
            figures = {label: _median(each) for label, each in found.items()}
            _show(row, figures)
            judged += [(row, verdict) for verdict in verdicts(row, figures)]
    _conclude(judged)


def _cases(row: Row, systems: list[str], batches: list[str]) -> Iterator[tuple[str, str]]:
    for system in systems:
        for batch in batches if system in BATCHED and "documents" in row.title else ("one",):
            # The size of batches left to Braid is the question of one row.
            wanted = row.name == "documents" and "braid" in system if batch == "auto" else True
            if wanted and (batch != "one" or (row.name, system) not in SLOW):
                yield system, batch


def _environment(cache: Path, system: str) -> str:
    """The Python of a system's environment."""
    if system not in PEERS:
        return sys.executable
    folder = cache / system
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"making an environment for {PEERS[system]} in {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", PEERS[system]], check=True)
    return str(python)


def _measure(python: str, system: str, row: Row, batch: str, url: str) -> Figures:
    environment = {
        **os.environ,
        "PREFECT_API_URL": url,
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "DO_NOT_TRACK": "1",
        "HAMILTON_TELEMETRY_ENABLED": "false",
        "HAYSTACK_TELEMETRY_ENABLED": "false",
    }
    command = [python, "-m", "bench.peers.child", system, row.name, batch]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode:
        sys.exit(f"{system}, {row.name}, {batch} failed:\n{done.stderr[-4000:]}")
    return Figures(**json.loads(done.stdout.splitlines()[-1]))


def _median(found: list[Figures]) -> Figures:
    names = ("seconds", "cpu_s", "peak_mb")
    return Figures(*(statistics.median(getattr(each, name) for each in found) for name in names))


def _show(row: Row, figures: Mapping[str, Figures]) -> None:
    references = [name for name in figures if name.split(",")[0] in ("threads", "hamilton", "dbos", "prefect")]
    print(f"\n## {row.title}\n")
    print(f"| | seconds | CPU s | peak MB | {' | '.join(f'/ {name}' for name in references)} |")
    print(f"|---|{'---:|' * (3 + len(references))}")
    for label, each in figures.items():
        ratios = " | ".join(f"{each.seconds / figures[name].seconds:.2f}" for name in references)
        print(f"| {label} | {each.seconds:.3f} | {each.cpu_s:.2f} | {each.peak_mb:.0f} | {ratios} |")
    print()
    for verdict in verdicts(row, figures):
        print(f"- {verdict}")
    sys.stdout.flush()


def _conclude(judged: list[tuple[Row, Verdict]]) -> None:
    held = sum(verdict.holds for _, verdict in judged)
    print(f"\n## {held} of {len(judged)} aims hold\n")
    for row, verdict in sorted(judged, key=lambda each: each[1].holds):
        print(f"- {row.name}: {verdict}")


if __name__ == "__main__":
    main()
