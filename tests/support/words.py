"""Two handlers that read a text, and their expected results: the example of the README, in a registry of its own."""

from typing import Any

from flows import Registry, RunResult, handler, parallel, pipeline

OWN = Registry()
TEXT = "to be or not to be"
EXPECTED = ({"to": 2, "be": 2, "or": 1, "not": 1}, "not")


@handler(registry=OWN)
def word_counts(text: str) -> dict[str, int]:
    return {word: text.split().count(word) for word in text.split()}


@handler(registry=OWN)
async def longest_word(text: str) -> str:
    return max(text.split(), key=len)


WORDS = pipeline("words", parallel(word_counts, longest_word))


def values(result: RunResult) -> tuple[Any, Any]:
    return result["word_counts"], result.longest_word
