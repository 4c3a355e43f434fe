"""Tokens as the embedding model counts them; the text needs no model to be counted, only the tokenizer's file."""

import threading
from typing import TYPE_CHECKING

from handlers.models.files import model_file

if TYPE_CHECKING:
    from tokenizers import Tokenizer

EMBEDDING_MODEL = "bge-small-en-v1.5"

_tokenizers: dict[str, "Tokenizer"] = {}
_lock = threading.Lock()


def count_tokens(text: str) -> int:
    """How many tokens the default embedding model sees in a text, without the two special ones around it."""
    return len(_counting_tokenizer().encode(text, add_special_tokens=False))


def load_tokenizer(path: str, *, max_tokens: int | None = None) -> "Tokenizer":
    """A tokenizer of its own from a `tokenizer.json`: no padding, and truncation only at `max_tokens`.

    What the file says about both is dropped: a fixed padding to 512 makes every text as slow as the longest.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_padding()
    if max_tokens is None:
        tokenizer.no_truncation()
    else:
        tokenizer.enable_truncation(max_length=max_tokens)
    return tokenizer


def _counting_tokenizer() -> "Tokenizer":
    # `encode` only reads, so one tokenizer serves all threads; only its loading is guarded.
    found = _tokenizers.get(EMBEDDING_MODEL)
    if found is None:
        with _lock:
            found = _tokenizers.get(EMBEDDING_MODEL)
            if found is None:
                found = load_tokenizer(str(model_file(EMBEDDING_MODEL, "tokenizer.json")))
                _tokenizers[EMBEDDING_MODEL] = found
    return found
