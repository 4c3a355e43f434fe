"""The time of `braid deploy` for all pipelines, compared with `prefect deploy` of one flow, each in a separate process.

Run: python -m bench.deploy
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from bench.prefect_server import running_server

ROOT = Path(__file__).parents[1]
ROUNDS = 3


def main() -> None:
    with running_server() as url:
        environment = {**os.environ, "PREFECT_API_URL": url, "PYTHONPATH": str(ROOT)}
        timed(["deployments", "deploy"], environment)  # creates the work pool, and fills the disk caches
        one = [timed(["prefect", "--no-prompt", "deploy", "-n", "search"], environment) for _ in range(ROUNDS)]
        ours = [timed(["deployments", "deploy"], environment) for _ in range(ROUNDS)]
    print(
        f"prefect deploy of one flow: {median(one):.1f} s; braid deploy of all: {median(ours):.1f} s; "
        f"ratio {median(ours) / median(one):.2f}"
    )


def timed(command: Sequence[str], environment: Mapping[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env=environment, check=True, capture_output=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
