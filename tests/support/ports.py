"""Free ports for the servers that tests start, safe with several test processes at once."""

import fcntl
import os
import secrets
import socket
import tempfile
from pathlib import Path

# Below the ports that Linux gives to outgoing connections, which could take a port before its server does.
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A port of 127.0.0.1 that no other process of tests gets as long as this process lives."""
    folder = Path(tempfile.gettempdir(), "braid-test-ports")
    folder.mkdir(exist_ok=True)
    begin = secrets.randbelow(len(_PORTS))
    for port in (*_PORTS[begin:], *_PORTS[:begin]):
        if _reserve(folder / str(port)) and _is_free(port):
            return port
    raise RuntimeError(f"no port is free between {_PORTS.start} and {_PORTS.stop}")


def _reserve(file: Path) -> bool:
    """Lock the file until this process ends; False if another process, or this one, has locked it."""
    try:
        descriptor = os.open(file, os.O_CREAT | os.O_RDWR, 0o666)
    except PermissionError:  # made by another user
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return False
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
