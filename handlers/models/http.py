"""Requests to an endpoint that speaks OpenAI's protocol; errors are transient if trying again can help."""

import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from flows.author import TRANSIENT_HTTP, parse_retry_after
from flows.errors import FatalError, TransientError
from handlers.secrets import hide

_NO_SUCH_PATH = frozenset({404, 405, 501})


class Endpoint:
    """One base URL and key; one client for all threads, which keeps connections open between requests."""

    def __init__(self, base_url: str, *, api_key: str | None = None, timeout_s: float = 60.0) -> None:
        base, _, query = base_url.partition("?")
        self._base, self._query = base.rstrip("/"), f"?{query}" if query else ""
        self._api_key, self._timeout_s = api_key, timeout_s
        self._client: Any = None
        self._lock = threading.Lock()

    def url(self, path: str) -> str:
        """The address of a path below the base URL, with the query part of the base URL, such as `?api-version=1`."""
        return f"{self._base}/{path}{self._query}"

    def post(self, path: str, body: Mapping[str, Any], *, timeout_s: float | None = None) -> Any:
        """The answer of the endpoint, read as JSON; `timeout_s` replaces the endpoint's own.

        Raises:
            TransientError: it is busy or unreachable; carries its Retry-After.
            FatalError: it refuses, or its answer is not JSON.
        """
        answer = self._send(path, body, timeout_s)
        try:
            return answer.json()
        except ValueError as error:
            text = self._without_key(answer.text[:80])
            raise FatalError(f"{self.url(path)} did not answer with JSON: {text!r}") from error

    def post_for_events(self, path: str, body: Mapping[str, Any], *, timeout_s: float | None = None) -> Iterator[Any]:
        """The data of the server-sent events of the answer, each read as JSON, until `[DONE]` or the end.

        Raises as `post` does; also a TransientError when the connection breaks off.
        """
        import httpx

        url, limit = self.url(path), timeout_s or self._timeout_s
        try:
            with self._open().stream("POST", url, json=body, timeout=limit) as answer:
                if answer.status_code != 200:
                    answer.read()
                    self._check(url, answer)
                for line in answer.iter_lines():
                    name, _, data = line.partition(":")
                    if name != "data" or not data.strip():
                        continue
                    if data.strip() == "[DONE]":
                        return
                    try:
                        yield json.loads(data)
                    except ValueError as error:
                        shown = self._without_key(data[:80])
                        raise FatalError(f"{url} sent an event that is not JSON: {shown!r}") from error
        except httpx.TransportError as error:
            raise TransientError(f"{url}: {error or type(error).__name__}") from error

    def post_for_bytes(self, path: str, body: Mapping[str, Any]) -> bytes:
        """The raw bytes of the endpoint's answer; raises as `post` does."""
        return self._send(path, body, None).content

    def models(self) -> frozenset[str] | None:
        """The names of the models that the endpoint lists; None if it has no list. Raises as `post` does."""
        url = self.url("models")
        answer = self._request("GET", url, None, None)
        if answer.status_code in _NO_SUCH_PATH:
            return None
        self._check(url, answer)
        try:
            return frozenset(str(model["id"]) for model in answer.json()["data"])
        except (ValueError, KeyError, TypeError) as error:
            raise FatalError(f"{url} did not answer as OpenAI's `/models` does") from error

    def _send(self, path: str, body: Mapping[str, Any], timeout_s: float | None) -> Any:
        url = self.url(path)
        answer = self._request("POST", url, body, timeout_s)
        self._check(url, answer)
        return answer

    def _request(self, method: str, url: str, body: Mapping[str, Any] | None, timeout_s: float | None) -> Any:
        import httpx

        try:
            return self._open().request(method, url, json=body, timeout=timeout_s or self._timeout_s)
        except httpx.TransportError as error:
            raise TransientError(f"{url}: {error or type(error).__name__}") from error

    def _check(self, url: str, answer: Any) -> None:
        if answer.status_code in TRANSIENT_HTTP or answer.status_code >= 500:
            wait_s = parse_retry_after(answer.headers.get("retry-after", ""))
            raise TransientError(f"{url} answered {answer.status_code}", retry_after_s=wait_s)
        if answer.status_code != 200:
            raise FatalError(f"{url} answered {answer.status_code}: {self._without_key(answer.text[:400])}")

    def _without_key(self, text: str) -> str:
        """Remove the key from a message, since some servers repeat the key that they refuse."""
        return hide(text, [self._api_key])

    def close(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client = None

    def _open(self) -> Any:
        with self._lock:
            if self._client is None:
                import httpx

                headers = {"Authorization": f"Bearer {self._api_key}"} if self._api_key else {}
                self._client = httpx.Client(headers=headers, timeout=self._timeout_s)
            return self._client
