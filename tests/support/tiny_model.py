"""A tiny embedding model in a folder, for tests: each word has a vector of its own, and texts with equal words are near."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing


def make_tiny_model(folder: Path, name: str, words: Sequence[str], *, dimensions: int = 384, seed: int = 0) -> Path:
    """A folder of models (`BRAID_MODEL_DIR`) with this one in it."""
    vocabulary = ["[CLS]", "[SEP]", "[UNK]", *dict.fromkeys(word.lower() for word in words)]
    tokenizer = Tokenizer(WordLevel({word: place for place, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.post_processor = TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 1)]
    )
    made = folder / name
    made.mkdir(parents=True)
    tokenizer.save(str(made / "tokenizer.json"))
    table = np.random.default_rng(seed).normal(size=(len(vocabulary), dimensions)).astype(np.float32)
    table[:3] = 0.01
    (made / "model.onnx").write_bytes(_lookup_model(table))
    return folder


def _lookup_model(table: np.ndarray) -> bytes:
    """An ONNX model whose output is the row of the table for each of `input_ids`."""
    gather = b"".join([_text(1, "table"), _text(1, "input_ids"), _text(2, "tokens"), _text(4, "Gather")])
    rows = b"".join([_number(1, size) for size in table.shape])
    tensor = rows + _number(2, 1) + _text(8, "table") + _field(9, table.astype("<f4").tobytes())
    graph = b"".join(
        [
            _field(1, gather),
            _text(2, "lookup"),
            _field(5, tensor),
            _field(11, _value("input_ids", 7, 2)),
            _field(12, _value("tokens", 1, 3)),
        ]
    )
    return _number(1, 8) + _field(7, graph) + _field(8, _number(2, 13))


def _value(name: str, kind: int, rank: int) -> bytes:
    shape = b"".join(_field(1, _text(2, f"{name}{place}")) for place in range(rank))
    return _text(1, name) + _field(2, _field(1, _number(1, kind) + _field(2, shape)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _field(field, value.encode())


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])
