"""A Git repository: the files of one commit, of which only those that changed since the last one are read."""

import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from flows.errors import MissingObject, StorageError, StorageUnusable, TransientError
from flows.state import chunked
from flows.storage import PassedOver
from handlers.records import Fetched
from handlers.sources.protocol import Listed, Page, Tools
from handlers.sources.registry import Secret, source_kind

_PAGE = 1000
_BROKEN = re.compile(r"Could not resolve|timed out|Connection|early EOF|RPC failed|50\d|429|hung up|unable to connect")


@source_kind("git", "git+file", "git+https", "git+http", "git+ssh", "git+git")
class Git:
    """`git+https://host/team/repository.git`, with `@branch` for another branch, tag or commit than the default.

    The token of a file is the hash of its content. `.braidignore`, which has the syntax of `.gitignore`, leaves files
    out. `token` is sent as a bearer token; keys for ssh are those of this user.
    """

    def __init__(self, place: str, *, token: Secret = "", tools: Tools) -> None:
        self.root = self.canonical(place)
        scheme, _, rest = self.root.removeprefix("git+").partition("://")
        host, _, path = rest.partition("/")
        path, _, ref = path.partition("@")
        if not path or ref.startswith("-"):
            raise StorageError(f"{place}: write git+https://host/repository.git@branch")
        self._url, self._ref = f"{scheme}://{host}/{path}", ref or "HEAD"
        self._tools, self._token = tools, token
        self._commit = ""

    @staticmethod
    def canonical(place: str) -> str:
        scheme, _, rest = place.partition("://")
        return f"{scheme.lower()}://{rest.rstrip('/')}"

    def pages(self, wanted: Callable[[str], bool]) -> Iterator[Page]:
        self._commit = self._newest()
        listed = self._git("ls-tree", "-r", "-l", "-z", "--full-tree", self._commit).split(b"\0")
        ignored = self._ignored()
        for some in chunked(filter(None, listed), _PAGE):
            yield [self._entry(line, ignored) for line in some]

    def fetch(self, uri: str, *, max_bytes: int | None = None) -> Fetched:
        self._commit = self._commit or self._newest()
        path = uri[len(self.root) + 1 :]
        try:
            blob = self._git("rev-parse", "--verify", f"{self._commit}:{path}").decode().strip()
            data = self._git("cat-file", "blob", blob)
        except StorageError as error:
            raise MissingObject(f"{uri}: is not in commit {self._commit[:12]}") from error
        if max_bytes is not None and len(data) > max_bytes:
            raise StorageError(f"{uri}: is longer than the {max_bytes} bytes allowed here")
        log = self._git("log", "-1", "--format=%H%x00%an%x00%aI", self._commit, "--", path).decode("utf-8", "replace")
        facts = zip(("commit", "author", "date"), log.strip().split("\0"), strict=False)
        return Fetched(data, (("path", path), *facts), token=blob)

    def _entry(self, line: bytes, ignored: Callable[[str], bool]) -> Listed | PassedOver:
        about, _, raw = line.partition(b"\t")
        mode, _, blob, size = about.decode().split()
        name = raw.decode("utf-8", "backslashreplace")
        uri = f"{self.root}/{name}"
        if name.encode() != raw:
            return PassedOver(uri, name, "name", "its name is not UTF-8; rename it")
        if mode in ("120000", "160000"):
            return PassedOver(uri, name, "link", "a link, or another repository")
        if ignored(name):
            return PassedOver(uri, name, "ignored", ".braidignore names it")
        return Listed(uri, name, blob, int(size))

    def _ignored(self) -> Callable[[str], bool]:
        from pathspec import GitIgnoreSpec

        try:
            rules = self._git("cat-file", "blob", f"{self._commit}:.braidignore").decode("utf-8", "replace")
        except StorageError:
            return lambda name: False
        return GitIgnoreSpec.from_lines(rules.splitlines()).match_file

    def _newest(self) -> str:
        """The commit of the branch now; of a repository elsewhere, after fetching what is new."""
        if not self._url.startswith("file://"):
            self._check_host()
            if (self._folder() / "HEAD").exists():
                self._git("fetch", "--prune", "--quiet", "origin", "+refs/*:refs/*")
            else:
                self._folder().mkdir(parents=True, exist_ok=True)
                self._git("clone", "--mirror", "--quiet", "--", self._url, str(self._folder()), inside=False)
        return self._git("rev-parse", "--verify", f"{self._ref}^{{commit}}").decode().strip()

    def _check_host(self) -> None:
        found = re.match(r"(\w+)://(?:[^@/]*@)?([^:/]+)(?::(\d+))?", self._url)
        ports = {"https": 443, "http": 80, "ssh": 22, "git": 9418}
        if found is None:
            raise StorageError(f"{self._url}: names no host")
        self._tools.hosts(found[2]).check(found[2], int(found[3] or ports[found[1]]))

    def _folder(self) -> Path:
        if self._url.startswith("file://"):
            return Path(self._url.removeprefix("file://"))
        cache = self._tools.cache or Path(tempfile.gettempdir(), f"braid-{os.getuid()}")
        return cache / "git" / hashlib.sha256(self._url.encode()).hexdigest()[:20]

    def _git(self, *arguments: str, inside: bool = True) -> bytes:
        own = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
        if self._token:  # not among the arguments, which other users of this machine see
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
            raise TransientError(f"{self.root}: {reason}")
        kind = StorageUnusable if arguments[0] in ("fetch", "clone") else StorageError
        raise kind(f"{self.root}: git {arguments[0]}: {reason}")
