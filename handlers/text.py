"""Words of a text as search sees them: folded, without stop words, stemmed; the same for documents and queries."""

import re
import threading
import unicodedata
from functools import lru_cache

# `\w` leaves out the vowel signs and points that belong to words of Hebrew, Arabic, Indic and South-East Asian scripts.
_LETTER = (
    "(?:[^\\W_]|[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0963\u0980-\u0dff\u0e31-\u0e4e\u0eb1-\u0ece"
    "\u102b-\u103e\u17b4-\u17d3])"
)
_WORD = re.compile(f"{_LETTER}+(?:['’]{_LETTER}+)*")
# Scripts written without spaces, and Korean, whose particles stick to words: found by pairs of neighbouring characters.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U0003ffff]+"
)
_CONTRACTED = re.compile("'(?:s|re|ve|ll|d|m)$")
STOP_WORDS = frozenset(
    "a about above after again against all am an and any are as at be because been before being below between both but "
    "by can could did do does doing down during each few for from further had has have having he her here hers herself "
    "him himself his how i if in into is it its itself just me more most my myself no nor not now of off on once only "
    "or other our ours ourselves out over own same she should so some such than that the their theirs them themselves "
    "then there these they this those through to too under until up very was we were what when where which while who "
    "whom why will with would you your yours yourself yourselves".split()
)
_local = threading.local()


def terms(text: str) -> list[str]:
    """The terms of a text in their order, repetitions included."""
    found: list[str] = []
    for match in _WORD.finditer(unicodedata.normalize("NFKC", text).casefold()):
        word = match.group().replace("’", "'")
        start = 0
        for run in _UNSPACED.finditer(word):
            found.extend(_spaced(word[start : run.start()]))
            found.extend(_pairs(run.group()))
            start = run.end()
        found.extend(_spaced(word[start:]))
    return found


def _spaced(word: str) -> list[str]:
    if not word:
        return []
    if word.endswith("n't"):
        return []
    word = _CONTRACTED.sub("", word)
    return [] if word in STOP_WORDS or not word else [_stem(word)]


def _pairs(run: str) -> list[str]:
    return [run] if len(run) == 1 else [run[i : i + 2] for i in range(len(run) - 1)]


@lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    # A stemmer keeps state while it works, so each thread has its own.
    stemmer = getattr(_local, "stemmer", None)
    if stemmer is None:
        import snowballstemmer

        stemmer = _local.stemmer = snowballstemmer.stemmer("english")
    return str(stemmer.stemWord(word))
