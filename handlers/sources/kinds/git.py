"""A Git repository: the files of one commit; only files that changed since the last ingested commit are read."""

import threading
from collections.abc import Callable, Iterator

from flows.errors import MissingObject, StorageError
from flows.state import chunked
from flows.storage import PassedOver
from handlers.records import Fetched
from handlers.sources.git_repository import GitRepository
from handlers.sources.protocol import Listed, Page, Tools
from handlers.sources.registry import Secret, source_kind

_PAGE = 1000


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
        self._ref = ref or "HEAD"
        self._repository = GitRepository(self.root, f"{scheme}://{host}/{path}", token, tools)
        self._commit, self._looking = "", threading.Lock()

    @staticmethod
    def canonical(place: str) -> str:
        scheme, _, rest = place.partition("://")
        return f"{scheme.lower()}://{rest.rstrip('/')}"

    def pages(self, wanted: Callable[[str], bool]) -> Iterator[Page]:
        self._commit = self._repository.newest(self._ref)
        listed = self._repository.git("ls-tree", "-r", "-l", "-z", "--full-tree", self._commit).split(b"\0")
        ignored = self._ignored()
        for some in chunked(filter(None, listed), _PAGE):
            yield [self._entry(line, ignored) for line in some]

    def fetch(self, uri: str, *, max_bytes: int | None = None) -> Fetched:
        with self._looking:  # if several threads fetch, only one looks for the newest commit
            self._commit = self._commit or self._repository.newest(self._ref)
        path = uri[len(self.root) + 1 :]
        try:
            blob = self._repository.git("rev-parse", "--verify", f"{self._commit}:{path}").decode().strip()
            data = self._repository.git("cat-file", "blob", blob)
        except StorageError as error:
            raise MissingObject(f"{uri}: is not in commit {self._commit[:12]}") from error
        if max_bytes is not None and len(data) > max_bytes:
            raise StorageError(f"{uri}: is longer than the {max_bytes} bytes allowed here")
        log = self._repository.git("log", "-1", "--format=%H%x00%an%x00%aI", self._commit, "--", path).decode(
            "utf-8", "replace"
        )
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
            return PassedOver(uri, name, "ignored", ".braidignore excludes it")
        return Listed(uri, name, blob, int(size))

    def _ignored(self) -> Callable[[str], bool]:
        from pathspec import GitIgnoreSpec

        try:
            rules = self._repository.git("cat-file", "blob", f"{self._commit}:.braidignore").decode("utf-8", "replace")
        except StorageError:
            return lambda name: False
        return GitIgnoreSpec.from_lines(rules.splitlines()).match_file
