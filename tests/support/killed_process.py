"""Start a run in a process of its own and kill it with SIGKILL while its second step goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.support.paths import ROOT


def run_and_kill(engine: str, folder: Path, *, tag: str = "dying") -> Path:
    """The file that the step made, and makes it succeed the next time; BRAID_HOME says where the run is recorded.

    A flow run of Prefect gets the tag.
    """
    marker = folder / "hangs"
    code = f"from tests.support.dying_run import main; main({engine!r}, {str(marker)!r}, {tag!r})"
    command = [sys.executable, "-c", code]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=dict(os.environ))
    until = time.monotonic() + 120
    while not marker.exists():
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < until, "the run did not begin"
        time.sleep(0.05)
    time.sleep(1.5)  # what goes on is noted within a second
    process.send_signal(signal.SIGKILL)
    process.wait()
    return marker
