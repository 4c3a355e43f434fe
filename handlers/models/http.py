"""Requests to an endpoint that speaks OpenAI's protocol, with errors that say whether trying again can help."""

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from flows.author import TRANSIENT_HTTP
from flows.errors import FatalError, TransientError
from handlers.secrets import hide


class Endpoint:
    """One base URL and key; one client for all threads, which keeps connections open between requests."""

    def __init__(self, base_url: str, *, api_key: str | None = None, timeout_s: float = 60.0) -> None:
        self._base, self._api_key, self._timeout_s = base_url.rstrip("/"), api_key, timeout_s
        self._client: Any = None
        self._lock = threading.Lock()

    def url(self, path: str) -> str:
        return f"{self._base}/{path}"

    def post(self, path: str, body: Mapping[str, Any], *, timeout_s: float | None = None) -> Any:
        """What the endpoint answers, read as JSON; `timeout_s` takes the place of the endpoint's own.

        Raises:
            TransientError: it is busy or away; carries its Retry-After.
            FatalError: it refuses, or does not answer with JSON.
        """
        answer = self._answered(path, body, timeout_s)
        try:
            return answer.json()
        except ValueError as error:
            text = self._hidden(answer.text[:80])
            raise FatalError(f"{self.url(path)} did not answer with JSON: {text!r}") from error

    def post_for_bytes(self, path: str, body: Mapping[str, Any]) -> bytes:
        """What the endpoint answers, as it is; raises as `post` does."""
        return self._answered(path, body, None).content

    def _answered(self, path: str, body: Mapping[str, Any], timeout_s: float | None) -> Any:
        import httpx

        url = self.url(path)
        try:
            answer = self._connected().post(url, json=body, timeout=timeout_s or self._timeout_s)
        except httpx.TransportError as error:
            raise TransientError(f"{url}: {error or type(error).__name__}") from error
        if answer.status_code in TRANSIENT_HTTP or answer.status_code >= 500:
            wait_s = _seconds(answer.headers.get("retry-after", ""))
            raise TransientError(f"{url} answered {answer.status_code}", retry_after_s=wait_s)
        if answer.status_code != 200:
            raise FatalError(f"{url} answered {answer.status_code}: {self._hidden(answer.text[:400])}")
        return answer

    def _hidden(self, text: str) -> str:
        """Some servers say the key that they refuse."""
        return hide(text, [self._api_key])

    def close(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client = None

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                import httpx

                headers = {"Authorization": f"Bearer {self._api_key}"} if self._api_key else {}
                self._client = httpx.Client(headers=headers, timeout=self._timeout_s)
            return self._client


def _seconds(retry_after: str) -> float | None:
    """How long to wait by a `Retry-After` header, which is a number of seconds or a date (RFC 9110, 10.2.3)."""
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
