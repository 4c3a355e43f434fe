"""A local Prefect server and worker: starting, finding (by other commands) and stopping them."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from deployments.environment import DEFAULTS
from deployments.server.child_processes import MARK, ChildProcess, child_process, stop_marked, stop_tree
from flows.errors import OrchestrationError
from flows.storage import private_folder, write_durably

HOST = "127.0.0.1"
PORT = 4200
SIGNS_OF_LIFE = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
"""Seconds between heartbeats of flow runs, which reveal runs whose process is gone."""
_START_S = 120.0
"""Seconds for the server to answer."""
_TAIL_LINES = 15
_LOG_BYTES = 20_000_000
"""A log above this size is moved away when its program starts, replacing the earlier moved one."""


@dataclass
class ServerState:
    """The processes that run in a folder, as its `up.json` lists them."""

    url: str
    owner: ChildProcess
    programs: dict[str, ChildProcess] = field(default_factory=dict[str, ChildProcess])
    """The processes by name, in the order in which they were started."""
    service: str | None = None
    """The address of `braid serve`, if it was started too."""

    @property
    def ui(self) -> str:
        return self.url.removesuffix("/api")


def read_state(folder: Path) -> ServerState | None:
    """The processes that were last started in a folder; None if there is no readable file."""
    try:
        data = json.loads((folder / "up.json").read_text(encoding="utf-8"))
        return ServerState(
            data["url"],
            ChildProcess(**data["owner"]),
            {name: ChildProcess(**child) for name, child in data["programs"].items()},
            data.get("service"),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def running_url(folder: Path) -> str | None:
    """The URL of the API of the server that runs in a folder; None if none runs."""
    state = read_state(folder)
    return state.url if state is not None and state.owner.process is not None else None


class LocalServer:
    """A server with database, logs and settings in one folder; a context manager that stops its processes."""

    def __init__(self, folder: Path, *, port: int | None = None, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder.absolute()
        self._more = dict(environment or {})
        self._wished, self.port = port, 0
        self.state = ServerState("", child_process(os.getpid()))
        self.leftovers = 0
        """Processes of a killed one that were ended when this one began."""
        self._logs: dict[str, IO[bytes]] = {}

    @property
    def url(self) -> str:
        return self.state.url

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the server, of its worker and of its clients."""
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
            "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",  # its console output goes to a file
            MARK: str(self.folder),
        }

    def __enter__(self) -> "LocalServer":
        private_folder(self.folder)
        known = read_state(self.folder)
        if known is not None and known.owner.process is not None and known.owner.pid != os.getpid():
            raise OrchestrationError(
                f"the server runs already: {known.ui} (process {known.owner.pid}); stop it there with Ctrl-C, "
                f"or with `kill {known.owner.pid}`"
            )
        self.leftovers = self._end_leftovers(known)
        self.port = self._wished or free_port_near(_port_of(known) or PORT)
        if not _is_free(self.port):
            raise OrchestrationError(f"port {self.port} of {HOST} is taken by another program; choose one with --port")
        self.state.url = f"http://{HOST}:{self.port}/api"
        self._write()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start_server(self) -> "subprocess.Popen[bytes]":
        """Start the server and wait until it answers.

        Raises:
            OrchestrationError: it ended, or did not answer in time; the message has the end of its log.
        """
        server = self.launch_server()
        until = time.monotonic() + _START_S
        while time.monotonic() < until and server.poll() is None:
            if self.answers():
                return server
            time.sleep(0.2)
        raise OrchestrationError(f"the Prefect server did not start; {self.log_end('server')}")

    def launch_server(self) -> "subprocess.Popen[bytes]":
        """Start the server without waiting for it to answer."""
        return self._start("server", ["prefect", "server", "start", "--host", HOST, "--port", str(self.port)])

    def answers(self) -> bool:
        """Whether the server answers."""
        return _answers(f"{self.url}/health")

    def service_answers(self) -> bool:
        """Whether `braid serve` answers."""
        return _answers(f"{self.state.service}/health")

    def start_worker(self, pool: str, *, limit: int | None = None) -> "subprocess.Popen[bytes]":
        """Start a process worker of a pool, with at most `limit` runs at once."""
        more = ["--limit", str(limit)] if limit is not None else []
        return self._start("worker", ["prefect", "worker", "start", "--pool", pool, "--type", "process", *more])

    def start_service(self, port: int) -> "subprocess.Popen[bytes]":
        """Start `braid serve` on a port."""
        self.state.service = f"http://{HOST}:{port}"
        return self._start("serve", ["deployments", "serve", "--port", str(port)])

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def log_end(self, name: str) -> str:
        """The last lines of a log, after its path."""
        return f"its log {self.log(name)} ends with:\n{_tail(self.log(name))}"

    def stop_program(self, name: str) -> None:
        """End one of the programs, with all descendants."""
        if (child := self.state.programs.pop(name, None)) is not None:
            stop_tree(child)

    def stop(self) -> None:
        """End everything that was started, in reverse order and with descendants, so that runs can still report their
        end.
        """
        for name in reversed([name for name in self.state.programs if name != "server"]):
            self.stop_program(name)
        stop_marked(str(self.folder), besides=self.state.programs.get("server"))
        self.stop_program("server")
        for log in self._logs.values():
            log.close()
        (self.folder / "up.json").unlink(missing_ok=True)

    def _end_leftovers(self, known: ServerState | None) -> int:
        """End the processes of an earlier `braid up`, recorded or orphaned."""
        left = [child for child in known.programs.values() if child.process is not None] if known is not None else []
        for child in reversed(left):
            stop_tree(child)
        return len(left) + stop_marked(str(self.folder))

    def _start(self, name: str, command: Sequence[str]) -> "subprocess.Popen[bytes]":
        """Start a module of Python with its arguments; its output goes to a log of that name."""
        if (before := self._logs.pop(name, None)) is not None:
            before.close()
        if self.log(name).exists() and self.log(name).stat().st_size > _LOG_BYTES:
            self.log(name).replace(self.log(f"{name}.1"))
        log = self._logs[name] = self.log(name).open("ab")
        # A process group of its own, so that Ctrl-C in a terminal reaches only this process, which ends the others in
        # order.
        started = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=self.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.state.programs[name] = child_process(started.pid)
        # Without the file, leftover processes are found by their environment variable.
        with contextlib.suppress(OSError):
            self._write()
        return started

    def _write(self) -> None:
        write_durably(self.folder / "up.json", json.dumps(asdict(self.state)).encode())


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def _port_of(known: ServerState | None) -> int | None:
    """The port that a server had before, since other commands may still use it."""
    found = urlsplit(known.url).port if known is not None else None
    return found if found is not None and _is_free(found) else None


def free_port_near(port: int) -> int:
    """The port if it is free, else another free one."""
    return port if _is_free(port) else _free_port()


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


def _tail(path: Path) -> str:
    try:
        return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:])
    except OSError as error:
        return str(error)
