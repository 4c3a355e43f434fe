"""Nothing lost: a small edition of every fault that docs/faults.md counts and that needs no server."""

import subprocess
import sys

import pytest

from bench.faults import rows
from tests.support.paths import ROOT

# Kills after each write, on both databases, are in tests/integration/test_killed_runs.py.
QUICK = [name for name in rows(quick=True) if not name.startswith("killed")]


def table(page: str) -> list[list[str]]:
    """The rows of the table of faults; power cuts have one of their own below it."""
    lines = [line for line in page.partition("\n## Power cuts")[0].splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines][1:]


@pytest.mark.slow
def test_what_breaks_loses_nothing() -> None:
    # In a process of its own: it forks, which a process with a Prefect client's threads should not.
    only = [word for name in QUICK for word in ("--only", name)]
    command = [sys.executable, "-m", "bench.faults", "--quick", *only]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    found = table(ended.stdout)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert len(found) == len(QUICK)
    for fault, tried, survived, lost, _ in found:
        assert int(tried) >= 4, fault
        assert (int(survived), int(lost)) == (int(tried), 0), fault


def test_the_page_counts_every_fault_and_nothing_is_lost() -> None:
    found = table((ROOT / "docs" / "faults.md").read_text())
    assert len(found) == len(rows(quick=False))
    for fault, tried, survived, lost, _ in found:
        assert int(tried) == int(survived) > 0, fault
        assert int(lost) == 0, fault
