"""The running `braid serve` of a BRAID_HOME: commands of the same user ask it, since its models and indexes are loaded.

Its address is in a private file, with a credential for its owner's commands; who can read this file can also read the
indexes. If the file or the answer is unexpected, commands work without the server.
"""

import hashlib
import http.client
import json
import logging
import os
import secrets
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlsplit

from deployments.server.child_processes import ChildProcess, child_process
from deployments.settings import PIPELINES, Settings
from flows.storage import open_to_others, private_folder

logger = logging.getLogger(__name__)
_FILE = "serve.json"
_CONNECT_S = 1.0
_SERVERS_OWN = {"home", "token", "tokens", "run_store_key", "sources", "judged"}
"""Settings that do not affect answers, besides those of the server itself."""


@dataclass(frozen=True)
class NearbyServer:
    """A running server, from its file."""

    url: str
    credential: str
    process: ChildProcess
    settings: str
    """A hash of the settings and pipelines with which it started; with others, answers may differ."""


@contextmanager
def announced(settings: Settings, url: str) -> Generator[None]:
    """Announce the server of this process to commands of the same user while the block runs."""
    server = NearbyServer(url, secrets.token_urlsafe(32), child_process(os.getpid()), _hash(settings))
    try:
        _write(settings, server)
    except OSError as error:
        logger.warning("commands will not find this server: %s", error)
    try:
        yield
    finally:
        if _read(settings) == server:  # a server that started later has replaced the file
            _path(settings).unlink(missing_ok=True)


def own_credential(settings: Settings) -> str | None:
    """The credential of the last announced server; None if there is none."""
    known = _read(settings)
    return known.credential if known is not None else None


def search_nearby(settings: Settings, index: str, asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """The running server's answer to a question, in its REST form; None if the server does not answer."""
    server = _read(settings)
    if server is None or server.process.process is None or server.settings != _hash(settings):
        return None
    with suppress(OSError, http.client.HTTPException, ValueError):
        return _post(server, f"/api/indexes/{quote(index, safe='')}/search", asked, timeout_s=settings.serve_timeout_s)
    return None


def _post(server: NearbyServer, path: str, body: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any] | None:
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_CONNECT_S)
    try:
        connection.connect()
        connection.sock.settimeout(timeout_s)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {server.credential}"}
        connection.request("POST", path, json.dumps(body).encode(), headers)
        answer = connection.getresponse()
        return json.loads(answer.read()) if answer.status == 200 else None
    finally:
        connection.close()


def _write(settings: Settings, server: NearbyServer) -> None:
    path = _path(settings)
    private_folder(path.parent)
    new = path.with_name(f".{_FILE}.{server.process.pid}")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(asdict(server), file)
    new.replace(path)


def _read(settings: Settings) -> NearbyServer | None:
    """The content of the file, if only this user can have written it."""
    path = _path(settings)
    try:
        if open_to_others(path) or (hasattr(os, "getuid") and path.stat().st_uid != os.getuid()):
            return None
        read = json.loads(path.read_text(encoding="utf-8"))
        return NearbyServer(read["url"], read["credential"], ChildProcess(**read["process"]), read["settings"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _hash(settings: Settings) -> str:
    values: dict[str, Any] = {
        name: _plain(value)
        for name, value in settings.model_dump(exclude=_SERVERS_OWN).items()
        if not name.startswith("serve_")
    }
    values["index_template"] = settings.index_template
    for folder in (PIPELINES, *settings.pipelines_dirs):
        for file in sorted(folder.glob("*")) if folder.is_dir() else ():
            found = file.stat()
            values[str(file.absolute())] = f"{found.st_mtime_ns} {found.st_size}"
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """A value of a setting, with paths that do not depend on the working directory."""
    if isinstance(value, tuple):
        return [_plain(each) for each in cast("tuple[Any, ...]", value)]
    return str(value.absolute()) if isinstance(value, Path) else str(value)


def _path(settings: Settings) -> Path:
    return settings.home.absolute() / _FILE
