"""Embeddings by an endpoint that speaks OpenAI's `/embeddings`: a service, or a server of your own."""

import threading
from collections.abc import Sequence

import numpy as np

from flows.errors import FatalError
from flows.state import chunked
from handlers.models.http import Endpoint
from handlers.models.vectors import unit_rows

TEXTS_PER_REQUEST = 64


class OpenAIEmbedder:
    """Any endpoint that speaks OpenAI's `/embeddings`; `tokens_used` counts its cost so far."""

    def __init__(self, name: str, *, base_url: str, api_key: str | None = None) -> None:
        self.name = name
        self.tokens_used = 0
        self._endpoint = Endpoint(base_url, api_key=api_key)
        self._url = self._endpoint.url("embeddings")
        self._dim = 0
        self._lock = threading.Lock()

    @property
    def dim(self) -> int:
        if not self._dim:
            self.embed_documents(["dimension"])
        return self._dim

    def embed_documents(self, texts: Sequence[str]) -> np.ndarray:
        """float32, shape (len(texts), dim).

        Raises:
            TransientError: the endpoint is busy or unreachable; carries its Retry-After.
            FatalError: it refuses, or its answer is not one vector per text.
        """
        parts = [self._embed(some) for some in chunked(texts, TEXTS_PER_REQUEST)]
        return np.concatenate(parts) if parts else np.zeros((0, self.dim), dtype=np.float32)

    def embed_query(self, text: str) -> np.ndarray:
        """float32, shape (dim,)."""
        return self.embed_documents([text])[0]

    def close(self) -> None:
        self._endpoint.close()

    def _embed(self, texts: Sequence[str]) -> np.ndarray:
        body = self._endpoint.post("embeddings", {"model": self.name, "input": list(texts), "encoding_format": "float"})
        try:
            rows = sorted(body["data"], key=lambda row: row["index"])
            vectors = np.asarray([row["embedding"] for row in rows], dtype=np.float32)
            tokens = int((body.get("usage") or {}).get("total_tokens", 0))
        except (KeyError, TypeError, ValueError) as error:
            raise FatalError(f"{self._url} did not answer as OpenAI's `/embeddings` does: {error!r}") from error
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise FatalError(f"{self._url} returned {len(vectors)} vectors for {len(texts)} texts")
        if not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
            raise FatalError(
                f"{self._url}: model {self.name!r} returned vectors without a direction (zeros or not numbers)"
            )
        with self._lock:
            self.tokens_used += tokens
            known, self._dim = self._dim or vectors.shape[1], vectors.shape[1]
        if known != vectors.shape[1]:
            raise FatalError(
                f"{self._url}: model {self.name!r} returned {vectors.shape[1]} numbers per text, earlier {known}"
            )
        return unit_rows(vectors)
