"""Embedders for tests that have no model behind them."""

from collections.abc import Sequence

import numpy as np

from handlers.models.embedding import HashingEmbedder


class HashedWords(HashingEmbedder):
    """Hashed words, of which each is a token too."""

    name = "hashed words"

    def embed_document_tokens(self, texts: Sequence[str]) -> tuple[np.ndarray, list[np.ndarray] | None]:
        return self.embed_documents(texts), [self.embed_documents(text.split()) for text in texts]

    def embed_query_tokens(self, text: str) -> tuple[np.ndarray, np.ndarray | None]:
        return self.embed_query(text), self.embed_documents(text.split())
