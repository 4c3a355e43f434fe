"""`braid serve` as a process of its own, on a free port of 127.0.0.1."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.paths import ROOT
from tests.support.ports import free_port

_START_S = 120.0


@dataclass(frozen=True)
class Served:
    """A running server, and the file that its output goes to."""

    url: str
    process: "subprocess.Popen[bytes]"
    log_file: Path

    def log(self) -> str:
        return self.log_file.read_text()


def braid_environment(home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    environment = {**os.environ, "BRAID_HOME": str(home), "PYTHONPATH": str(ROOT), "BRAID_EMBEDDING_MODEL": "hashing"}
    environment.pop("PREFECT_API_URL", None)
    return environment | dict(more or {})


@contextmanager
def serve(home: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[Served]:
    """The server once it is ready; it is stopped at the end."""
    port = free_port()
    log_file = Path(tempfile.mkdtemp(prefix="braid-serve-")) / "serve.log"
    command = [sys.executable, "-m", "deployments", "serve", "--port", str(port), *arguments]
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            command, env=braid_environment(home, environment), cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
        )
    served = Served(f"http://127.0.0.1:{port}", process, log_file)
    try:
        _wait(served)
        yield served
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(served: Served) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until and served.process.poll() is None:
        try:
            if httpx.get(f"{served.url}/ready", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"braid serve did not come up:\n{served.log()}")
