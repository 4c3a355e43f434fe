"""Pipelines that were made to take all time and memory are planned or refused within their limits, with a clear error."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pipeline_bombs import CPU_SECONDS, MEGABYTES, NAMES

pytest.importorskip("resource", reason="limits are those of POSIX")
ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", NAMES)
def test_a_bomb_stays_within_its_limits(name: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.pipeline_bombs", name], cwd=ROOT, capture_output=True, text=True
    )
    assert ended.returncode != -24, f"it took more than {CPU_SECONDS} CPU-seconds"
    assert ended.returncode == 0, ended.stderr[-2000:]
    megabytes, _, how = ended.stdout.partition("\n")
    assert int(megabytes) <= MEGABYTES
    assert how.startswith(("planned", "refused: "))
    assert len(how) < 500_000
