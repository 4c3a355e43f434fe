"""A Prefect server of our own for benchmarks: on 127.0.0.1, with its database in a temporary folder."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import psutil

from tests.support.ports import free_port

TUNED = {
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "500",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "2",
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}


@contextmanager
def running_server(settings: Mapping[str, str] = TUNED, *, seconds: float = 120.0) -> Iterator[str]:
    """The API's URL of a server that has answered; it ends with the block.

    Raises:
        RuntimeError: it did not come up in `seconds`.
    """
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home,
        Server(Path(home), settings, seconds=seconds) as server,
    ):
        yield server.url


class Server:
    """A server that can be killed and brought back with the same port and database; use it as a context manager."""

    def __init__(self, home: Path, settings: Mapping[str, str] = TUNED, *, seconds: float = 120.0) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/api"
        self._environment = {
            **os.environ,
            **settings,
            "PREFECT_HOME": str(home),
            "PREFECT_SERVER_UI_API_URL": self.url,
        }
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_up(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self._port)]
        self._process = subprocess.Popen(
            command, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _wait(self.url, self._process, self._seconds)

    def kill(self) -> None:
        """End it at once, as a crash would, with the processes that it has started."""
        assert self._process is not None, "the server has not been started"
        tree = [*psutil.Process(self._process.pid).children(recursive=True), psutil.Process(self._process.pid)]
        for process in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_up and self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:  # a busy machine
                self.kill()


def _wait(url: str, server: "subprocess.Popen[bytes]", seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):
                return
        except OSError:
            time.sleep(0.3)
    raise RuntimeError(f"the Prefect server at {url} did not come up in {seconds:.0f} s")
