"""The process of a flow run goes on when the worker, which reads its output, has been killed."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT

PROGRAM = """
import os, stat, sys, time
from pathlib import Path
from rich.console import Console
from deployments.server.outliving import outlive_reader

outlive_reader()
print("begun", flush=True)
sys.stdin.read()
while any(stat.S_ISFIFO(os.fstat(number).st_mode) for number in (1, 2)):
    time.sleep(0.01)
print("lost", flush=True)
print("lost", file=sys.stderr, flush=True)
Console().print("lost")
Path(sys.argv[1]).write_text("done")
"""


def test_a_process_goes_on_when_the_reader_of_its_output_is_gone(tmp_path: Path) -> None:
    end = tmp_path / "end"
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(end)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            assert process.stdout.readline() == b"begun\n"
            process.stdout.close()
            process.stderr.close()
            process.stdin.close()
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
    assert end.read_text() == "done"
