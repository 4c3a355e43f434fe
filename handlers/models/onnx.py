"""Runs the known models directly with onnxruntime, which loads faster than with a library around it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from handlers.models.files import model_file
from handlers.models.tokens import load_tokenizer

_MOST_TOKENS = 512


@dataclass(frozen=True)
class OnnxModel:
    """A transformer with its tokenizer; safe to use from several threads, each text on one core."""

    session: Any
    tokenizer: Any
    inputs: frozenset[str]

    def run(self, *texts: str) -> np.ndarray:
        """The first output for one text, or for a pair of texts; its first dimension is 1."""
        return self.read(*texts)[0]

    def read(self, *texts: str) -> tuple[np.ndarray, Any]:
        """The same output, and the tokenizer's `Encoding` of the texts."""
        encoded = self.tokenizer.encode(*texts)
        given = {
            "input_ids": encoded.ids,
            "attention_mask": encoded.attention_mask,
            "token_type_ids": encoded.type_ids,
        }
        arrays = {name: np.asarray([values], dtype=np.int64) for name, values in given.items() if name in self.inputs}
        return np.asarray(self.session.run(None, arrays)[0]), encoded


def load_onnx(name: str, *, model_dir: str | None) -> OnnxModel:
    """The model of that name.

    Raises:
        ModelFileError: its files are missing or differ from the known ones.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = str(model_file(name, "model.onnx", model_dir=model_dir))
    words = str(model_file(name, "tokenizer.json", model_dir=model_dir))
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = frozenset(given.name for given in session.get_inputs())
    return OnnxModel(session, load_tokenizer(words, max_tokens=_MOST_TOKENS), names)
