"""Scripts that run in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def in_a_new_process(code: str, folder: Path | None = None) -> str:
    """The output of a script in a process without any import of Braid; warnings are errors."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-c", code]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder or ROOT)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()
