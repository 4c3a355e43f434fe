"""Shows near duplicates among the results once: the best of them, which lists the others."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from flows.author import handler
from handlers.records import Hit
from handlers.text import terms

_SHINGLE = 3
_NUMBER = re.compile(r"\d+")
_NEGATION = re.compile(
    r"\b(?:not|no|never|none|nothing|neither|nor|without|cannot|nicht|kein\w*|nie|niemals|ohne|ne|pas|jamais|aucune?|sans|"
    r"nunca|sin|non|mai|senza|não|sem|niet|geen|nooit|zonder|inte|ikke|ej|не|нет|ни|без|değil)\b|\w+n['’]t\b",
    re.IGNORECASE,
)


@handler(writes="results")
def collapse_duplicates(results: Sequence[Hit], *, similarity: float = 0.85, limit: int | None = None) -> list[Hit]:
    """The best of each set of near duplicates, in their order, at most `limit`; the others are in its `duplicates`.

    Near means that the passages share at least `similarity` of their runs of three words (Jaccard's coefficient of
    their sets; Broder, SEQUENCES 1997), all their numbers and all their negations: two price lists that differ in one
    price stay separate, and so do a rule and its opposite. `similarity: 1` collapses only copies that are equal but for
    case, punctuation and stop words.

    Raises:
        ValueError: `similarity` is not above 0 and at most 1.
    """
    if not 0 < similarity <= 1:
        raise ValueError(f"similarity must be above 0 and at most 1, not {similarity}")
    kept: list[Hit] = []
    others: list[list[tuple[str, str]]] = []
    sizes: list[int] = []
    numbers: list[Counter[str]] = []
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for hit in results:
        runs, figures = _runs(hit.content), _numbers_and_negations(hit.content)
        shared = Counter(rank for run in runs for rank in holders.get(run, ()))
        same = [
            rank
            for rank, count in shared.items()
            if count >= similarity * (len(runs) + sizes[rank] - count) and numbers[rank] == figures
        ]
        if same:
            others[min(same)].append((hit.id, hit.document_id))
            continue
        if limit is not None and len(kept) >= limit:
            continue
        for run in runs:
            holders[run].append(len(kept))
        kept.append(hit)
        others.append([])
        sizes.append(len(runs))
        numbers.append(figures)
    return [
        replace(hit, duplicates=(*hit.duplicates, *found)) if found else hit
        for hit, found in zip(kept, others, strict=True)
    ]


def _numbers_and_negations(text: str) -> Counter[str]:
    negations = (word.casefold().replace("’", "'") for word in _NEGATION.findall(text))
    return Counter(_NUMBER.findall(text)) + Counter(negations)


def _runs(text: str) -> set[tuple[str, ...]]:
    words = terms(text) or [text.strip()]
    if len(words) <= _SHINGLE:
        return {tuple(words)}
    return {tuple(words[start : start + _SHINGLE]) for start in range(len(words) - _SHINGLE + 1)}
