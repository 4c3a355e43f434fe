"""Runs git on one repository: a local one in place, a remote one through a mirror that is kept between runs."""

import hashlib
import os
import re
import subprocess
import tempfile
from pathlib import Path

from filelock import FileLock

from flows.errors import StorageError, StorageUnusable, TransientError
from handlers.sources.protocol import Tools

_BROKEN = re.compile(r"Could not resolve|timed out|Connection|early EOF|RPC failed|50\d|429|hung up|unable to connect")
_LOCAL = "file://"
_PORTS = {"https": 443, "http": 80, "ssh": 22, "git": 9418}


class GitRepository:
    """A repository by URL; `root` names it in messages, `token` is sent as a bearer token."""

    def __init__(self, root: str, url: str, token: str, tools: Tools) -> None:
        self._root, self._url, self._token, self._tools = root, url, token, tools

    def newest(self, ref: str) -> str:
        """The current commit of a branch, tag or commit; for a remote repository, after a fetch."""
        if not self._url.startswith(_LOCAL):
            self._check_host()
            folder = self._folder()
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{folder}.lock"):  # other processes may ingest it at the same time
                if (folder / "HEAD").exists():
                    self.git("fetch", "--prune", "--quiet", "origin", "+refs/*:refs/*")
                else:
                    self.git("clone", "--mirror", "--quiet", "--", self._url, str(folder), inside=False)
        return self.git("rev-parse", "--verify", f"{ref}^{{commit}}").decode().strip()

    def git(self, *arguments: str, inside: bool = True) -> bytes:
        """The output of git.

        Raises:
            TransientError: the connection broke.
            StorageUnusable: git is not installed, or the repository cannot be fetched.
            StorageError: any other refusal.
        """
        own = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
        if self._token:  # not as an argument, because other users of this machine can see arguments
            header = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.extraHeader"}
            own |= header | {"GIT_CONFIG_VALUE_0": f"Authorization: Bearer {self._token}"}
        where = ["-C", str(self._folder())] if inside else []
        try:
            done = subprocess.run(
                ["git", *where, *arguments], capture_output=True, env={**os.environ, **own}, check=False
            )
        except FileNotFoundError as error:
            raise StorageUnusable("the program git is not installed; install it to ingest repositories") from error
        if done.returncode == 0:
            return done.stdout
        reason = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["failed"])[-1]
        if _BROKEN.search(reason) and arguments[0] in ("fetch", "clone"):
            raise TransientError(f"{self._root}: {reason}")
        kind = StorageUnusable if arguments[0] in ("fetch", "clone") else StorageError
        raise kind(f"{self._root}: git {arguments[0]}: {reason}")

    def _check_host(self) -> None:
        found = re.match(r"(\w+)://(?:[^@/]*@)?([^:/]+)(?::(\d+))?", self._url)
        if found is None:
            raise StorageError(f"{self._url}: names no host")
        self._tools.hosts(found[2]).check(found[2], int(found[3] or _PORTS[found[1]]))

    def _folder(self) -> Path:
        if self._url.startswith(_LOCAL):
            return Path(self._url.removeprefix(_LOCAL))
        cache = self._tools.cache or Path(tempfile.gettempdir(), f"braid-{os.getuid()}")
        return cache / "git" / hashlib.sha256(self._url.encode()).hexdigest()[:20]
