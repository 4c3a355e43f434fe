"""HTTP for sources: allowed hosts only, at a limited rate; every unsuccessful answer becomes one of our errors."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from flows.author import TRANSIENT_HTTP, parse_retry_after
from flows.errors import MissingObject, StorageError, StorageUnusable, TransientError
from handlers.data import BadQuery
from handlers.sources.protocol import Tools

AGENT = "Braid/1 (+https://github.com/braid-pipelines)"
MOST_BYTES = 50_000_000
_REDIRECTS, _NOT_MODIFIED = 5, 304


@dataclass(frozen=True)
class Answer:
    """A server's answer; `url` is its final address."""

    url: str
    content: bytes
    headers: Mapping[str, str]

    @property
    def mime_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def validators(self) -> tuple[str, str]:
        """ETag and Last-Modified, each empty if the server gives none."""
        return self.headers.get("etag", ""), self.headers.get("last-modified", "")


class Http:
    """Gets documents from the host of a source; private addresses only if the operator has allowed them."""

    def __init__(self, place: str, tools: Tools, *, per_second: float = 0.0, headers: Mapping[str, str] | None = None):
        from handlers.data import make_client

        self._client: Any = make_client(tools.hosts(urlsplit(place).hostname or ""))
        self._pause = 1 / per_second if per_second else 0.0
        self._headers = {"User-Agent": AGENT, **(headers or {})}
        self._next, self._lock = 0.0, threading.Lock()

    def get(self, url: str, *, most_bytes: int | None = None) -> Answer:
        """The content at a URL, redirects within the host followed.

        Raises:
            MissingObject: it does not exist (404, 410).
            TransientError: the server is busy or unreachable, or the connection broke; carries its Retry-After.
            StorageUnusable: the host is not allowed, or refuses access (401, 403).
            StorageError: any other refusal, or more than `most_bytes`.
        """
        answer = self.get_if_changed(url, None, most_bytes=most_bytes)
        assert answer is not None
        return answer

    def get_if_changed(
        self, url: str, validators: tuple[str, str] | None, *, most_bytes: int | None = None
    ) -> Answer | None:
        """As `get`; None if the server reports by these validators that nothing has changed (it then sends no body)."""
        names = ("If-None-Match", "If-Modified-Since")
        conditions = {name: value for name, value in zip(names, validators or (), strict=False) if value}
        current = url
        for _ in range(_REDIRECTS + 1):
            self._wait()
            response, content = self._send(current, most_bytes or MOST_BYTES, conditions)
            if conditions and response.status_code == _NOT_MODIFIED:
                return None
            if not response.has_redirect_location:
                _check(response, current)
                return Answer(current, content, dict(response.headers))
            current = urljoin(current, response.headers["location"])
        raise StorageError(f"{url}: redirects more than {_REDIRECTS} times")

    def _send(self, url: str, most_bytes: int, conditions: Mapping[str, str]) -> tuple[Any, bytes]:
        import httpx

        content = bytearray()
        headers = {**self._headers, **conditions}
        try:
            with self._client.stream("GET", url, headers=headers, timeout=30.0) as response:
                for part in response.iter_bytes():
                    content += part
                    if len(content) > most_bytes:
                        raise StorageError(f"{url}: is longer than the {most_bytes} bytes allowed here")
        except httpx.TransportError as error:
            raise TransientError(f"{url}: {error or type(error).__name__}") from None
        except (httpx.InvalidURL, httpx.DecodingError) as error:
            raise StorageError(f"{url}: {error}") from None
        except BadQuery as error:
            raise StorageUnusable(f"{url}: {error}") from None
        return response, bytes(content)

    def _wait(self) -> None:
        with self._lock:
            now = time.monotonic()
            due, self._next = max(now, self._next), max(now, self._next) + self._pause
        time.sleep(max(0.0, due - now))

    def close(self) -> None:
        self._client.close()


def _check(response: Any, url: str) -> None:
    status: int = response.status_code
    if status < 300:
        return
    if status in (404, 410):
        raise MissingObject(f"{url}: is not there ({status})")
    if status in TRANSIENT_HTTP or status >= 500:
        wait = parse_retry_after(response.headers.get("retry-after", ""))
        raise TransientError(f"{url}: the server is busy ({status})", retry_after_s=wait)
    if status in (401, 403):
        raise StorageUnusable(
            f"{url}: access denied ({status}); check the credentials of the source, they may have expired"
        )
    raise StorageError(f"{url}: the server refused with {status}")
