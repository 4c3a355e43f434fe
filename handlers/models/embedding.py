"""Embedders: texts to vectors, by a local model that an installed package carries, or by an endpoint.

The carried models are run by onnxruntime itself; with a network, any of fastembed's models can be named. One text per
run on one thread is the fastest use of a core; several cores work on several texts at a time.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from flows.errors import FatalError
from handlers.models.files import KNOWN_MODELS, MODEL_DIR_VARIABLE
from handlers.models.onnx import OnnxModel, load_onnx
from handlers.models.recipes import UNKNOWN, Recipe, recipe_of
from handlers.models.tokens import EMBEDDING_MODEL, spoken_tokens, tokens_after
from handlers.models.vectors import unit_rows
from handlers.text import terms

_MOST_QUESTIONS = 500
"""How many vectors of questions are cached, because paging and filters repeat a question."""


class Embedder(Protocol):
    """Turns texts into vectors of L2 norm 1; a text always has the same vector, in any batch of texts."""

    @property
    def name(self) -> str:
        """The name under which vectors are stored; vectors of two names are never compared."""
        ...

    @property
    def dim(self) -> int: ...

    def embed_documents(self, texts: Sequence[str]) -> np.ndarray:
        """float32, shape (len(texts), dim)."""
        ...

    def embed_query(self, text: str) -> np.ndarray:
        """float32, shape (dim,)."""
        ...


@runtime_checkable
class TokenEmbedder(Protocol):
    """An embedder that can give a vector for each token beside the one of the text, from the same forward pass.

    Special tokens, and punctuation in documents, have no vectors. The result is None if the model has no token vectors.
    """

    def embed_document_tokens(self, texts: Sequence[str]) -> tuple[np.ndarray, list[np.ndarray] | None]:
        """As `embed_documents`, and of each text float32, shape (tokens, dim), every row of L2 norm 1."""
        ...

    def embed_query_tokens(self, text: str) -> tuple[np.ndarray, np.ndarray | None]:
        """As `embed_query`, and float32, shape (tokens, dim), every row of L2 norm 1."""
        ...


Embedded: TypeAlias = tuple[np.ndarray, np.ndarray | None]
"""The vector of a text, and the vectors of its tokens if the model has them."""
Embed: TypeAlias = Callable[[str, bool], Embedded]
"""Embeds a question (True) or a document (False), with the prefix that the model requires."""


def make_embedder(
    name: str = EMBEDDING_MODEL,
    *,
    model_dir: str | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
) -> Embedder:
    """The embedder that settings describe: an endpoint if there is a `base_url`, else a local model.

    `hashing` is for tests only.

    Raises:
        ModelFileError: the model's files are missing or differ from the known ones.
    """
    if base_url is not None:
        from handlers.models.endpoint import OpenAIEmbedder

        return OpenAIEmbedder(name, base_url=base_url, api_key=api_key)
    if name == "hashing":
        return HashingEmbedder()
    return LocalEmbedder(name, model_dir=model_dir)


def is_local(name: str) -> bool:
    """Whether a model of that name runs on this machine even where there is an endpoint."""
    return name == HashingEmbedder.name or name in KNOWN_MODELS


class LocalEmbedder:
    """A model on this machine; loaded when it is first used, then shared by all threads."""

    def __init__(
        self, name: str = EMBEDDING_MODEL, *, model_dir: str | None = None, workers: int | None = None
    ) -> None:
        self.name = name
        self._model_dir = model_dir
        self._workers = workers or _usable_cores()
        self._lock = threading.Lock()
        self._model: Embed | None = None
        self._asked: dict[str, Embedded] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._recipe = recipe_of(name) if _is_in_a_folder(name, model_dir) else UNKNOWN
        self._dim = self._recipe.dimensions

    @property
    def dim(self) -> int:
        if not self._dim:
            self._dim = len(self.embed_query("dimension"))
        return self._dim

    def embed_documents(self, texts: Sequence[str]) -> np.ndarray:
        """float32, shape (len(texts), dim)."""
        return self.embed_document_tokens(texts)[0]

    def embed_document_tokens(self, texts: Sequence[str]) -> tuple[np.ndarray, list[np.ndarray] | None]:
        """The vectors of texts, and for each text the vectors of its tokens."""
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32), []
        embed, pool = self._load_once()
        found = list(pool.map(lambda text: embed(text, False), texts))
        tokens = [each for _, each in found if each is not None]
        return unit_rows(np.stack([vector for vector, _ in found])), tokens if len(tokens) == len(found) else None

    def embed_query(self, text: str) -> np.ndarray:
        """float32, shape (dim,)."""
        return self.embed_query_tokens(text)[0]

    def embed_query_tokens(self, text: str) -> Embedded:
        """The vector of a question, and those of its tokens."""
        known = self._asked.get(text)
        if known is None:
            embed, _ = self._load_once()
            vector, tokens = embed(text, True)
            known = unit_rows(vector[None, :])[0], tokens
            with self._lock:
                if len(self._asked) >= _MOST_QUESTIONS:
                    self._asked.clear()
                self._asked[text] = known
        return known[0].copy(), None if known[1] is None else known[1].copy()

    def close(self) -> None:
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown()
            self._model = self._pool = None

    def _load_once(self) -> tuple[Embed, ThreadPoolExecutor]:
        with self._lock:
            if self._model is None or self._pool is None:
                self._model = _load(self.name, self._model_dir)
                self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="braid-embed")
            return self._model, self._pool

    def __getstate__(self) -> dict[str, Any]:
        return {"name": self.name, "model_dir": self._model_dir, "workers": self._workers}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["name"], model_dir=state["model_dir"], workers=state["workers"])


def _usable_cores() -> int:
    # Only Linux knows which cores this process may use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _is_in_a_folder(name: str, model_dir: str | None) -> bool:
    """Whether onnxruntime runs the model's files directly, instead of fastembed, which has its own pooling."""
    return name in KNOWN_MODELS or model_dir is not None or MODEL_DIR_VARIABLE in os.environ


def _load(name: str, model_dir: str | None) -> Embed:
    if _is_in_a_folder(name, model_dir):
        ours, recipe = load_onnx(name, model_dir=model_dir), recipe_of(name)
        return lambda text, asks: _read(ours, recipe, name, text, asks=asks)
    from fastembed import TextEmbedding

    try:
        model = TextEmbedding(name, threads=1)
    except ValueError as error:
        raise FatalError(f"no embedding model named {name!r}: {error}") from error
    return lambda text, asks: (np.asarray(next(iter(model.embed([text], batch_size=1))), dtype=np.float32), None)


def _read(model: OnnxModel, recipe: Recipe, name: str, text: str, *, asks: bool) -> Embedded:
    prefix = recipe.query_prefix if asks else recipe.passage_prefix
    output, encoded = model.read(prefix + text)
    states = output[0].astype(np.float32)
    own = tokens_after(encoded, len(prefix))
    tokens = own if asks else spoken_tokens(encoded, prefix + text, own)
    return recipe.pooled(states, name), unit_rows(states[tokens])


class HashingEmbedder:
    """FOR TESTS ONLY: vectors of hashed words, which is fast but has no meaning. Fused with BM25 it is worse than BM25
    alone.
    """

    name = "hashing"
    dim = 256

    def embed_documents(self, texts: Sequence[str]) -> np.ndarray:
        """float32, shape (len(texts), dim)."""
        width = 2 * self.dim  # the first half of a row counts up, the second one down
        columns = [row * width + _hashed(term) for row, text in enumerate(texts) for term in terms(text) or ["\0"]]
        counts = np.bincount(np.array(columns, dtype=np.int64), minlength=len(texts) * width).reshape(-1, 2, self.dim)
        vectors = (counts[:, 0] - counts[:, 1]).astype(np.float32)
        vectors[~vectors.any(axis=1), 0] = 1.0
        return unit_rows(vectors)

    def embed_query(self, text: str) -> np.ndarray:
        """float32, shape (dim,)."""
        return self.embed_documents([text])[0]


@lru_cache(maxsize=100_000)
def _hashed(term: str) -> int:
    digest = hashlib.blake2b(term.encode(), digest_size=8).digest()
    column = int.from_bytes(digest[:4], "little") % HashingEmbedder.dim
    return column if digest[4] & 1 else column + HashingEmbedder.dim
