"""Places of files on real servers of this machine, each a process of its own behind a proxy that can fail."""

import base64
import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from deployments.testkit import Fault
from tests.support.faulty_proxy import FaultyProxy, cutting_proxy, refusing_proxy
from tests.support.ports import free_port
from tests.support.source_places import FolderPlace, ServedPlace, served
from tests.support.web_server import WebAnswer, WebRequest, run_web_server

os.environ.setdefault("TEST_STORAGE_PASSWORD", "word")
_PASSWORD = "env:TEST_STORAGE_PASSWORD"
FAULTS: dict[str, Fault] = {
    "waits_when_asked_to": "busy",
    "goes_on_after_a_cut": "cut",
    "says_that_a_token_has_expired": "expired",
    "deletes_nothing_after_half_a_listing": "half",
}
"""The fault that a check of the kit needs, by check; all other checks need none."""
OVER_TCP: frozenset[Fault] = frozenset({"cut", "half"})
_EXPIRED: frozenset[Fault] = frozenset({"expired"})
OVER_HTTP: frozenset[Fault] = frozenset({"busy", "cut", "expired", "half"})


@dataclass
class ServedFolder(FolderPlace):
    """A folder that a server offers."""

    proxy: FaultyProxy = field(default_factory=lambda: FaultyProxy(0))
    refuses: frozenset[str] = frozenset()
    """Characters that no name may have."""

    def write(self, name: str, text: str) -> None:
        if self.refuses & set(name):
            raise ValueError(f"{name!r} cannot be a name here")
        super().write(name, text)

    @contextmanager
    def broken(self, fault: Fault) -> Iterator[None]:
        if fault == "half":
            with super().broken(fault):
                yield
        elif self.proxy.refuses:
            with self.proxy.broken(fault, 1000 if fault == "expired" else 2):
                yield
        elif fault == "expired":
            os.environ["TEST_STORAGE_PASSWORD"] = "expired"
            try:
                yield
            finally:
                os.environ["TEST_STORAGE_PASSWORD"] = "word"
        else:
            with self.proxy.broken(fault, 1):
                yield


def _options(**given: Any) -> dict[str, Any]:
    return {"options": given}


@contextmanager
def sftp_place(folder: Path) -> Iterator[ServedFolder]:
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [sys.executable, "-m", "tests.support.sftp_server", str(port), str(folder.parent)]
    with served(port, command), cutting_proxy(port, after_bytes=4000) as proxy:
        faults = OVER_TCP | _EXPIRED
        place = ServedFolder(folder, _options(username="ann", password=_PASSWORD), faults, proxy=proxy)
        place.url = f"sftp://127.0.0.1:{proxy.port}/{folder.name}"
        yield place


@contextmanager
def webdav_place(folder: Path) -> Iterator[ServedFolder]:
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = folder.parent / "wsgidav.json"
    config.write_text(
        json.dumps(
            {
                "host": "127.0.0.1",
                "port": port,
                "provider_mapping": {"/": str(folder.parent)},
                "simple_dc": {"user_mapping": {"*": {"ann": {"password": "word"}}}},
                "logging": {"enable": False},
            }
        )
    )
    command = [str(Path(sys.executable).with_name("wsgidav")), "--config", str(config)]
    with served(port, command), refusing_proxy(port) as proxy:
        place = ServedFolder(folder, _options(username="ann", password=_PASSWORD), OVER_HTTP, proxy=proxy)
        place.url = f"webdav://127.0.0.1:{proxy.port}/{folder.name}"
        yield place


@contextmanager
def web_folder_place(folder: Path) -> Iterator[ServedFolder]:
    """A folder that a web server lists as a page of links."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(folder.parent)]
    with served(port, command), refusing_proxy(port) as proxy:
        place = ServedFolder(folder, faults=OVER_HTTP, proxy=proxy)
        place.url = f"files+http://127.0.0.1:{proxy.port}/{folder.name}"
        yield place


@contextmanager
def smb_place(folder: Path) -> Iterator[ServedFolder]:
    """A share of Samba; it needs the Debian package `samba`, and root."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    home = folder.parent / "samba"
    for name in ("private", "lock", "state", "cache", "pid", "rpc"):
        (home / name).mkdir(parents=True, exist_ok=True)
    config = home / "smb.conf"
    config.write_text(
        "[global]\nserver role = standalone server\ndisable netbios = yes\nsecurity = user\nload printers = no\n"
        f"smb ports = {port}\ninterfaces = lo\nbind interfaces only = yes\nprivate dir = {home}/private\n"
        f"lock directory = {home}/lock\nstate directory = {home}/state\ncache directory = {home}/cache\n"
        f"pid directory = {home}/pid\nncalrpc dir = {home}/rpc\nlog file = {home}/log\npassdb backend = smbpasswd\n"
        f"smb passwd file = {home}/passwd\n[docs]\npath = {folder.parent}\nread only = no\nforce user = root\n"
    )
    subprocess.run(
        ["smbpasswd", "-c", str(config), "-s", "-a", "root"], input=b"word\nword\n", check=True, capture_output=True
    )
    command = [shutil.which("smbd") or "/usr/sbin/smbd", "-F", "-s", str(config)]
    with served(port, command), cutting_proxy(port, after_bytes=3000) as proxy:
        options = _options(username="root", password=_PASSWORD, port=proxy.port, register_session_retries=0)
        # No "expired": the session of a process lasts longer than its password.
        place = ServedFolder(folder, options, OVER_TCP, proxy=proxy, refuses=frozenset('\\:*?"<>|'))
        place.url = f"smb://127.0.0.1/docs/{folder.name}"
        yield place


class GithubPlace(ServedPlace):
    """A branch of a repository behind the two requests of GitHub's API that fsspec makes."""

    def give(self, request: WebRequest) -> WebAnswer:
        kind, _, rest = request.path.removeprefix("/repos/ann/notes/").partition("/")
        if kind == "contents":
            name = unquote(rest)
            text = self.pages.get(name.removeprefix("docs/"), ("", 0))[0]
            return WebAnswer({"content": base64.b64encode(text.encode()).decode()}, 200 if text else 404)
        folder = {"main": "", **{_sha(each): each for each in self._folders()}}.get(rest.rpartition("/")[2])
        if folder is None or self.fault == "half":
            return WebAnswer({}, 404 if folder is None else 418)
        return WebAnswer({"tree": [*self._tree(folder)]})

    def _folders(self) -> set[str]:
        parts = [f"docs/{name}".split("/") for name in self.pages]
        return {"/".join(each[:depth]) for each in parts for depth in range(1, len(each))}

    def _tree(self, folder: str) -> Iterator[dict[str, Any]]:
        start = f"{folder}/" if folder else ""
        for each in sorted(self._folders()):
            if each.startswith(start) and "/" not in each[len(start) :]:
                yield {"path": each[len(start) :], "type": "tree", "mode": "040000", "sha": _sha(each)}
        for name, (text, _) in sorted(self.pages.items()):
            path = f"docs/{name}"
            if path.startswith(start) and "/" not in path[len(start) :]:
                blob = {"type": "blob", "mode": "100644", "size": len(text.encode()), "sha": _sha(text)}
                yield {"path": path[len(start) :], **blob}


def _sha(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


@contextmanager
def github_place(folder: Path) -> Iterator[GithubPlace]:
    """GitHub itself cannot run here: this server plays its API, and fsspec is pointed to it."""
    github: Any = importlib.import_module("fsspec.implementations.github")
    place = GithubPlace(url="github://ann:notes@main/docs")
    before = github.GithubFileSystem.url, github.GithubFileSystem.content_url
    with run_web_server(place.answer) as server:
        github.GithubFileSystem.url, github.GithubFileSystem.content_url = (
            each.replace("https://api.github.com", server.url) for each in before
        )
        try:
            yield place
        finally:
            github.GithubFileSystem.url, github.GithubFileSystem.content_url = before


@dataclass
class BucketPlace:
    """Objects of a server of buckets, which fsspec writes to the server itself, past the proxy."""

    url: str
    files: Any
    root: str
    proxy: FaultyProxy
    options: Mapping[str, Any]
    faults: frozenset[Fault] = frozenset({"busy", "cut", "expired"})
    keeps_gone: bool = False
    refuses: frozenset[str] = frozenset()

    def write(self, name: str, text: str) -> None:
        if self.refuses & set(name):
            raise ValueError(f"{name!r} cannot be a name here")
        self.files.pipe_file(f"{self.root}/{name}", text.encode())

    def remove(self, name: str) -> None:
        self.files.rm_file(f"{self.root}/{name}")

    def broken(self, fault: Fault) -> Any:
        return self.proxy.broken(fault, 1000 if fault == "expired" else 2)


@contextmanager
def gs_place(folder: Path) -> Iterator[BucketPlace]:
    """Google Cloud Storage, emulated by `gcp-storage-emulator`; it does not support gRPC, which gcsfs tries first."""
    os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    program = str(Path(sys.executable).with_name("gcp-storage-emulator"))
    command = [program, "start", "--host", "127.0.0.1", "--port", str(port), "--in-memory", "--default-bucket", "docs"]
    with served(port, command), refusing_proxy(port) as proxy:
        gcsfs: Any = importlib.import_module("gcsfs")
        files = gcsfs.GCSFileSystem(token="anon", endpoint_url=f"http://127.0.0.1:{port}", use_listings_cache=False)
        options = _options(token="anon", endpoint_url=f"http://127.0.0.1:{proxy.port}")
        # The emulator ends the name in a URL at a `;`, which clients need not encode.
        yield BucketPlace("gs://docs/below", files, "docs/below", proxy, options, refuses=frozenset(";"))


_AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The key that every Azurite has, from its documentation."""


@contextmanager
def abfs_place(folder: Path) -> Iterator[BucketPlace]:
    """Azure Blob Storage, emulated by Azurite; it needs the npm package `azurite`."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    program = os.environ.get("TEST_AZURITE") or shutil.which("azurite-blob") or "azurite-blob"
    command = [program, "--silent", "--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence"]
    command += ["--skipApiVersionCheck"]

    def connection(at: int) -> str:
        return (
            f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={_AZURITE_KEY};"
            f"BlobEndpoint=http://127.0.0.1:{at}/devstoreaccount1;"
        )

    with served(port, command), refusing_proxy(port) as proxy:
        adlfs: Any = importlib.import_module("adlfs")
        files = adlfs.AzureBlobFileSystem(connection_string=connection(port), use_listings_cache=False)
        files.mkdir("docs")
        os.environ["TEST_AZURE_CONNECTION"] = connection(proxy.port)
        options = _options(connection_string="env:TEST_AZURE_CONNECTION")
        yield BucketPlace("abfs://docs/below", files, "docs/below", proxy, options)


STORAGES: dict[str, Callable[[Path], Any]] = {
    "sftp": sftp_place,
    "webdav": webdav_place,
    "files+http": web_folder_place,
    "github": github_place,
    "smb": smb_place,
    "gs": gs_place,
    "abfs": abfs_place,
}
"""A place on a server by scheme; the context ends the server."""
