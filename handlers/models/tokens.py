"""Counts tokens as the embedding model does; this needs only the tokenizer's file, not the model."""

import re
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from handlers.models.files import model_file

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

EMBEDDING_MODEL = "bge-small-en-v1.5"

_tokenizers: dict[str, "Tokenizer"] = {}
_lock = threading.Lock()
# `str.split` splits at these characters, but the tokenizer drops some of them and joins the text around them.
_ODD_SPACE = re.compile("[\x0b\x0c\x1c-\x1f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
_IDEOGRAPH = re.compile("[\u3400-\u4db5\u4e00-\u9fef]")
_WORD = re.compile(r"[^ \t\n\r]+")
_SPOKEN = re.compile(r"\w")


def count_tokens(text: str) -> int:
    """The number of tokens of a text for the default embedding model, without the two special tokens.

    For that model, a run of unknown characters (for example a line of Thai) is one token of any length. Here it counts
    as one token per two characters, about as many as in a model for that script, so that passages do not become too
    long.
    """
    # BERT's tokenizer never looks across white space, so counts of words can be cached; an ideograph is a word and one
    # token.
    ideographs = 0
    if not text.isascii():
        text, ideographs = _IDEOGRAPH.subn(" ", text)
    words = _WORD.findall(text) if _ODD_SPACE.search(text) else text.split()
    return sum(map(_known_words.__getitem__, words), ideographs)


class _Words(dict[str, int]):
    """A cache of the token counts of recent words."""

    def __missing__(self, word: str) -> int:
        tokens = whole_text_tokens(word)
        if len(word) <= _LONGEST_KEPT:
            if len(self) >= _MOST_KEPT:
                self.clear()
            self[word] = tokens
        return tokens


_MOST_KEPT, _LONGEST_KEPT = 50_000, 40
_known_words = _Words()


def whole_text_tokens(text: str) -> int:
    """The same number, computed by the tokenizer from the whole text."""
    tokenizer = _counting_tokenizer()
    encoded = tokenizer.encode(text, add_special_tokens=False)
    ids, unknown = encoded.ids, tokenizer.token_to_id("[UNK]")
    if unknown not in ids:
        return len(ids)
    runs = (end - start for number, (start, end) in zip(ids, encoded.offsets, strict=True) if number == unknown)
    return len(ids) + sum((length - 1) // 2 for length in runs)


def load_tokenizer(path: str, *, max_tokens: int | None = None) -> "Tokenizer":
    """A new tokenizer from a `tokenizer.json`: no padding, and truncation only at `max_tokens`.

    The file's own settings of both are ignored, because padding to a fixed 512 makes every text as slow as the longest.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_padding()
    if max_tokens is None:
        tokenizer.no_truncation()
    else:
        tokenizer.enable_truncation(max_length=max_tokens)
    return tokenizer


def tokens_after(encoded: "Encoding", start: int) -> list[int]:
    """The positions of the tokens from character `start` of the text on, without special tokens."""
    spans = zip(encoded.special_tokens_mask, encoded.offsets, strict=True)
    return [position for position, (special, span) in enumerate(spans) if not special and span[0] >= start]


def spoken_tokens(encoded: "Encoding", text: str, positions: Sequence[int]) -> list[int]:
    """The positions whose tokens are not punctuation."""
    offsets = encoded.offsets
    return [position for position in positions if _SPOKEN.search(text, *offsets[position])]


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
