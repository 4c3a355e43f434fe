"""Redis, MariaDB and a MongoDB-compatible server for tests, each a process of its own on a free local port."""

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support.ports import free_port

_START_S = 30.0
_SYSTEM_PATH = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin"


@contextmanager
def run_redis(folder: Path) -> Iterator[str]:
    """The URL of a Redis server that asks for a password and keeps nothing."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("there is no redis-server; install Debian's package redis-server")
    port = free_port()
    command = [
        program,
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        str(folder),
        "--requirepass",
        "redis-secret",
    ]
    with _process(command, folder, lambda: _listens(port)):
        yield f"redis://:redis-secret@127.0.0.1:{port}/0"


@contextmanager
def run_mongo(folder: Path) -> Iterator[str]:
    """The URL of a database `shop` of a MongoDB-compatible server (SecantusDB, from PyPI)."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "secantus",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--storage-path",
        ":memory:",
    ]
    with _process(command, folder, lambda: _listens(port)):
        yield f"mongodb://127.0.0.1:{port}/shop"


@contextmanager
def run_mariadb(folder: Path) -> Iterator[str]:
    """The URL of a database `shop` of a MariaDB server that speaks MySQL's protocol and keeps nothing."""
    server, install = shutil.which("mariadbd", path=_SYSTEM_PATH), shutil.which("mariadb-install-db")
    if server is None or install is None:
        pytest.skip("there is no mariadbd; install Debian's packages mariadb-server-core and mariadb-client-core")
    user = [f"--user={getpass.getuser()}"]
    subprocess.run(
        [install, "--no-defaults", f"--datadir={folder / 'data'}", "--auth-root-authentication-method=normal", *user],
        check=True,
        capture_output=True,
    )
    port = free_port()
    command = [
        server,
        "--no-defaults",
        f"--datadir={folder / 'data'}",
        f"--port={port}",
        "--bind-address=127.0.0.1",
        f"--socket={folder / 'socket'}",
        f"--pid-file={folder / 'pid'}",
        "--secure-file-priv=",
        *user,
    ]
    with _process(command, folder, lambda: _listens(port)):
        admin = sa.create_engine(f"mysql+pymysql://root@127.0.0.1:{port}/")
        with admin.begin() as connection:
            connection.execute(sa.text("CREATE DATABASE shop"))
        admin.dispose()
        yield f"mysql+pymysql://root@127.0.0.1:{port}/shop"


def _listens(port: int) -> bool:
    with socket.socket() as one:
        one.settimeout(1)
        return one.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def _process(command: list[str], folder: Path, ready: Callable[[], bool]) -> Iterator[None]:
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        until = time.monotonic() + _START_S
        while not ready():
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{command[0]} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        process.kill()  # its data need not be kept
        process.wait(timeout=30)
