"""Follows the links of a site from its first page, within the limits of the operator, the site and its robots.txt."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import unquote, urljoin
from urllib.robotparser import RobotFileParser

from flows.errors import MissingObject, StorageError, StorageUnusable, TransientError
from flows.storage import PassedOver
from handlers.sources.http import Http
from handlers.sources.page_links import address
from handlers.sources.protocol import not_listed
from handlers.sources.visits import Visit, Visits


@dataclass(frozen=True)
class Crawl:
    """The limits for following links."""

    root: str
    depth: int
    """The most links between the first page and a page."""
    most: int
    """The most pages; a listing that reaches it counts as incomplete."""
    allows: Callable[[str], bool]
    """Whether robots.txt allows a page."""
    is_below: Callable[[str], bool]
    """Whether a page belongs to the source."""

    def follow(self, first: str, visits: Visits) -> Iterator[tuple[str, Visit] | PassedOver]:
        """The pages by canonical URI, and the pages that could not be read."""
        waiting, seen, listed = deque([(first, 0)]), {first}, set[str]()
        while waiting:
            uri, depth = waiting.popleft()
            if len(listed) >= self.most:
                yield not_listed(self.root, f"it has more than {self.most} pages (most_pages)")
                return
            if not self.allows(uri):
                yield not_allowed(self.root, uri)
                continue
            try:
                found = visits.visit(uri)
            except MissingObject:
                if uri == first:
                    raise
                continue
            except (TransientError, StorageUnusable):
                raise
            except StorageError as error:
                yield not_listed(self.root, str(error))
                continue
            links = found.links
            own = address(urljoin(found.url, links.canonical or found.url))
            own = own if self.is_below(own) else uri
            if own not in listed and self.is_below(own) and not links.no_index:
                listed.add(own)
                yield own, found
            if depth < self.depth and not links.no_follow:
                for link in links.links:
                    target = address(urljoin(urljoin(found.url, links.base), link))
                    if target not in seen and self.is_below(target):
                        seen.add(target)
                        waiting.append((target, depth + 1))


def read_robots(http: Http, host: str) -> RobotFileParser:
    """The robots.txt rules of a host."""
    robots = no_robots()
    with suppress(MissingObject, StorageUnusable):
        robots.parse(http.get(f"{host}/robots.txt").content.decode("utf-8", "replace").splitlines())
    return robots


def no_robots() -> RobotFileParser:
    """Rules that allow everything."""
    robots = RobotFileParser()
    robots.parse([])
    return robots


def not_allowed(root: str, uri: str) -> PassedOver:
    return PassedOver(uri, name_below(root, uri), "robots", "robots.txt forbids it")


def name_below(root: str, uri: str) -> str:
    """The name of a page in its source: its path below the root."""
    return unquote(uri.removeprefix(f"{root}/")) if uri != root else root.rpartition("/")[2]
