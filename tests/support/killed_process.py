"""Start a run in a separate process and kill it with SIGKILL during its second step."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from deployments.settings import load_settings
from flows.run_store import RunStore
from tests.support.paths import ROOT


def run_and_kill(engine: str, folder: Path, *, tag: str = "dying") -> Path:
    """The file that the step made, and makes it succeed the next time; The run is recorded in BRAID_HOME.

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
    with closing(RunStore(load_settings().run_store_url)) as store:
        while not any(store.running_branches(record.run_id) for record in store.running()):
            assert time.monotonic() < until, "the step was not written down"
            time.sleep(0.05)
    time.sleep(1)  # a flow run's first sign of life is on its way to the server
    process.send_signal(signal.SIGKILL)
    process.wait()
    return marker
