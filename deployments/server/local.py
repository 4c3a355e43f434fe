"""A Prefect server and a worker of our own on this machine: started, found again, and stopped with all they started."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

import psutil

from deployments.environment import DEFAULTS
from flows.errors import OrchestrationError

HOST = "127.0.0.1"
PORT = 4200
SIGNS_OF_LIFE = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
"""Without them nobody notices a run whose process is gone."""
_STOP_S = 15.0


@dataclass(frozen=True)
class Child:
    """A process, told from another that later gets its number by the time at which it started."""

    pid: int
    started: float

    @property
    def process(self) -> psutil.Process | None:
        """The process, if it still runs."""
        try:
            found = psutil.Process(self.pid)
            ours = abs(found.create_time() - self.started) < 1.0 and found.status() != psutil.STATUS_ZOMBIE
            return found if ours else None
        except psutil.NoSuchProcess:
            return None


@dataclass
class State:
    """Who runs in a state folder, as its `up.json` says."""

    url: str
    owner: Child
    children: list[Child] = field(default_factory=list[Child])

    @property
    def ui(self) -> str:
        return self.url.removesuffix("/api")


def read_state(folder: Path) -> State | None:
    """What was last started in a folder; None if nothing was, or if its file cannot be read."""
    try:
        data = json.loads((folder / "up.json").read_text(encoding="utf-8"))
        return State(data["url"], Child(**data["owner"]), [Child(**child) for child in data["children"]])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def running_url(folder: Path) -> str | None:
    """The API's URL of the server that runs in a folder; None if there is none."""
    state = read_state(folder)
    return state.url if state is not None and state.owner.process is not None else None


class LocalServer:
    """A server whose database, logs and settings are in one folder; a context manager that stops what it started."""

    def __init__(self, folder: Path, *, port: int | None = None, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder.absolute()
        self._more = dict(environment or {})
        self.port = port or (PORT if _is_free(PORT) else _free_port())
        if not _is_free(self.port):
            raise OrchestrationError(f"port {self.port} of {HOST} is taken by another program; choose one with --port")
        self.state = State(f"http://{HOST}:{self.port}/api", _child(os.getpid()))
        self._opened: list[IO[bytes]] = []

    @property
    def url(self) -> str:
        return self.state.url

    @property
    def environment(self) -> dict[str, str]:
        """What the server, its worker and its clients are started with."""
        return {
            **DEFAULTS,
            **SIGNS_OF_LIFE,
            **os.environ,
            **self._more,
            "PREFECT_HOME": str(self.folder),
            "PREFECT_PROFILES_PATH": str(self.folder / "profiles.toml"),
            "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{self.folder / 'prefect.db'}",
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_UI_API_URL": self.url,
            "PREFECT_UI_API_URL": self.url,
            "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",  # its console is a file here
        }

    def __enter__(self) -> "LocalServer":
        _claim(self.folder)
        self._write()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start_server(self, *, within_s: float = 120.0) -> None:
        """Start the server and wait until it answers.

        Raises:
            OrchestrationError: it ended, or did not answer in time; the end of its log is in the message.
        """
        server = self._start("server", ["server", "start", "--host", HOST, "--port", str(self.port)])
        until = time.monotonic() + within_s
        while time.monotonic() < until and server.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=2):
                    return
            except (OSError, urllib.error.URLError):
                time.sleep(0.2)
        raise OrchestrationError(
            f"the Prefect server did not come up; its log {self.log('server')} ends with:\n{_tail(self.log('server'))}"
        )

    def start_worker(self, pool: str, *, limit: int | None = None) -> "subprocess.Popen[bytes]":
        """Start a process worker of a pool; `limit` are its runs at once."""
        more = ["--limit", str(limit)] if limit is not None else []
        return self._start("worker", ["worker", "start", "--pool", pool, "--type", "process", *more])

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def stop(self) -> None:
        """End all that was started, the last first, with everything that they started."""
        for child in reversed(self.state.children):
            stop_tree(child)
        for file in self._opened:
            file.close()
        (self.folder / "up.json").unlink(missing_ok=True)

    def _start(self, name: str, command: Sequence[str]) -> "subprocess.Popen[bytes]":
        log = self.log(name).open("wb")
        self._opened.append(log)
        # A process group of its own: Ctrl-C in a terminal reaches only us, and we end the others in order.
        started = subprocess.Popen(
            [sys.executable, "-m", "prefect", *command],
            env=self.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.state.children.append(_child(started.pid))
        self._write()
        return started

    def _write(self) -> None:
        new = self.folder / "up.json.new"
        new.write_text(json.dumps(asdict(self.state)), encoding="utf-8")
        new.replace(self.folder / "up.json")


def stop_tree(child: Child, *, within_s: float = _STOP_S) -> None:
    """End a process and all that it started; what does not end when asked to is killed."""
    root = child.process
    if root is None:
        return
    family = [root, *_descendants(root)]
    for process in family:
        _signal(process, signal.SIGTERM)
    _, left = psutil.wait_procs(family, timeout=within_s)
    for process in left:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(left, timeout=5)


def _descendants(root: psutil.Process) -> list[psutil.Process]:
    try:
        return root.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _claim(folder: Path) -> None:
    """Make the folder ours: refuse if somebody runs there, and end what one that was killed left behind."""
    folder.mkdir(parents=True, exist_ok=True)
    known = read_state(folder)
    if known is None:
        return
    if known.owner.process is not None and known.owner.pid != os.getpid():
        raise OrchestrationError(
            f"it runs already: {known.ui} (process {known.owner.pid}); stop it there with Ctrl-C, "
            f"or with `kill {known.owner.pid}`"
        )
    for child in reversed(known.children):
        stop_tree(child)


def _child(pid: int) -> Child:
    return Child(pid, psutil.Process(pid).create_time())


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _tail(path: Path, lines: int = 15) -> str:
    try:
        return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    except OSError as error:
        return str(error)
