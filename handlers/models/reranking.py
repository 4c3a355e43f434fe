"""Rerankers score how well a passage answers a query by reading both together; slower than vectors, off by default."""

import threading
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from handlers.models.onnx import OnnxModel, load_onnx

RERANKING_MODEL = "ms-marco-MiniLM-L-12-v2"


class Reranker(Protocol):
    """Scores passages against a query; higher is better."""

    name: str

    def score(self, query: str, passages: Sequence[str]) -> np.ndarray:
        """float32, shape (len(passages),)."""
        ...


def make_reranker(*, model_dir: str | None = None) -> Reranker:
    """The reranker in the wheel of the models.

    Raises:
        ModelFileError: its files are missing or differ from the known ones.
    """
    return OnnxReranker(RERANKING_MODEL, model_dir=model_dir)


class OnnxReranker:
    """A cross-encoder on this machine; loaded when it is first used, then shared by all threads."""

    def __init__(self, name: str, *, model_dir: str | None = None) -> None:
        self.name, self._model_dir = name, model_dir
        self._lock = threading.Lock()
        self._loaded: OnnxModel | None = None

    def score(self, query: str, passages: Sequence[str]) -> np.ndarray:
        """float32, shape (len(passages),)."""
        model = self._load()
        scores = [float(model.run(query, passage).reshape(-1)[0]) for passage in passages]
        return np.array(scores, dtype=np.float32)

    def _load(self) -> OnnxModel:
        with self._lock:
            if self._loaded is None:
                self._loaded = load_onnx(self.name, model_dir=self._model_dir)
            return self._loaded

    def __getstate__(self) -> dict[str, Any]:
        return {"name": self.name, "model_dir": self._model_dir}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["name"], model_dir=state["model_dir"])
