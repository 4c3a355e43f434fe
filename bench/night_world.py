"""The parts of a simulated night: `braid up` and a second worker, restarted as by systemd, a small disk, accidents."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.support.ports import free_port

HANDLERS = '''\
"""Handlers that take a while and leave a line when they have done their work."""

import os
import time
from pathlib import Path

from flows.author import handler


def _note(step: str, seconds: float) -> None:
    time.sleep(seconds)
    with Path(os.environ["NIGHT_LEDGER"]).open("a") as ledger:
        ledger.write(f"{os.environ.get('PREFECT__FLOW_RUN_ID', '-')} {step}\\n")


@handler(name="night_begin", writes="items")
def begin() -> list[int]:
    _note("begin", 1)
    return [1, 2, 3]


@handler(name="night_double", writes="doubled")
def double(item: int) -> int:
    _note(f"double-{item}", 4)
    return item * 2


@handler(name="night_end", writes="total")
def end(doubled: list[int]) -> int:
    _note("end", 1)
    return sum(doubled)
'''
PIPELINE = """\
name: {name}
steps:
  - night_begin
  - for_each: items
    id: each
    max_concurrency: 2
    collect: [doubled]
    steps: [night_double]
  - night_end
"""
STEPS = {"begin", "double-1", "double-2", "double-3", "end"}
SCHEDULES = """\
minutely:
  schedules:
    each-minute: {cron: "* * * * *"}
ten_minutely:
  overlap: enqueue
  schedules:
    every-ten: {cron: "*/10 * * * *", timezone: Europe/Berlin}
elsewhere:
  schedules:
    every-two: {cron: "*/2 * * * *"}
"""
POOLS = {"minutely": "braid", "ten_minutely": "braid", "elsewhere": "second"}
DISK_MB = 400


@dataclass
class Kept:
    """A program that is started again a few seconds after it ended, as systemd does with `Restart=on-failure`."""

    command: list[str]
    environment: dict[str, str]
    log: Path
    pause_s: float = 5.0
    process: "subprocess.Popen[bytes] | None" = None
    ended_at: float | None = None
    starts: int = 0

    def look(self) -> None:
        if self.process is not None and self.process.poll() is None:
            return
        if self.process is not None and self.ended_at is None:
            self.ended_at = time.monotonic()
        if self.ended_at is None or time.monotonic() - self.ended_at >= self.pause_s:
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    self.command, env=self.environment, stdout=log, stderr=log, start_new_session=True
                )
            self.starts, self.ended_at = self.starts + 1, None

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:  # a worker waits for its runs
                self.process.kill()
                self.process.wait()


@dataclass
class World:
    """The folder of a night, and its programs."""

    folder: Path
    home: Path
    environment: dict[str, str]
    url: str
    up: Kept
    second: Kept
    happened: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])

    def note(self, text: str) -> None:
        self.happened.append((time.time(), text))
        print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)

    def wait(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Keep the programs running for `seconds`, or until a condition holds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.up.look()
            self.second.look()
            if until():
                return True
            time.sleep(0.5)
        return until()

    def post(self, path: str, body: Any) -> Any:
        answer = httpx.post(f"{self.url}{path}", json=body, timeout=30)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def all(self, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        """All objects that match a filter, read page by page."""
        found: list[dict[str, Any]] = []
        while page := self.post(path, {**body, "limit": 200, "offset": len(found)}):
            found += page
        return found

    def is_up(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/health", timeout=5).status_code == 200
        return False

    def braid(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "deployments", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        return done.stdout + done.stderr

    # Accidents.

    def program(self, name: str) -> psutil.Process:
        state = json.loads((self.home / "server" / "up.json").read_text())
        return psutil.Process(state["programs"][name]["pid"])

    def kill_program(self, name: str) -> None:
        self.program(name).kill()

    def kill_flow(self) -> None:
        """Kill the process of a flow run, once there is one."""
        self.wait(70, until=lambda: bool(self.flow_processes()))
        for process in self.flow_processes()[:1]:
            process.kill()

    def kill_second(self) -> None:
        assert self.second.process is not None
        self.second.process.kill()

    def kill_up(self) -> None:
        assert self.up.process is not None
        self.up.process.send_signal(signal.SIGKILL)

    def restart_up(self) -> None:
        self.up.stop()

    def cancel(self) -> None:
        """Cancel a run that is running, as the UI does."""
        running = {"flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}, "limit": 1}
        if self.wait(70, until=lambda: self.is_up() and bool(self.post("/flow_runs/filter", running))):
            for run in self.post("/flow_runs/filter", running):
                self.post(f"/flow_runs/{run['id']}/set_state", {"state": {"type": "CANCELLING"}})

    def fill_disk(self) -> None:
        """Leave no space for 30 s."""
        filler = self.home / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 65536)
        self.wait(30)
        filler.unlink(missing_ok=True)

    def ledger(self) -> list[tuple[str, str]]:
        """The flow run and step of each call."""
        lines = [line.split() for line in (self.folder / "ledger").read_text().splitlines()]
        return [(line[0], line[1]) for line in lines]

    def flow_processes(self) -> list[psutil.Process]:
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                given = process.environ()
                if "PREFECT__FLOW_RUN_ID" in given and given.get("BRAID_HOME") == str(self.home):
                    found.append(process)
        return found


@contextmanager
def night_world(folder: Path) -> Iterator[World]:
    """Set everything up without starting it; stop everything at the end."""
    home = folder / "home"
    home.mkdir()
    mounted = _mount(home)
    print(f"disk: {f'a tmpfs of {DISK_MB} MB' if mounted else 'no small disk could be mounted: it is never full'}")
    (folder / "pipelines").mkdir()
    for name in POOLS:
        (folder / "pipelines" / f"{name}.yaml").write_text(PIPELINE.format(name=name))
    (folder / "night_handlers.py").write_text(HANDLERS)
    (folder / "schedules.yaml").write_text(SCHEDULES)
    (folder / "ledger").touch()
    port, serve_port = free_port(), free_port()
    url = f"http://127.0.0.1:{port}/api"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("BRAID_", "PREFECT_"))},
        "BRAID_HOME": str(home),
        "BRAID_PIPELINES_DIRS": str(folder / "pipelines"),
        "BRAID_HANDLER_MODULES": "night_handlers",
        "BRAID_SCHEDULES": str(folder / "schedules.yaml"),
        "BRAID_EMBEDDING_MODEL": "hashing",
        "PYTHONPATH": os.pathsep.join([str(folder), os.getcwd()]),
        "NIGHT_LEDGER": str(folder / "ledger"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    up = [sys.executable, "-m", "deployments", "up", "--port", str(port), "--serve-port", str(serve_port)]
    worker = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "second", "--type", "process"]
    away = {"PREFECT_API_URL": url, "PREFECT_HOME": str(folder / "second"), "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
    world = World(
        folder,
        home,
        environment,
        url,
        Kept(up, environment, folder / "up.log"),
        Kept(worker, {**environment, **away}, folder / "second.log"),
    )
    try:
        yield world
    finally:
        world.second.stop()
        world.up.stop()
        if mounted:
            subprocess.run(["umount", "-l", str(home)], check=False)


def _mount(folder: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True).returncode == 0
