"""Embeddings by an endpoint that speaks OpenAI's `/embeddings`: a service, or a server of your own."""

import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import numpy as np

from flows.errors import FatalError, TransientError
from handlers.models.embedding import unit_rows

TEXTS_PER_REQUEST = 64
_TRANSIENT = frozenset({408, 425, 429})


class OpenAIEmbedder:
    """Any endpoint that speaks OpenAI's `/embeddings`; what it has cost so far, in tokens, is in `tokens_used`."""

    def __init__(self, name: str, *, base_url: str, api_key: str | None = None, timeout_s: float = 60.0) -> None:
        self.name = name
        self.tokens_used = 0
        self._url = f"{base_url.rstrip('/')}/embeddings"
        self._api_key, self._timeout_s = api_key, timeout_s
        self._dim = 0
        self._client: Any = None
        self._lock = threading.Lock()

    @property
    def dim(self) -> int:
        if not self._dim:
            self.embed_documents(["dimension"])
        return self._dim

    def embed_documents(self, texts: Sequence[str]) -> np.ndarray:
        """float32, shape (len(texts), dim).

        Raises:
            TransientError: the endpoint is busy or away; carries its Retry-After.
            FatalError: it refuses, or answers something else than a vector a text.
        """
        starts = range(0, len(texts), TEXTS_PER_REQUEST)
        parts = [self._embed(texts[start : start + TEXTS_PER_REQUEST]) for start in starts]
        return np.concatenate(parts) if parts else np.zeros((0, self.dim), dtype=np.float32)

    def embed_query(self, text: str) -> np.ndarray:
        """float32, shape (dim,)."""
        return self.embed_documents([text])[0]

    def close(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client = None

    def _embed(self, texts: Sequence[str]) -> np.ndarray:
        body = self._post({"model": self.name, "input": list(texts), "encoding_format": "float"})
        try:
            rows = sorted(body["data"], key=lambda row: row["index"])
            vectors = np.asarray([row["embedding"] for row in rows], dtype=np.float32)
            tokens = int((body.get("usage") or {}).get("total_tokens", 0))
        except (KeyError, TypeError, ValueError) as error:
            raise FatalError(f"{self._url} did not answer as OpenAI's `/embeddings` does: {error!r}") from error
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise FatalError(f"{self._url} gave {len(vectors)} vectors for {len(texts)} texts")
        if not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
            raise FatalError(f"{self._url}: model {self.name!r} gave vectors that point nowhere (zeros or no numbers)")
        with self._lock:
            self.tokens_used += tokens
            known, self._dim = self._dim or vectors.shape[1], vectors.shape[1]
        if known != vectors.shape[1]:
            raise FatalError(f"{self._url}: model {self.name!r} gave {vectors.shape[1]} numbers a text, before {known}")
        return unit_rows(vectors)

    def _post(self, body: Mapping[str, Any]) -> Any:
        import httpx

        try:
            answer = self._connected().post(self._url, json=body)
        except httpx.TransportError as error:
            raise TransientError(f"{self._url}: {error or type(error).__name__}") from error
        if answer.status_code in _TRANSIENT or answer.status_code >= 500:
            wait_s = _seconds(answer.headers.get("retry-after", ""))
            raise TransientError(f"{self._url} answered {answer.status_code}", retry_after_s=wait_s)
        if answer.status_code != 200:
            raise FatalError(f"{self._url} answered {answer.status_code}: {answer.text[:200]}")
        try:
            return answer.json()
        except ValueError as error:
            raise FatalError(f"{self._url} did not answer with JSON: {answer.text[:80]!r}") from error

    def _connected(self) -> Any:
        # One client for all threads: it keeps connections open between requests.
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
