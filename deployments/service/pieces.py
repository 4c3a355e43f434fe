"""A document for its page: the passages in order, and an outline of the headings."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from deployments.service.answers import DocumentPassage
from deployments.service.prose import prose


@dataclass(frozen=True)
class Piece:
    """A passage in its place; `here` marks the one at which the page opens."""

    anchor: str
    here: bool
    page: int | None
    html: Markup


@dataclass(frozen=True)
class OutlineEntry:
    """A heading, and the passage where it begins."""

    anchor: str
    heading: str
    level: int


def pieces(passages: Sequence[DocumentPassage], wanted: Collection[str], *, chosen: str = "") -> list[Piece]:
    """The passages in order; shared text is shown once, with the chosen passage or else with the first."""
    starts = [0] * len(passages)
    ends = [len(each.text) for each in passages]
    for number, (before, after) in enumerate(pairwise(passages)):
        shared = before.end - after.start
        if not 0 < shared < min(len(before.text), len(after.text)):
            continue
        if after.chunk_id == chosen:
            ends[number] = len(before.text) - shared
        else:
            starts[number + 1] = shared
    return [
        Piece(_anchor(each), each.chunk_id == chosen, each.page, prose(each.text[start:end].strip(), wanted))
        for each, start, end in zip(passages, starts, ends, strict=True)
    ]


def outline(passages: Sequence[DocumentPassage]) -> list[OutlineEntry]:
    """The headings in order, each once at its first occurrence; of a path of headings the last one, with its depth."""
    found: dict[str, OutlineEntry] = {}
    for each in passages:
        path = each.heading.split(" > ")
        if each.heading and each.heading not in found:
            found[each.heading] = OutlineEntry(_anchor(each), path[-1], min(len(path), 3))
    return list(found.values())


def _anchor(passage: DocumentPassage) -> str:
    return f"p-{passage.chunk_id}"
