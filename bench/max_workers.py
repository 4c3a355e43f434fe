"""Four jobs of three seconds, from the command line: `--max-workers 4` against `--max-workers 1`, in one run.

python -m bench.max_workers [--seconds 3]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HANDLERS = """
import time
from flows import handler

@handler(effects=())
def job(*, seconds: float) -> None:
    time.sleep(seconds)
"""
PIPELINE = """
name: jobs
steps:
  - parallel: [{step}, {step}, {step}, {step}]
"""


def run(folder: Path, workers: int) -> float:
    """Seconds that the run itself took, as the command reports them."""
    environment = {
        **os.environ,
        "BRAID_HOME": str(folder / "home"),
        "BRAID_HANDLER_MODULES": "bench_jobs",
        "PYTHONPATH": os.pathsep.join([str(folder), os.getcwd()]),
    }
    command = [
        sys.executable,
        "-m",
        "deployments",
        "run",
        str(folder / "jobs.yaml"),
        "--engine",
        "inline",
        "--json",
        "--max-workers",
        str(workers),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)["seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bench_jobs.py").write_text(HANDLERS)
        step = f"{{handler: job, options: {{seconds: {seconds}}}}}"
        (folder / "jobs.yaml").write_text(PIPELINE.format(step=step))
        times = {workers: run(folder, workers) for workers in (1, 2, 4)}
    for workers, took in times.items():
        print(f"--max-workers {workers}: {took:6.2f} s  ({times[1] / took:.2f} times as fast as one)")


if __name__ == "__main__":
    main()
