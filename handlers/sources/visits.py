"""Visits to web pages, with their metadata and links; unchanged pages are not downloaded again."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flows.errors import MissingObject
from flows.storage import write_durably
from handlers.records import stable_id
from handlers.sources.http import Answer, Http
from handlers.sources.page_links import PageLinks, read_links

INDEX_PAGE = "/index.html"


@dataclass(frozen=True)
class Visit:
    """A visited page."""

    url: str
    """Its final address after redirects."""
    token: str
    mime_type: str
    links: PageLinks
    validators: tuple[str, str] = ("", "")
    """ETag and Last-Modified, with which the server can report that the page is unchanged."""


class Visits:
    """Visits pages; with a folder, it remembers them between runs and downloads only changed pages."""

    def __init__(self, http: Http, root: str, folder: Path | None) -> None:
        self._http = http
        name = hashlib.sha256(root.encode()).hexdigest()[:20]
        self._file = folder / "web" / f"{name}.json" if folder is not None else None
        self._before = self._read()
        self._now: dict[str, Visit] = {}

    def visit(self, uri: str) -> Visit:
        """The page of a URI, whose body is sent only if it has changed since the last listing.

        Raises:
            StorageError, TransientError: as `Http.get` does.
        """
        before = self._before.get(uri)
        answer = get_page(self._http, uri, unless=before.validators if before is not None else None)
        if answer is None:
            assert before is not None
            self._now[uri] = before
        else:
            links = read_links(answer.content) if "html" in answer.mime_type else PageLinks()
            self._now[uri] = Visit(answer.url, token_of(answer), answer.mime_type, links, answer.validators)
        return self._now[uri]

    def keep(self) -> None:
        """Store the pages with validators for the next run; pages that were not visited this time are dropped."""
        if self._file is not None:
            kept = {uri: asdict(each) for uri, each in self._now.items() if any(each.validators)}
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_durably(self._file, json.dumps(kept).encode())

    def _read(self) -> dict[str, Visit]:
        try:
            known: dict[str, Any] = json.loads(self._file.read_bytes()) if self._file is not None else {}
            return {
                uri: Visit(**{**each, "links": PageLinks(**each["links"]), "validators": tuple(each["validators"])})
                for uri, each in known.items()
            }
        except (OSError, ValueError, TypeError, KeyError):  # missing, or written by another version
            return {}


def get_page(
    http: Http, uri: str, *, most_bytes: int | None = None, unless: tuple[str, str] | None = None
) -> Answer | None:
    """The page of a URI, or None if it still matches `unless`; for an address with a final slash, also its
    `index.html`.
    """
    folder = uri.removesuffix("index.html") if uri.endswith(INDEX_PAGE) else ""
    try:
        return http.get_if_changed(folder or uri, unless, most_bytes=most_bytes)
    except MissingObject:
        if not folder:
            raise
        return http.get_if_changed(uri, unless, most_bytes=most_bytes)


def token_of(answer: Answer) -> str:
    """The change token of a page: the server's, else its content's."""
    return next(filter(None, answer.validators), "") or stable_id(answer.content.decode("latin-1"))
