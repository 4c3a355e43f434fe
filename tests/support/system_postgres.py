"""A PostgreSQL of the system's packages (Debian's `postgresql`), which has the extensions that Prefect's server needs.

The one that comes as a Python package has pgvector, which the index needs, but not `pg_trgm`.
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.ports import free_port

SETTINGS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200")
"""Nothing outlives it, so nothing has to reach the disk."""


def binaries() -> Path | None:
    """The folder of the newest server installed; None if there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


@contextmanager
def run_system_postgres(folder: Path) -> Iterator[str]:
    """The SQLAlchemy URL of a server on 127.0.0.1 whose files are in `folder`, which must not be there.

    Raises:
        RuntimeError: none is installed.
    """
    programs = binaries()
    if programs is None:
        raise RuntimeError("no PostgreSQL is installed; on Debian: apt-get install postgresql")
    user = None
    if os.geteuid() == 0:  # it refuses to run as root
        user = pwd.getpwnam("postgres").pw_name
    folder.mkdir()
    if user is not None:
        shutil.chown(folder, user)
        for parent in folder.resolve().parents[:-2]:
            parent.chmod(parent.stat().st_mode | 0o011)
    port = free_port()
    data = folder / "data"

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [programs / program, *arguments],
            check=True,
            user=user,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    run("initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} "
    options += " ".join(f"-c {setting}" for setting in SETTINGS)
    run("pg_ctl", "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
